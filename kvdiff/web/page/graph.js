// The graphs in the browser, by onnxruntime-web: WebGPU where there is one, else WebAssembly.

import { checkedBytes, loadFile } from './load.js';
import { Trouble, asTrouble } from './trouble.js';

const MEMORY = 4; // Predictions that the graph remembers.
const COLUMNS = 8;

/** Whether this browser can compute on its graphics processor. */
export async function hasWebGpu() {
  try {
    return Boolean(await navigator.gpu?.requestAdapter());
  } catch {
    return false;
  }
}

/** Load onnxruntime-web for "wasm" or "webgpu": its module and its binary, both checked. */
async function loadRuntime(spec, backend, onBytes) {
  const [module, binary] = spec.ort[backend];
  const [code, wasm] = await Promise.all(
    [module, binary].map((file) => checkedBytes(new URL(file.url, import.meta.url).href, file.sha256, { onBytes })),
  );
  const url = URL.createObjectURL(new Blob([code], { type: 'text/javascript' }));
  const ort = await import(url);
  // Threads need headers that few static servers send; one thread works everywhere.
  ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  ort.env.wasm.wasmBinary = wasm.buffer;
  ort.env.logLevel = 'error';
  return ort;
}

/** The model's graphs, opened on one backend. */
export class Graphs {
  /** @param model { manifest, spec, tables } */
  constructor(model) {
    this.model = model;
    this.backend = null;
  }

  /** Load and open; `wanted` is "auto", "webgpu" or "wasm". Returns what runs, in words for a person. */
  async open(wanted, onBytes = () => {}) {
    const { manifest, spec } = this.model;
    const gpu = wanted !== 'wasm' && Boolean(spec.ort.webgpu) && (await hasWebGpu());
    this.backend = gpu ? 'webgpu' : 'wasm';
    this.files ??= await this.#files(manifest, spec, onBytes);
    try {
      this.ort = await loadRuntime(spec, this.backend, onBytes);
      this.sessions = {};
      for (const [name, bytes] of Object.entries(this.files)) {
        const options = { executionProviders: [this.backend], graphOptimizationLevel: 'basic' };
        this.sessions[name] = await this.ort.InferenceSession.create(bytes, options);
      }
    } catch (error) {
      if (gpu && !(error instanceof Trouble)) return this.open('wasm', onBytes);
      throw asTrouble(error, 'graph');
    }
    return this.words();
  }

  async #files(manifest, spec, onBytes) {
    const names = ['sampler', ...(spec.coded ? ['encoder', 'decoder'] : [])];
    const contents = await Promise.all(names.map((name) => loadFile(manifest, `${name}.onnx`, { onBytes })));
    return Object.fromEntries(names.map((name, i) => [name, contents[i]]));
  }

  /** What runs, for a person. */
  words() {
    const threads = this.ort.env.wasm.numThreads;
    if (this.backend === 'webgpu') return 'on this device’s graphics processor (WebGPU)';
    return `on this device’s processor (WebAssembly, ${threads} thread${threads > 1 ? 's' : ''})`;
  }

  /**
   * Run one window, call by call.
   *
   * @param request { task, solver, steps, seed, guidance, conditions, start, isNew, draw }
   * @param onCall awaited as onCall(x, calls done); it may throw to stop.
   * @param onFallback called with words where the graphics processor gave up.
   */
  async window(request, onCall, onFallback = () => {}) {
    const table = this.model.spec.tasks[request.task].tables[request.solver][request.steps];
    let state = { x: request.start, history: new Float32Array(MEMORY * request.start.length) };
    for (let call = 0; call < table.calls; call += 1) {
      state = await this.#call(request, table, call, state, onFallback);
      await onCall(state.x, call + 1);
    }
    return state.x;
  }

  async #call(request, table, call, state, onFallback) {
    try {
      return await this.#run(request, table, call, state);
    } catch (error) {
      if (this.backend !== 'webgpu') throw asTrouble(error);
      // The device was lost, or cannot hold this: the same call again on the processor, from the same state.
      onFallback(await this.open('wasm'));
      return this.#run(request, table, call, state);
    }
  }

  async #run(request, table, call, state) {
    const feeds = this.#feeds(request, table, call, state);
    const out = await this.sessions.sampler.run(feeds);
    const [x, history] = [await out.clip.getData(), await out.history_out.getData()];
    // Copies: what a session returns may lie in its own memory.
    return { x: Float32Array.from(x), history: Float32Array.from(history) };
  }

  #feeds(request, table, call, { x, history }) {
    const { spec, tables } = this.model;
    const { height, width, channels } = spec.latent;
    const { isNew } = request;
    const frames = isNew.length;
    const shape = [1, frames, height, width, channels];
    const row = tables.subarray(table.at + 12 * call, table.at + 12 * (call + 1));
    const numbers = (first, count) => Float32Array.from({ length: count * frames }, (_, i) => {
      const column = first + Math.floor(i / frames);
      return isNew[i % frames] ? row[column] : spec.known[column];
    });
    const float = (data, dims) => new this.ort.Tensor('float32', data, dims);
    const int64 = (value) => new this.ort.Tensor('int64', BigInt64Array.of(BigInt.asIntN(64, BigInt(value))), [1]);
    const std = call === 0 ? table.initStd : 0; // The noise that sampling starts from.
    const feeds = {
      start: float(x, shape),
      start_std: float(Float32Array.from(isNew, (fresh) => (fresh ? std : 0)), [1, frames]),
      table: float(numbers(0, COLUMNS), [1, COLUMNS, 1, frames]),
      b: float(numbers(COLUMNS, MEMORY), [1, MEMORY, 1, frames]),
      history: float(history, [MEMORY, ...shape]),
      noise: float(new Float32Array(0), [0, 1, 1, 1, 1, 1]), // No tape: the graph draws from the seed.
      seed: int64(request.seed),
      sample: int64(0),
      first_draw: int64(request.draw + call),
    };
    if (this.sessions.sampler.inputNames.includes('pixels')) {
      // A graph with an autoencoder inside; between two calls nothing of it is wanted.
      const { clip } = spec;
      feeds.pixels = float(new Float32Array(0), [0, 0, clip.height, clip.width, clip.channels]);
      feeds.pixels_known = float(new Float32Array(frames), [1, frames]);
    }
    return Object.assign(feeds, this.#conditions(request, row[1]));
  }

  #conditions(request, noiseLabel) {
    const { spec } = this.model;
    const feeds = {};
    for (const condition of spec.conditions) {
      const { dtype, data, shape } = request.conditions[condition.name];
      feeds[condition.name] = new this.ort.Tensor(dtype, data, [1, ...shape]);
      if (condition.noise) feeds[`${condition.name}_noise`] = new this.ort.Tensor('float32', new Float32Array(1), [1]);
    }
    if (!spec.optional.length) return feeds;
    const present = spec.optional.map((name) => (request.conditions[name].present ? 1 : 0));
    const own = spec.tasks[request.task].own;
    const acts = present.includes(1) && noiseLabel >= own.interval[0] && noiseLabel <= own.interval[1];
    const float = (list, dims) => new this.ort.Tensor('float32', Float32Array.from(list), dims);
    feeds[spec.mask] = float(present, [1, present.length]);
    feeds.guidance = float([acts ? request.guidance : 1], [1, 1]);
    feeds.guidance_rescale = float([own.rescale], [1]);
    return feeds;
  }

  /** A clip through encoder or decoder; the clip itself where the model has neither. */
  async transform(name, data, frames) {
    const { spec } = this.model;
    if (!spec.coded) return data;
    const { height, width, channels } = name === 'encoder' ? spec.clip : spec.latent;
    try {
      const clip = new this.ort.Tensor('float32', data, [1, frames, height, width, channels]);
      const { out } = await this.sessions[name].run({ clip });
      return Float32Array.from(await out.getData());
    } catch (error) {
      throw asTrouble(error);
    }
  }
}
