// The page's modules that need no browser: arrays, colours, windows, commands.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { commandOf, pythonOf } from '../../../kvdiff/web/page/commands.js';
import { blocksOf } from '../../../kvdiff/web/page/engines.js';
import { readNpy, writeNpy } from '../../../kvdiff/web/page/npy.js';
import { Palette, numberAt, ofPixel, position } from '../../../kvdiff/web/page/numbers.js';
import { windowOf } from '../../../kvdiff/web/page/play.js';
import { Trouble, asTrouble, told } from '../../../kvdiff/web/page/trouble.js';
import { sample } from '../../../kvdiff/web/page/video.js';

const CLIP = { num_frames: 4, height: 1, width: 2, channels: 1 };
const OWN = { solver: 'ddim', steps: 2, guidance: 1, interval: [0, 1], rescale: 0 };
const SPEC = {
  run: 'saved_models/it', clip: CLIP, latent: CLIP, conditions: [], optional: [],
  values: { ticks: [], curves: [[-1, 1]] },
  orders: { own: {}, whole: { plan: null }, single: { at_a_time: 1 } },
  tasks: Object.fromEntries(['predict', 'generate', 'interpolate', 'rollout'].map((task) => [task, { own: OWN, fixed: {}, tables: { ddim: { 2: { calls: 2 } } } }])),
};
const JOB = { task: 'predict', solver: 'ddim', steps: '2', order: 'own', guidance: 1, seed: 7, frames: 4, known: [0, 1], conditions: {} };

test('arrays are read as they were written', () => {
  for (const data of [Uint8Array.of(0, 255, 3, 4, 5, 6), Float32Array.of(1.5, -2, 0, 1e-9, 5, 6), Int32Array.of(-1, 2, 3, 4, 5, 6)]) {
    for (const shape of [[6], [2, 3], [1, 2, 3, 1]]) assert.deepEqual(readNpy(writeNpy(data, shape)), { data, shape });
  }
  assert.throws(() => readNpy(new Uint8Array(20)), /not a .npy file/);
  assert.throws(() => readNpy(writeNpy(Float32Array.of(1, 2), [2]).slice(0, -1)), /cut off/);
});

test('pixels are drawn as they were read', () => {
  const palette = new Palette({ ...SPEC, clip: { ...CLIP, width: 256 } });
  const rgba = Uint8ClampedArray.from({ length: 1024 }, (_, i) => (i % 4 === 3 ? 255 : i >> 2));
  const drawn = new Uint8ClampedArray(1024);
  palette.draw(palette.read(rgba), 0, drawn);
  assert.deepEqual(drawn, rgba);
  assert.equal(ofPixel(0), -1);
  assert.equal(ofPixel(255), 1);
});

test('a colour bar is a curve there and back', () => {
  const curve = [0, 1, 10, 100];
  for (const place of [0, 0.1, 0.5, 0.9, 1]) assert.ok(Math.abs(position(numberAt(place, curve), curve) - place) < 1e-6);
  assert.deepEqual([position(-5, curve), position(500, curve), position(NaN, curve)], [0, 1, NaN]);
});

test('windows take their draws of noise one after the other, and known frames stay', async () => {
  const asked = [];
  const engine = {
    encode: (clip) => clip,
    window: (request, onCall) => {
      asked.push(request);
      const x = request.start.map((value, i) => (request.isNew[i >> 1] ? asked.length : value));
      for (const call of [1, 2]) onCall(x, call);
      return { x, numbers: x };
    },
  };
  const windows = [[[0, 1, 2], [2]], [[1, 2, 3], [3]]];
  const calls = [];
  const clip = Float32Array.of(9, 9, 8, 8, 0, 0, 0, 0);
  const video = await sample({ spec: SPEC }, engine, { ...JOB, clip, windows }, (_, call, total, fresh) => calls.push([call, total, ...fresh]));
  assert.deepEqual([...video], [9, 9, 8, 8, 1, 1, 2, 2]);
  assert.deepEqual(asked.map(({ draw }) => draw), [0, 3]);
  assert.deepEqual([...asked[1].start], [8, 8, 1, 1, 0, 0]);
  assert.deepEqual(calls, [[1, 4, 2], [2, 4, 2], [3, 4, 3], [4, 4, 3]]);
});

test('a game looks back as far as a window goes', () => {
  assert.deepEqual(windowOf(0, 4), [0]);
  assert.deepEqual(windowOf(2, 4), [0, 1, 2]);
  assert.deepEqual(windowOf(9, 4), [6, 7, 8, 9]);
});

test('commands say what is not a default, and the seed', () => {
  assert.match(pythonOf(SPEC, JOB), /sampler\.predict_frames\(past, 2, seed=7\)$/);
  assert.equal(commandOf(SPEC, JOB), 'kvdiff predict saved_models/it past.npy --past 2 --num-frames 2 --seed 7 -o result.gif');
  const between = { ...JOB, task: 'interpolate', known: [0, 3], solver: 'unipc', steps: '5', order: 'single' };
  assert.match(pythonOf(SPEC, between), /interpolate\(before, after, 2, at_a_time=1, solver="unipc", num_steps=5, seed=7\)/);
  assert.match(commandOf(SPEC, between), /before.npy after.npy --context 1 --num-frames 2 --at-a-time 1 --solver unipc --num-steps 5 --seed 7/);
  assert.equal(commandOf(SPEC, { ...JOB, order: 'whole' }), null); // The command line has no word for it.
  assert.match(pythonOf(SPEC, { ...JOB, order: 'whole' }), /plan=None/);
  const told = { ...JOB, conditions: { digit: Int32Array.of(3), style: Float32Array.of(1) }, guidance: 2 };
  assert.match(pythonOf(SPEC, told), /guidance=2, seed=7, conditions=\{"digit": 3, "style": np.load\("style.npy"\)\}/);
  assert.match(commandOf({ ...SPEC, run: "it's here" }, told), /predict 'it'\\''s here' .* --condition digit=3 --condition style=style.npy/);
});

test('an answer comes in blocks however it is cut', async () => {
  const bytes = Uint8Array.from({ length: 24 }, (_, i) => i);
  const cut = (sizes) => new ReadableStream({
    start(controller) {
      let at = 0;
      for (const size of sizes) controller.enqueue(bytes.slice(at, (at += size)));
      controller.close();
    },
  });
  for (const sizes of [[24], [1, 10, 13], Array(24).fill(1)]) {
    const found = [];
    for await (const block of blocksOf(cut(sizes), [4, 8])) found.push(block.map((part) => [...new Uint8Array(part)]));
    assert.deepEqual(found.flat(2), [...bytes]);
    assert.deepEqual(found[1].map((part) => part.length), [4, 8]);
  }
  await assert.rejects(async () => { for await (const _ of blocksOf(cut([20]), [4, 8])); }, { kind: 'server' });
});

test('what a runtime says of memory is told as such', () => {
  for (const text of ['std::bad_alloc', 'Aborted(OOM)', 'Array buffer allocation failed']) {
    assert.equal(asTrouble(new Error(text)).kind, 'memory');
  }
  assert.match(told(new Trouble('large', 'film.mp4, 2.0 GB')), /too large: film.mp4, 2.0 GB/);
  assert.match(told(new Error('something else')), /something else/);
});
