// Play: one frame after another, each by the action of the moment. The frames are those of `sampler.rollout` with
// at_a_time=1, the same seed and the same actions.

import { copyFrame, frameSize, gathered, windowConditions } from './video.js';

const MOST_FRAMES = 20_000;

/** The frames of a window that makes frame `number`: as many before it as fit. */
export function windowOf(number, length) {
  const first = Math.max(0, number + 1 - length);
  return Array.from({ length: number + 1 - first }, (_, i) => first + i);
}

/** A game: its frames so far, in what the network has, and what led to them. */
export class Game {
  /**
   * @param start { frames, clip, actions }: the first frames in users' numbers, and what led to each where it is known.
   * @param how { solver, steps, seed, guidance }
   */
  constructor(model, engine, start, how) {
    Object.assign(this, { model, engine, how, number: start.frames, draw: 0, start });
    this.size = frameSize(model.spec.latent);
    this.condition = model.spec.conditions.find(({ name }) => name === model.spec.actions.condition);
    this.actions = this.#firstActions();
  }

  /** What led to the first frames, where it is known, else the first action. */
  #firstActions() {
    const { start, model } = this;
    const usual = model.spec.actions.values[0].value;
    return Array.from({ length: start.frames }, (_, frame) => start.actions?.[frame] ?? usual);
  }

  /** Encode the first frames. */
  async begin() {
    const { start, model } = this;
    this.length = model.spec.clip.num_frames;
    this.x = start.frames ? await this.engine.encode(start.clip, start.frames) : new Float32Array(0);
    return this;
  }

  /** The next frame, in users' numbers, by an action's value. */
  async step(action) {
    if (this.number >= MOST_FRAMES) throw new Error('the game is over');
    this.actions.push(action);
    const at = windowOf(this.number, this.length);
    const kept = at.length - 1;
    const start = new Float32Array(at.length * this.size);
    start.set(this.x.subarray(this.x.length - kept * this.size));
    const done = await this.engine.window({
      ...this.how, task: 'rollout', draw: this.draw, start,
      isNew: at.map((frame) => frame === this.number),
      conditions: this.#conditions(at),
    });
    this.draw += 1 + this.model.spec.tasks.rollout.tables[this.how.solver][this.how.steps].calls;
    this.number += 1;
    this.x = done.x; // The window is all that later frames go by.
    const shown = new Float32Array(frameSize(this.model.spec.clip));
    copyFrame(shown, 0, done.numbers, kept, shown.length);
    return shown;
  }

  /** Those of a window: of all frames but the actions of these alone, for a game may be long. */
  #conditions(at) {
    const { name, dtype, shape } = this.condition;
    const data = this.actionArray(at[0]);
    return { ...windowConditions(this.model.spec, {}, at), [name]: { dtype, shape: [at.length, ...shape], present: true, data } };
  }

  /** The actions of the frames from `first` on, as the condition has them. */
  actionArray(first = 0) {
    const flat = this.actions.slice(first).flat();
    return this.condition.dtype === 'int32' ? Int32Array.from(flat) : Float32Array.from(flat);
  }

  /** The frames that the game began with, in users' numbers. */
  get past() {
    return gathered(this.start.clip, Array.from({ length: this.start.frames }, (_, i) => i), frameSize(this.model.spec.clip));
  }
}
