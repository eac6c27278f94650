// The GIF encoder against a decoder written from the specification.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { encodeGif } from '../../../kvdiff/web/page/gif.js';

/** Frames of RGBA bytes of a GIF: only what the encoder writes. */
function decodeGif(bytes) {
  const word = (at) => bytes[at] | (bytes[at + 1] << 8);
  assert.equal(new TextDecoder().decode(bytes.subarray(0, 6)), 'GIF89a');
  const [width, height, size] = [word(6), word(8), 2 << (bytes[10] & 7)];
  const palette = bytes.subarray(13, 13 + 3 * size);
  const frames = [];
  const delays = [];
  let at = 13 + 3 * size;
  while (bytes[at] !== 0x3b) {
    if (bytes[at] === 0x21) {
      if (bytes[at + 1] === 0xf9) delays.push(word(at + 4));
      at += 2;
      while (bytes[at]) at += 1 + bytes[at];
      at += 1;
      continue;
    }
    assert.equal(bytes[at], 0x2c);
    const bits = bytes[at + 10];
    at += 11;
    const data = [];
    while (bytes[at]) {
      data.push(...bytes.subarray(at + 1, at + 1 + bytes[at]));
      at += 1 + bytes[at];
    }
    at += 1;
    frames.push(unpacked(data, bits).flatMap((index) => [...palette.subarray(3 * index, 3 * index + 3), 255]));
    assert.equal(frames.at(-1).length, 4 * width * height);
  }
  return { width, height, frames, delays };
}

function unpacked(data, bits) {
  const [clear, end] = [1 << bits, (1 << bits) + 1];
  const out = [];
  let [table, width, last, bit] = [null, bits + 1, null, 0];
  for (;;) {
    let code = 0;
    for (let i = 0; i < width; i += 1, bit += 1) code |= ((data[bit >> 3] >> (bit & 7)) & 1) << i;
    if (code === clear) {
      table = Array.from({ length: clear + 2 }, (_, i) => [i]);
      [width, last] = [bits + 1, null];
      continue;
    }
    if (code === end) return out;
    const entry = table[code] ?? [...last, last[0]];
    out.push(...entry);
    if (last && table.length < 4096) table.push([...last, entry[0]]);
    if (table.length === 1 << width && width < 12) width += 1;
    last = entry;
  }
}

/** Repeatable numbers from 0 to 255. */
function* noise(seed) {
  for (let state = seed; ;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state >>> 24;
  }
}

function picture(count, pixel) {
  return Uint8ClampedArray.from({ length: 4 * count }, (_, i) => (i % 4 === 3 ? 255 : pixel(i >> 2, i % 4)));
}

test('a clip of few colours comes back as it was', () => {
  const frames = [0, 1, 2].map((frame) => picture(12, (i) => 20 * ((i + frame) % 5)));
  const found = decodeGif(encodeGif(frames, 4, 3, 8));
  assert.deepEqual([found.width, found.height, found.delays], [4, 3, [13, 13, 13]]);
  assert.deepEqual(found.frames, frames.map((frame) => [...frame]));
});

test('one colour, and two, are colours enough', () => {
  for (const colours of [1, 2]) {
    const frame = picture(9, (i) => 255 * (i % colours));
    assert.deepEqual(decodeGif(encodeGif([frame], 3, 3, 5)).frames, [[...frame]]);
  }
});

test('noise of all 256 greys fills the table of codes and comes back', () => {
  const values = noise(1);
  const frame = picture(128 * 128, () => 0);
  for (let i = 0; i < 128 * 128; i += 1) frame.fill(values.next().value, 4 * i, 4 * i + 3);
  assert.deepEqual(decodeGif(encodeGif([frame], 128, 128, 10)).frames[0], [...frame]);
});

test('more than 256 colours become near ones', () => {
  const values = noise(2);
  const frame = picture(64 * 64, () => values.next().value);
  const found = decodeGif(encodeGif([frame], 64, 64, 10)).frames[0];
  const errors = found.map((value, i) => Math.abs(value - frame[i]));
  assert.ok(errors.reduce((sum, error) => sum + error, 0) / errors.length < 12);
});
