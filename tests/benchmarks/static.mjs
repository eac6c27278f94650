// node static.mjs DIST FOLDER ROUNDS NAME…: opens FOLDER/NAME/sampler.onnx by onnxruntime-web, runs a row in turns.
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [dist, folder, rounds, ...names] = process.argv.slice(2);
const ort = await import(pathToFileURL(path.resolve(dist, 'ort.wasm.bundle.min.mjs')));
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmBinary = fs.readFileSync(path.join(dist, 'ort-wasm-simd-threaded.wasm')).buffer;
ort.env.logLevel = 'error';

const spent = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e3;
};
const float = (list, dims) => new ort.Tensor('float32', Float32Array.from(list), dims);
const int64 = (number) => new ort.Tensor('int64', [BigInt(number)], [1]);
const [frames, size] = [8, 32];
const shape = [1, frames, size, size, 1];
const numbers = frames * size * size;
const column = (value) => new Array(frames).fill(value);
const feeds = () => ({
  start: float(Array.from({ length: numbers }, (_, i) => 1.5 * Math.sin(13 * i)), shape),
  start_std: float(column(0), [1, frames]),
  table: float([1, 0.5, 0, 1, 0.3, 0, 0, 0].flatMap(column), [1, 8, 1, frames]),
  b: float([0.7, 0, 0, 0].flatMap(column), [1, 4, 1, frames]),
  history: float(new Array(4 * numbers).fill(0), [4, ...shape]),
  noise: float([], [0, 1, 1, 1, 1, 1]),
  seed: int64(3), sample: int64(0), first_draw: int64(1),
});

const [sessions, opened, calls] = [{}, {}, {}];
for (const name of names) {
  const bytes = new Uint8Array(fs.readFileSync(path.join(folder, name, 'sampler.onnx')));
  const began = spent();
  sessions[name] = await ort.InferenceSession.create(bytes, { executionProviders: ['wasm'], graphOptimizationLevel: 'basic' });
  [opened[name], calls[name]] = [spent() - began, []];
}
for (let round = 0; round < Number(rounds); round += 1) {
  for (const name of names) {
    const began = spent();
    await sessions[name].run(feeds());
    if (round > 1) calls[name].push(spent() - began);
  }
}
for (const name of names) {
  const sorted = calls[name].sort((a, b) => a - b);
  const [least, median] = [sorted[0], sorted[sorted.length >> 1]].map((each) => each.toFixed(1));
  console.log(`${name}: WebAssembly opens in ${opened[name].toFixed(0)} ms, a call ${median} ms, at least ${least}`);
}
