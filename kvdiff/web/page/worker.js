// The worker that computes, so that the page stays awake. Messages: { id, do, … }; answers: { id, … }.

import { Graphs } from './graph.js';
import { Trouble, asTrouble } from './trouble.js';

let graphs = null;
const cancelled = new Set();

/** Let messages in: a computation would not see that it is cancelled otherwise. */
const breathe = () => new Promise((resolve) => { setTimeout(resolve); });

const ACTIONS = {
  async open({ id, model, backend }) {
    graphs = new Graphs(model);
    return graphs.open(backend, (bytes) => postMessage({ id, bytes }));
  },
  async window({ id, request, quiet }) {
    const frames = request.isNew.length;
    const onCall = async (x, call) => {
      if (!quiet) {
        postMessage({ id, call, numbers: await graphs.transform('decoder', x, frames) });
        await breathe();
      }
      if (cancelled.delete(id)) throw new Trouble('stopped');
    };
    const x = await graphs.window(request, onCall, (words) => postMessage({ fallback: words }));
    return { x, numbers: await graphs.transform('decoder', x, frames) };
  },
  encode: ({ clip, frames }) => graphs.transform('encoder', clip, frames),
};

addEventListener('message', async ({ data }) => {
  if (data.do === 'cancel') {
    cancelled.add(data.id);
    return;
  }
  try {
    const result = await ACTIONS[data.do](data);
    postMessage({ id: data.id, result });
  } catch (error) {
    const { kind, what } = asTrouble(error);
    postMessage({ id: data.id, trouble: { kind, what } });
  }
});
