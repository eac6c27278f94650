// Videos as files.

import { encodeGif } from './gif.js';
import { writeNpy } from './npy.js';
import { Trouble } from './trouble.js';
import { frameSize } from './video.js';

/** Hand a file to the reader's downloads. */
export function download(name, content, type) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** How often a pixel is repeated, so that small frames can be seen. */
export const scaleFor = ({ width, height }) => Math.max(1, Math.floor(256 / Math.max(width, height)));

/** A GIF of pictures: RGBA bytes each. */
export function saveGif(name, pictures, clip, fps) {
  const scale = scaleFor(clip);
  download(name, encodeGif(pictures, clip.width * scale, clip.height * scale, fps), 'image/gif');
}

/** A WebM of pictures; it takes as long as it plays. */
export async function saveWebm(name, pictures, clip, fps) {
  if (typeof MediaRecorder === 'undefined') throw new Trouble('short', 'This browser cannot record WebM. Save a GIF.');
  const scale = scaleFor(clip);
  const canvas = Object.assign(document.createElement('canvas'), { width: clip.width * scale, height: clip.height * scale });
  const context = canvas.getContext('2d');
  const recorder = new MediaRecorder(canvas.captureStream(), { videoBitsPerSecond: 8e6 });
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.start();
  for (const rgba of [...pictures, pictures.at(-1)]) {
    context.putImageData(new ImageData(new Uint8ClampedArray(rgba), canvas.width, canvas.height), 0, 0);
    await new Promise((resolve) => { setTimeout(resolve, 1000 / fps); });
  }
  recorder.stop();
  await stopped;
  download(name, new Blob(parts), 'video/webm');
}

/** Frames `from` … `to` of a video as a .npy file [1, frames, height, width, channels]; pixels that are exact as uint8. */
export function saveFrames(name, video, [from, to], spec, exact) {
  const size = frameSize(spec.clip);
  const part = video.subarray(from * size, to * size);
  const data = exact ? Uint8Array.from(part, (number) => Math.round((number + 1) * 127.5)) : Float32Array.from(part);
  const { height, width, channels } = spec.clip;
  download(name, writeNpy(data, [1, to - from, height, width, channels]), 'application/octet-stream');
}
