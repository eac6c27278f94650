// How a task is sampled: the model's own defaults first.

import { choice, element, labelled, slider } from './controls.js';

const ORDER_NAMES = { own: 'the model’s own', whole: 'all at once', single: 'one after another' };
const MOST_SEED = 2 ** 32;

export class Settings {
  #byTask = {};

  /** @param onChange called when anything changes @param onChannel called with the channel to draw */
  constructor(spec, onChange, onChannel) {
    Object.assign(this, { spec, onChange, onChannel });
    this.body = document.getElementById('settings-body');
    this.seed = 0;
  }

  /** Show the settings of a task; `plays` leaves out what a game has no choice of. */
  use(task, plays = false) {
    this.task = task;
    this.plays = plays;
    this.#byTask[task] ??= this.#defaults(task);
    this.#draw();
  }

  #defaults(task) {
    const { own, cases } = this.spec.tasks[task];
    const usual = Math.floor((cases.length - 1) / 2);
    const found = { case: task === 'rollout' ? this.#firstKnown(cases) : usual, solver: own.solver, steps: String(own.steps), guidance: own.guidance };
    found.order = Object.keys(cases[found.case].orders)[0];
    return found;
  }

  #firstKnown(cases) {
    const index = cases.findIndex(({ known }) => known.length && this.spec.examples.length);
    return Math.max(index, 0);
  }

  get #now() {
    return this.#byTask[this.task];
  }

  /** What is asked for: { task, solver, steps, order, guidance, seed, frames, known, windows }. */
  job() {
    const { case: number, solver, steps, order, guidance } = this.#now;
    const { frames, known, orders } = this.spec.tasks[this.task].cases[number];
    return { task: this.task, solver, steps, order, guidance, seed: this.seed, frames, known, windows: orders[order] };
  }

  nextSeed() {
    this.#setSeed(this.seed + 1);
    this.#draw();
  }

  #setSeed(seed) {
    this.seed = Math.min(Math.max(Math.floor(seed) || 0, 0), MOST_SEED - 1);
  }

  #change(part) {
    Object.assign(this.#now, part);
    const { orders } = this.spec.tasks[this.task].cases[this.#now.case];
    if (!orders[this.#now.order]) [this.#now.order] = Object.keys(orders);
    this.#draw();
    this.onChange();
  }

  #draw() {
    const { own, tables, cases } = this.spec.tasks[this.task];
    const now = this.#now;
    const seed = element('input', { type: 'number', min: 0, max: MOST_SEED - 1, step: 1, value: this.seed, id: 'seed' });
    seed.addEventListener('change', () => {
      this.#setSeed(Number(seed.value));
      this.onChange();
    });
    const rows = [labelled('Seed', seed)];
    if (!this.plays) rows.unshift(...this.#caseRows(cases, now));
    const solvers = Object.keys(tables).map((name) => [name, name === own.solver ? `${name} (the model’s own)` : name]);
    const steps = Object.entries(tables[now.solver]).map(([number, { calls }]) => [number, calls === Number(number) ? number : `${number} (${calls} calls)`]);
    rows.push(labelled(this.plays ? 'Calls a frame' : 'Calls', choice(steps, now.steps, (value) => this.#change({ steps: value }))));
    rows.push(labelled('Solver', choice(solvers, now.solver, (solver) => this.#change({ solver, steps: nearest(tables[solver], now.steps) }))));
    if (this.spec.optional.length) {
      rows.push(labelled('Guidance', slider({ min: 0, max: 6, step: 0.25, value: now.guidance }, (guidance) => {
        now.guidance = guidance;
        this.onChange();
      })));
    }
    rows.push(...this.#channelRow());
    this.body.replaceChildren(...rows);
    this.body.querySelectorAll('select').forEach((select) => { select.id ||= `setting-${select.previousSibling?.textContent}`; });
  }

  #caseRows(cases, now) {
    const rows = [];
    const lengths = [...new Set(cases.map(({ frames }) => frames))];
    const of = ({ frames, known }) => cases.findIndex((each) => each.frames === frames && each.known.length === known);
    const here = cases[now.case];
    if (lengths.length > 1) {
      rows.push(labelled('Frames in all', choice(lengths.map((n) => [n, n]), here.frames, (value) => (
        this.#change({ case: of({ frames: Number(value), known: here.known.length }) })
      ))));
    }
    const counts = cases.filter(({ frames }) => frames === here.frames).map(({ known }) => known.length);
    if (counts.length > 1) {
      const words = (n) => (this.task === 'interpolate' ? `${n / 2} on each side` : n === 0 ? 'none' : String(n));
      rows.push(labelled('Known frames', choice(counts.map((n) => [n, words(n)]), here.known.length, (value) => (
        this.#change({ case: of({ frames: here.frames, known: Number(value) }) })
      ))));
    }
    const orders = Object.keys(here.orders);
    if (orders.length > 1) {
      rows.push(labelled('Frames are made', choice(orders.map((name) => [name, ORDER_NAMES[name]]), now.order, (order) => this.#change({ order }))));
    }
    return rows;
  }

  #channelRow() {
    const { channels, channel_names: names = [] } = this.spec.clip;
    if (channels === 1 || (channels === 3 && !this.spec.values.ticks.length)) return [];
    const options = Array.from({ length: channels }, (_, i) => [i, names[i] ?? `channel ${i + 1}`]);
    return [labelled('Draw', choice(options, 0, (channel) => this.onChannel(Number(channel))))];
  }
}

/** The number of steps nearest to what was chosen that a solver has a table for. */
function nearest(tables, steps) {
  const numbers = Object.keys(tables);
  return numbers.reduce((best, each) => (Math.abs(each - steps) < Math.abs(best - steps) ? each : best), numbers[0]);
}
