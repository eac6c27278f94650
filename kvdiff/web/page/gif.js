// GIF89a of a few hundred small frames: up to 256 colours of the whole clip, LZW.

/** The bytes of an animated GIF. @param frames RGBA bytes each @param fps frames a second */
export function encodeGif(frames, width, height, fps) {
  const { colours, index } = paletteOf(frames);
  const bits = Math.max(2, Math.ceil(Math.log2(Math.max(colours.length, 2))));
  const out = [];
  const word = (value) => out.push(value & 255, value >> 8);
  out.push(...new TextEncoder().encode('GIF89a'));
  word(width);
  word(height);
  out.push(0xf0 | (bits - 1), 0, 0);
  for (let i = 0; i < 1 << bits; i += 1) out.push(...(colours[i] ?? [0, 0, 0]));
  out.push(0x21, 0xff, 11, ...new TextEncoder().encode('NETSCAPE2.0'), 3, 1, 0, 0, 0); // For ever.
  for (const rgba of frames) {
    out.push(0x21, 0xf9, 4, 0);
    word(Math.max(2, Math.round(100 / fps))); // Browsers slow down what is shorter.
    out.push(0, 0, 0x2c, 0, 0, 0, 0);
    word(width);
    word(height);
    out.push(0, bits);
    const packed = lzw(index(rgba), bits);
    for (let at = 0; at < packed.length; at += 255) {
      const block = packed.subarray(at, at + 255);
      out.push(block.length, ...block);
    }
    out.push(0);
  }
  out.push(0x3b);
  return Uint8Array.from(out);
}

/** The colours of all frames, at most 256, and a function from RGBA bytes to their numbers. */
function paletteOf(frames) {
  const counts = new Map();
  for (const rgba of frames) {
    for (let i = 0; i < rgba.length; i += 4) {
      const key = (rgba[i] << 16) | (rgba[i + 1] << 8) | rgba[i + 2];
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  }
  const keys = [...counts.keys()];
  const boxes = keys.length <= 256 ? keys.map((key) => [key]) : medianCut(keys, counts);
  const numbers = new Map();
  const colours = boxes.map((box, number) => {
    box.forEach((key) => numbers.set(key, number));
    return mean(box, counts);
  });
  const index = (rgba) => Uint8Array.from({ length: rgba.length / 4 }, (_, i) => (
    numbers.get((rgba[4 * i] << 16) | (rgba[4 * i + 1] << 8) | rgba[4 * i + 2])
  ));
  return { colours, index };
}

const part = (key, channel) => (key >> (16 - 8 * channel)) & 255;

function mean(box, counts) {
  const total = box.reduce((sum, key) => sum + counts.get(key), 0);
  return [0, 1, 2].map((c) => Math.round(box.reduce((sum, key) => sum + counts.get(key) * part(key, c), 0) / total));
}

/** 256 boxes of colours: the box of the widest channel is cut at the middle of its pixels, again and again. */
function medianCut(keys, counts) {
  const widest = (box) => {
    const widths = [0, 1, 2].map((c) => {
      let [low, high] = [255, 0];
      for (const key of box) {
        low = Math.min(low, part(key, c));
        high = Math.max(high, part(key, c));
      }
      return high - low;
    });
    const width = Math.max(...widths);
    return { box, width, channel: widths.indexOf(width) };
  };
  const boxes = [widest(keys)];
  while (boxes.length < 256) {
    boxes.sort((a, b) => a.width - b.width);
    const { box, channel, width } = boxes.pop();
    if (width === 0) {
      boxes.push({ box, channel, width });
      break;
    }
    box.sort((a, b) => part(a, channel) - part(b, channel));
    const half = box.reduce((sum, key) => sum + counts.get(key), 0) / 2;
    let [cut, sum] = [0, 0];
    while (cut < box.length - 1 && sum < half) sum += counts.get(box[cut++]);
    boxes.push(widest(box.slice(0, cut)), widest(box.slice(cut)));
  }
  return boxes.map(({ box }) => box);
}

/** Lempel, Ziv and Welch's compression as GIF has it: codes of growing width, the lowest bits first. */
export function lzw(pixels, bits) {
  const clear = 1 << bits;
  const out = [];
  let [codes, next, width, held, count] = [new Map(), clear + 2, bits + 1, 0, 0];
  const emit = (code) => {
    held |= code << count;
    count += width;
    while (count >= 8) {
      out.push(held & 255);
      held >>>= 8;
      count -= 8;
    }
  };
  emit(clear);
  let prefix = pixels[0];
  for (let i = 1; i < pixels.length; i += 1) {
    const key = (prefix << 8) | pixels[i];
    if (codes.has(key)) {
      prefix = codes.get(key);
      continue;
    }
    emit(prefix);
    codes.set(key, next);
    if (next === 1 << width) width += 1;
    next += 1;
    if (next > 4095) {
      emit(clear);
      [codes, next, width] = [new Map(), clear + 2, bits + 1];
    }
    prefix = pixels[i];
  }
  emit(prefix);
  emit(clear + 1);
  if (count) out.push(held & 255);
  return Uint8Array.from(out);
}
