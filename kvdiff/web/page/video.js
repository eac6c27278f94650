// A video from a graph, window by window, as kvdiff.diffusion.Sampler does it: what is computed is computed in the
// graph, here arrays are put together. The noise of call i of a window is draw `first + i + 1` of the seed.

/** Numbers in a frame of a clip described as { height, width, channels }. */
export const frameSize = (clip) => clip.height * clip.width * clip.channels;

/** The frames numbered `at` of a video whose frames have `size` numbers. */
export function gathered(video, at, size) {
  const out = new video.constructor(at.length * size);
  at.forEach((frame, i) => out.set(video.subarray(frame * size, (frame + 1) * size), i * size));
  return out;
}

/** Put frame `from` of `clip` where frame `to` of `video` is. */
export function copyFrame(video, to, clip, from, size) {
  video.set(clip.subarray(from * size, (from + 1) * size), to * size);
}

/** The condition arrays of a window, by name; per-frame ones are those of the frames `at`. */
export function windowConditions(spec, values, at) {
  const found = {};
  for (const condition of spec.conditions) {
    const size = condition.shape.reduce((product, n) => product * n, 1);
    const given = values[condition.name];
    const whole = given ?? defaultValue(condition, size, at);
    found[condition.name] = {
      dtype: condition.dtype,
      shape: condition.perFrame ? [at.length, ...condition.shape] : condition.shape,
      present: condition.always || given !== undefined,
      data: condition.perFrame && given ? gathered(whole, at, size) : whole,
    };
  }
  return found;
}

function defaultValue(condition, size, at) {
  if (condition.control === 'times') return Float32Array.from(at);
  const count = condition.perFrame ? at.length * size : size;
  return condition.dtype === 'int32' ? new Int32Array(count) : new Float32Array(count);
}

/**
 * Generate the frames of a video that no window's plan knows.
 *
 * @param model { spec }
 * @param engine what runs a window: see engines.js
 * @param job { task, solver, steps, seed, guidance, frames, windows, clip, conditions }: `clip` has users' numbers of
 *   all frames, `windows` are pairs of the frames that go through the network and of those that are new.
 * @param onCall called as onCall(video in users' numbers, calls done, calls in all, the window's new frames).
 * @returns the video, in users' numbers.
 */
export async function sample(model, engine, job, onCall = () => {}) {
  const { spec } = model;
  const size = frameSize(spec.latent);
  const calls = spec.tasks[job.task].tables[job.solver][job.steps].calls;
  const x = job.windows.every(([at, fresh]) => at.length === fresh.length)
    ? new Float32Array(job.frames * size)
    : await engine.encode(job.clip.slice(), job.frames);
  const shown = job.clip.slice();
  const total = calls * job.windows.length;
  let draw = 0;
  for (const [number, [at, fresh]] of job.windows.entries()) {
    const isNew = at.map((frame) => fresh.includes(frame));
    const start = gathered(x, at, size);
    isNew.forEach((begins, i) => begins && start.fill(0, i * size, (i + 1) * size));
    const show = (numbers, call) => {
      putNew(shown, numbers, at, isNew, frameSize(spec.clip));
      onCall(shown, number * calls + call, total, fresh);
    };
    const request = {
      task: job.task, solver: job.solver, steps: job.steps, seed: job.seed, guidance: job.guidance,
      conditions: windowConditions(spec, job.conditions, at), start, isNew, draw,
    };
    const done = await engine.window(request, show);
    putNew(x, done.x, at, isNew, size);
    draw += 1 + calls;
  }
  return shown;
}

function putNew(video, clip, at, isNew, size) {
  at.forEach((frame, i) => isNew[i] && copyFrame(video, frame, clip, i, size));
}
