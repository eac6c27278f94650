// Clips from files: videos, GIFs, pictures and .npy arrays, decoded by the browser and cut to the model's size.

import { frameSize } from './video.js';
import { ofPixel } from './numbers.js';
import { readNpy } from './npy.js';
import { Trouble } from './trouble.js';

export const MOST_BYTES = 200e6;
const MOST_FRAMES = 240;
const PATIENCE = 20_000; // Milliseconds for a video that does not say that it is broken.

/** The clip in files: { frames, data } in users' numbers. Several files are the frames of one clip, by name. */
export async function readFiles(files, spec, palette) {
  const list = [...files].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  for (const file of list) {
    if (file.size > MOST_BYTES) throw new Trouble('large', `${file.name}, ${(file.size / 1e9).toFixed(1)} GB`);
  }
  const clips = [];
  for (const file of list.slice(0, MOST_FRAMES)) clips.push(await readFile(file, spec, palette));
  return joined(clips);
}

async function readFile(file, spec, palette) {
  try {
    if (file.name.endsWith('.npy')) return clipOfNpy(new Uint8Array(await file.arrayBuffer()), spec);
    const pictures = file.type.startsWith('video/') ? await videoFrames(file, spec) : await imageFrames(file);
    return joined(pictures.map((picture) => ({ frames: 1, data: palette.read(cut(picture, spec.clip)) })));
  } catch (error) {
    throw error instanceof Trouble ? error : new Trouble('undecodable', file.name, error);
  }
}

function joined(clips) {
  const frames = clips.reduce((sum, clip) => sum + clip.frames, 0);
  const data = new Float32Array(clips.reduce((sum, clip) => sum + clip.data.length, 0));
  let at = 0;
  for (const clip of clips) {
    data.set(clip.data, at);
    at += clip.data.length;
  }
  return { frames, data };
}

/** A clip from a .npy file, [frames, height, width, channels] or [1, frames, …]: uint8 pixels or users' numbers. */
export function clipOfNpy(bytes, spec) {
  const { data, shape } = readNpy(bytes);
  const size = frameSize(spec.clip);
  const { height, width, channels } = spec.clip;
  if (data.length % size || !data.length || shape.slice(-3).join() !== [height, width, channels].join()) {
    throw new Trouble('undecodable', `an array of ${shape.join(' × ')}, where frames are ${height} × ${width} × ${channels}`);
  }
  const isPixels = data instanceof Uint8Array && spec.values.ticks.length === 0;
  return { frames: data.length / size, data: isPixels ? Float32Array.from(data, ofPixel) : Float32Array.from(data) };
}

/** Every frame of an animated picture, or the only one. */
async function imageFrames(file) {
  if (typeof ImageDecoder === 'undefined' || !(await ImageDecoder.isTypeSupported(file.type))) {
    return [await createImageBitmap(file)];
  }
  const decoder = new ImageDecoder({ data: await file.arrayBuffer(), type: file.type });
  await decoder.tracks.ready;
  await decoder.completed;
  const frames = [];
  const count = Math.min(decoder.tracks.selectedTrack.frameCount, MOST_FRAMES);
  for (let frameIndex = 0; frameIndex < count; frameIndex += 1) {
    const { image } = await decoder.decode({ frameIndex });
    frames.push(await createImageBitmap(image));
    image.close();
  }
  return frames;
}

/** Frames of a video at the model's clock, else 25 a second. */
async function videoFrames(file, spec) {
  const video = document.createElement('video');
  video.muted = true;
  video.src = URL.createObjectURL(file);
  try {
    await happens(video, 'loadeddata');
    const step = 1 / (spec.clip.fps ?? 25);
    const count = Math.max(1, Math.min(Math.floor(video.duration / step), MOST_FRAMES));
    const frames = [];
    for (let i = 0; i < count; i += 1) {
      video.currentTime = (i + 0.5) * step;
      await happens(video, 'seeked');
      frames.push(await createImageBitmap(video));
    }
    return frames;
  } finally {
    URL.revokeObjectURL(video.src);
  }
}

function happens(video, event) {
  return new Promise((resolve, reject) => {
    video.addEventListener(event, resolve, { once: true });
    video.addEventListener('error', reject, { once: true });
    setTimeout(reject, PATIENCE);
  });
}

/** A picture's RGBA bytes, made as small as the model's frames; what is too long is cut off on both sides. */
function cut(picture, { height, width }) {
  const scale = Math.max(width / picture.width, height / picture.height);
  const target = [scale * picture.width, scale * picture.height];
  let source = picture;
  let size = [picture.width, picture.height];
  // Halves first: they average all pixels, where one large step would pick some of them.
  while (size[0] >= 2 * target[0] && size[1] >= 2 * target[1]) {
    const half = size.map((side) => Math.ceil(side / 2));
    source = drawn(source, size, half, [0, 0], half);
    size = half;
  }
  const corner = [(width - target[0]) / 2, (height - target[1]) / 2];
  return drawn(source, size, target, corner, [width, height]).getContext('2d').getImageData(0, 0, width, height).data;
}

function drawn(source, [fromWidth, fromHeight], [toWidth, toHeight], [left, top], [width, height]) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.imageSmoothingQuality = 'high';
  context.fillRect(0, 0, width, height); // What is transparent is black.
  context.drawImage(source, 0, 0, fromWidth, fromHeight, left, top, toWidth, toHeight);
  return canvas;
}
