// What runs a window of video: a worker of this browser, or the server that the page came from.
// Both have open, encode(clip, frames), cancel, and window(request, onCall), which returns { x, numbers }: the window as
// the network has it and in users' numbers. onCall(numbers, calls done) comes after every call; without it none is sent.

import { Trouble, asTrouble } from './trouble.js';
import { frameSize } from './video.js';

/** The graphs in a worker of this browser. */
export class BrowserEngine {
  #asked = new Map();
  #count = 0;

  /** @param notes { onBytes(count), onFallback(words) } */
  constructor(model, notes) {
    this.model = model;
    this.notes = notes;
    this.#start();
  }

  #start() {
    this.worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
    this.worker.onmessage = ({ data }) => this.#heard(data);
    this.worker.onerror = (event) => {
      event.preventDefault?.();
      this.#fail(new Trouble('worker', event.message ?? 'worker'));
    };
  }

  #heard(data) {
    if (data.fallback) return this.notes.onFallback(data.fallback);
    const asked = this.#asked.get(data.id);
    if (!asked) return undefined;
    if (data.bytes) return this.notes.onBytes(data.bytes);
    if (data.call) return asked.onCall?.(data.numbers, data.call);
    this.#asked.delete(data.id);
    if (data.trouble) return asked.reject(new Trouble(data.trouble.kind, data.trouble.what));
    return asked.resolve(data.result);
  }

  #fail(trouble) {
    for (const { reject } of this.#asked.values()) reject(trouble);
    this.#asked.clear();
  }

  #ask(message, onCall) {
    this.#count += 1;
    const id = this.#count;
    this.latest = id;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject, onCall });
      this.worker.postMessage({ id, ...message });
    });
  }

  /** Load and open the graphs; what runs, in words. */
  open(backend) {
    return this.#ask({ do: 'open', model: this.model, backend });
  }

  /** Runtimes that ran out of memory do not recover: a new worker does. */
  async restart(backend) {
    this.worker.terminate();
    this.#fail(new Trouble('stopped'));
    this.#start();
    return this.open(backend);
  }

  window(request, onCall) {
    return this.#ask({ do: 'window', request, quiet: !onCall }, onCall);
  }

  encode(clip, frames) {
    return this.#ask({ do: 'encode', clip, frames });
  }

  cancel() {
    this.worker.postMessage({ do: 'cancel', id: this.latest });
  }
}

/** `kvdiff play`: the server samples and sends a frame of numbers after every call. */
export class ServerEngine {
  #abort = null;

  constructor(model, token) {
    this.model = model;
    this.token = token;
  }

  async #post(path, head, data) {
    this.#abort = new AbortController();
    const json = new TextEncoder().encode(JSON.stringify(head));
    const body = new Blob([Uint32Array.of(json.length), json, data]);
    let response;
    try {
      response = await fetch(path, {
        method: 'POST', body, signal: this.#abort.signal,
        headers: { 'X-Token': this.token, 'Content-Type': 'application/octet-stream' },
      });
    } catch (error) {
      throw error.name === 'AbortError' ? new Trouble('stopped') : new Trouble('network', 'The answer', error);
    }
    if (response.ok) return response;
    const kinds = { 403: 'token', 503: 'busy' };
    throw new Trouble(kinds[response.status] ?? 'server', (await response.text()).slice(0, 300));
  }

  async open() {
    const response = await fetch('api/runtime', { headers: { 'X-Token': this.token } });
    if (!response.ok) throw new Trouble(response.status === 403 ? 'token' : 'server', response.status);
    return response.text();
  }

  restart() {
    return this.open();
  }

  async window(request, onCall) {
    const conditions = Object.entries(request.conditions).filter(([, value]) => value.present);
    const head = {
      ...request, start: undefined, seed: String(request.seed), quiet: !onCall,
      conditions: Object.fromEntries(conditions.map(([name, { data, shape }]) => [name, { shape, data: Array.from(data) }])),
    };
    const response = await this.#post('api/window', head, request.start);
    const { clip, coded } = this.model.spec;
    const sizes = [4 * request.isNew.length * frameSize(clip), request.start.byteLength];
    // A block of numbers after every call; at the end what the network has, where that is something else.
    const blocks = blocksOf(response.body, coded ? sizes : [sizes[0]]);
    const done = {};
    let call = 0;
    try {
      for await (const block of blocks) {
        const [numbers, x] = [new Float32Array(block[0]), new Float32Array(block[1] ?? block[0])];
        call += 1;
        Object.assign(done, { numbers, x });
        onCall?.(numbers, call);
      }
    } catch (error) {
      throw error.name === 'AbortError' ? new Trouble('stopped') : asTrouble(error, 'server');
    }
    if (!done.x) throw new Trouble('server', 'it sent nothing');
    return done;
  }

  async encode(clip, frames) {
    if (!this.model.spec.coded) return clip;
    const response = await this.#post('api/encode', { frames }, clip);
    return new Float32Array(await response.arrayBuffer());
  }

  cancel() {
    this.#abort?.abort();
  }
}

/** A stream of bytes in blocks, each a list of ArrayBuffers of `sizes`. */
export async function* blocksOf(stream, sizes) {
  const reader = stream.getReader();
  const size = sizes.reduce((sum, each) => sum + each, 0);
  const block = new Uint8Array(size);
  let filled = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    for (let from = 0; from < value.length;) {
      const part = value.subarray(from, from + size - filled);
      block.set(part, filled);
      filled += part.length;
      from += part.length;
      if (filled === size) {
        let at = 0;
        yield sizes.map((each) => block.slice(at, (at += each)).buffer);
        filled = 0;
      }
    }
  }
  if (filled) throw new Trouble('server', 'its answer was cut off');
}
