// The tab "Play": keys and buttons are actions, and a game runs until it is stopped.

import { Game } from './play.js';
import { element } from './controls.js';
import { asTrouble } from './trouble.js';
import { frameSize } from './video.js';

const $ = (id) => document.getElementById(id);
const MOST_KEPT = 3000; // Frames of a recording.
const KEY_NAMES = { ArrowLeft: '←', ArrowRight: '→', ArrowUp: '↑', ArrowDown: '↓', Space: 'space' };

export class Arcade {
  #held = [];
  #buttons = new Map();
  #entered = false;

  constructor(page) {
    this.page = page;
    this.running = false;
    addEventListener('keydown', (event) => this.#key(event, true));
    addEventListener('keyup', (event) => this.#key(event, false));
    addEventListener('blur', () => this.#release());
    document.addEventListener('visibilitychange', () => document.hidden && this.stop());
  }

  enter() {
    this.#entered = true;
    const { values } = this.page.spec.actions;
    $('keys').replaceChildren(...values.map((action) => this.#button(action)));
    $('keys').hidden = false;
    $('rate').hidden = false;
    $('rate').textContent = 'Hold a key, or a button below the screen.';
  }

  leave() {
    this.stop();
    this.#entered = false;
    $('keys').hidden = true;
    $('rate').hidden = true;
  }

  #button(action) {
    const { name, key } = action;
    const made = element('button', { type: 'button' }, name, element('kbd', { textContent: KEY_NAMES[key] ?? key }));
    this.#buttons.set(action, made);
    made.addEventListener('pointerdown', (event) => {
      made.setPointerCapture?.(event.pointerId);
      this.#press(action, true);
    });
    for (const end of ['pointerup', 'pointercancel', 'lostpointercapture']) made.addEventListener(end, () => this.#press(action, false));
    made.addEventListener('contextmenu', (event) => event.preventDefault());
    return made;
  }

  #key(event, down) {
    if (!this.#entered || event.target.matches?.('input, select, textarea')) return;
    const action = this.page.spec.actions.values.find(({ key }) => key === event.key || key === event.code);
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.code === 'Space' && event.target.matches?.('button, summary')) return;
    event.preventDefault();
    this.#press(action, down);
  }

  #press(action, down) {
    this.#held = this.#held.filter((each) => each !== action);
    if (down) this.#held.push(action);
    this.#buttons.get(action)?.classList.toggle('held', down);
  }

  #release() {
    for (const action of [...this.#held]) this.#press(action, false);
  }

  /** The action of the moment: of the key pressed last, else the one that keys rest on, else the last one. */
  get action() {
    const { values } = this.page.spec.actions;
    return this.#held.at(-1) ?? values.find(({ key }) => key === 'Space') ?? this.last ?? values[0];
  }

  /** Begin again: the known frames, and no game. */
  reset() {
    this.stop();
    this.game = null;
    this.kept = [];
    const { page } = this;
    const { job } = page;
    const known = job.known.map((_, i) => i);
    const frames = Math.max(known.length, 1);
    page.screen.show({ video: job.clip, frames, known, blank: known.length ? [] : [0] });
    $('done').hidden = true;
    $('another').hidden = true;
    $('error').hidden = true;
  }

  async start() {
    if (this.running) return;
    const { page } = this;
    page.refresh();
    this.running = true;
    this.last = null;
    page.busy(true);
    try {
      if (!page.isOpen) page.say('One moment: the model is still loading …');
      await page.opened;
      await this.#run();
    } catch (error) {
      if (asTrouble(error).kind !== 'stopped') await page.recover(error);
    } finally {
      this.running = false;
      page.busy(false);
      if (this.#entered) this.#over();
    }
  }

  async #run() {
    const { page } = this;
    const { solver, steps, seed, guidance, known, clip } = page.job;
    const recorded = page.source.conditions[page.spec.actions.condition];
    const start = {
      frames: known.length, clip: clip.subarray(0, known.length * frameSize(page.spec.clip)),
      actions: recorded && page.source.place(page.job).map((frame) => recorded[frame]),
    };
    this.game = await new Game(page.model, page.engine, start, { solver, steps, seed, guidance }).begin();
    page.say('');
    page.screen.play(false);
    document.body.dataset.state = 'working';
    const target = page.spec.clip.fps ?? 15;
    let [began, count] = [performance.now(), 0];
    while (this.running) {
      const due = performance.now() + 1000 / target;
      const action = this.action;
      this.last = action;
      const frame = await this.game.step(action.value);
      this.#show(frame);
      count += 1;
      const spent = performance.now() - began;
      if (spent > 500) {
        $('rate').textContent = `${((1000 * count) / spent).toFixed(1)} frames a second · frame ${this.game.number} · ${action.name}`;
        [began, count] = [performance.now(), 0];
      }
      await new Promise((resolve) => { setTimeout(resolve, Math.max(0, due - performance.now())); });
    }
  }

  #show(frame) {
    this.kept.push(frame);
    if (this.kept.length > MOST_KEPT) this.kept.shift();
    const { screen } = this.page;
    screen.show({ video: frame, frames: 1, known: [], blank: [] });
    screen.play(false);
  }

  stop() {
    this.running = false;
  }

  /** What is left when a game stops: a recording to look at and to save. */
  #over() {
    if (!this.kept.length) return;
    const { page } = this;
    const size = frameSize(page.spec.clip);
    const video = new Float32Array(this.kept.length * size);
    this.kept.forEach((frame, i) => video.set(frame, i * size));
    page.result = { video, frames: this.kept.length, snapshots: [] };
    page.screen.show({ ...page.result, known: [], blank: [] });
    page.screen.play(true);
    $('done').hidden = false;
    $('calls-row').hidden = true;
    $('another').hidden = false;
    page.say(`${this.kept.length} frames. Start begins again with the same seed.`);
    page.showSame();
    document.body.dataset.state = 'done';
  }

  /** The game so far as a rollout. */
  job() {
    const { page, game } = this;
    const conditions = game ? { [page.spec.actions.condition]: game.actionArray() } : {};
    return { ...page.job, order: 'single', frames: game?.number ?? page.job.frames, conditions };
  }
}
