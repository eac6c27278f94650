// The page of a model: what is on it, and what happens when something is pressed.

import { BrowserEngine, ServerEngine } from './engines.js';
import { loadFile, loadModel, tokenOf } from './load.js';
import { Palette } from './numbers.js';
import { Screen } from './screen.js';
import { Settings } from './settings.js';
import { Source } from './source.js';
import { Arcade } from './arcade.js';
import { clipOfNpy } from './clips.js';
import { conditionControls, element, slider } from './controls.js';
import { commandOf, filesOf, pythonOf } from './commands.js';
import { Trouble, asTrouble, told } from './trouble.js';
import { copyFrame, frameSize, sample } from './video.js';
import { download, saveFrames, saveGif, saveWebm, scaleFor } from './save.js';
import { writeNpy } from './npy.js';

const $ = (id) => document.getElementById(id);
const TABS = {
  predict: ['What comes next', 'Predict'],
  interpolate: ['What lies between', 'Fill the gap'],
  generate: ['Something new', 'Generate'],
  rollout: ['A long video', 'Roll out'],
  play: ['Play', 'Start'],
};
const MOST_SNAPSHOTS = 128e6; // Bytes of the calls that are kept to look at.

class Page {
  constructor(model, examples, token) {
    Object.assign(this, { model, spec: model.spec, token, running: false, values: {} });
    const { spec } = this;
    this.palette = new Palette(spec);
    this.fps = spec.clip.fps ?? 8;
    const parts = { stage: $('stage'), strip: $('strip'), toggle: $('toggle'), scrub: $('scrub'), where: $('where') };
    this.screen = new Screen(parts, this.palette, this.fps);
    $('stage').style.setProperty('--wide', spec.clip.width / spec.clip.height);
    this.settings = new Settings(spec, () => this.refresh(), (channel) => this.useChannel(channel));
    this.source = new Source(spec, examples, () => this.palette, () => this.refresh(), (error) => this.fail(error));
    const notes = { onBytes: (count) => this.loaded(count), onFallback: (words) => this.fellBack(words) };
    this.engine = spec.engine === 'server' ? new ServerEngine(model, token) : new BrowserEngine(model, notes);
    this.arcade = new Arcade(this);
    this.tabs();
    this.wire();
    this.describe();
    this.choose(this.firstTask(examples));
    this.open();
  }

  firstTask(examples) {
    const wanted = new URLSearchParams(location.search).get('task');
    if (wanted === 'play' ? this.spec.actions : this.spec.tasks[wanted]) return wanted;
    if (this.spec.actions && this.spec.tasks.rollout && examples.length) return 'play';
    return examples.length && this.spec.tasks.predict ? 'predict' : 'generate';
  }

  // The frame around it.

  describe() {
    const { clip, values } = this.spec;
    const rate = clip.fps ? `, ${clip.fps} a second` : '';
    $('about').textContent = `A video model of ${clip.num_frames} frames${rate}, ${clip.width} × ${clip.height} pixels.`;
    if (!values.ticks.length) return;
    const colours = Array.from({ length: 9 }, (_, i) => {
      const rgba = new Uint8ClampedArray(4);
      const one = new Palette({ ...this.spec, clip: { ...clip, height: 1, width: 1, channels: 1 } });
      one.draw([values.curves[0][Math.round((i / 8) * (values.curves[0].length - 1))]], 0, rgba);
      return `rgb(${rgba.subarray(0, 3).join()})`;
    });
    const ticks = element('div', {}, ...values.ticks.map(({ label }) => element('span', { textContent: label })));
    if (values.unit) ticks.lastChild.append(` ${values.unit}`);
    const strip = element('i');
    strip.style.background = `linear-gradient(90deg, ${colours})`;
    $('bar').replaceChildren(strip, ticks);
    $('bar').hidden = false;
  }

  tabs() {
    const names = Object.keys(TABS).filter((task) => (task === 'play' ? this.spec.actions && this.spec.tasks.rollout : this.spec.tasks[task]));
    if (names.includes('play')) names.unshift(names.pop());
    $('tabs').replaceChildren(...names.map((task) => {
      const tab = element('button', { type: 'button', role: 'tab', id: `tab-${task}`, textContent: TABS[task][0] });
      tab.setAttribute('role', 'tab');
      tab.setAttribute('aria-controls', 'work');
      tab.addEventListener('click', () => this.choose(task));
      return tab;
    }));
    $('tabs').addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = names[(names.indexOf(this.task) + step + names.length) % names.length];
      this.choose(next);
      $(`tab-${next}`).focus();
    });
  }

  wire() {
    $('go').addEventListener('click', () => this.go());
    $('stop').addEventListener('click', () => this.stop());
    $('another').addEventListener('click', () => {
      this.settings.nextSeed();
      this.go();
    });
    for (const [name, text, act] of [
      ['gif', 'Save GIF', () => saveGif(`${this.task}.gif`, this.screen.pictures(scaleFor(this.spec.clip)), this.spec.clip, this.fps)],
      ['webm', 'Save WebM', () => saveWebm(`${this.task}.webm`, this.screen.pictures(scaleFor(this.spec.clip)), this.spec.clip, this.fps)],
      ['npy', 'Save numbers', () => saveFrames(`${this.task}.npy`, this.result.video, [0, this.result.frames], this.spec, false)],
      ['onward', 'Go on from here', () => this.goOn()],
    ]) {
      const button = element('button', { type: 'button', id: `save-${name}`, textContent: text });
      button.addEventListener('click', () => Promise.resolve().then(act).catch((error) => this.fail(error)));
      $('saves').append(button);
    }
  }

  /** Load the model while the reader looks around. */
  open() {
    const sizes = Object.entries(this.model.manifest.files).filter(([name]) => name.endsWith('.onnx'));
    const runtime = 14.3e6;
    this.bytes = { done: 0, total: sizes.reduce((sum, [, { bytes }]) => sum + bytes, runtime) };
    this.opened = this.engine.open(new URLSearchParams(location.search).get('backend') ?? 'auto').then((words) => {
      this.isOpen = true;
      this.runs(words);
      $('progress').hidden = true;
      if (!this.running) this.say(this.task === 'play' ? 'Ready. Press Start.' : 'Ready.');
      document.body.dataset.state = 'ready';
    });
    this.opened.catch((error) => this.fail(error));
    if (!this.isOpen) this.say('Loading the model …');
  }

  loaded(count) {
    this.bytes.done += count;
    $('progress').hidden = false;
    $('progress').value = Math.min(this.bytes.done / this.bytes.total, 1);
    if (this.bytes.done >= this.bytes.total * 0.98 && !this.isOpen) this.say('Preparing the model …');
  }

  runs(words) {
    const where = this.spec.engine === 'server' ? 'Clips go to the server that this page came from, and nowhere else.' : 'Nothing that you open or draw leaves this device.';
    $('runtime').textContent = `Runs ${words}. ${where} Made with kvdiff.`;
  }

  fellBack(words) {
    this.runs(words);
    this.say('The graphics processor stopped answering. Going on with the processor, which is slower.');
  }

  say(text) {
    $('status').textContent = text;
  }

  fail(error) {
    const trouble = asTrouble(error);
    if (trouble.kind === 'stopped') return this.say('Stopped.');
    $('error').textContent = told(trouble);
    $('error').hidden = false;
    $('progress').hidden = true;
    this.say('');
    document.body.dataset.state = 'error';
    return undefined;
  }

  // The task.

  choose(task) {
    if (this.running) this.stop();
    this.task = task;
    this.arcade.leave();
    for (const tab of $('tabs').children) {
      const on = tab.id === `tab-${task}`;
      tab.setAttribute('aria-selected', on);
      tab.tabIndex = on ? 0 : -1;
    }
    $('work').setAttribute('aria-labelledby', `tab-${task}`);
    $('go').textContent = TABS[task][1];
    const plays = task === 'play';
    $('source').hidden = task === 'generate';
    $('source-title').textContent = plays ? 'How it begins' : 'What is known';
    if (plays) $('keys').before($('go-row'));
    else $('conditions').after($('go-row'));
    for (const id of ['transport', 'strip', 'legend']) $(id).hidden = plays;
    this.settings.use(plays ? 'rollout' : task, plays);
    const rest = conditionControls(this.spec, this.values, () => this.refresh());
    $('conditions').replaceChildren(...(plays ? [] : rest));
    this.result = null;
    this.refresh();
    if (plays) this.arcade.enter();
  }

  useChannel(channel) {
    this.palette = new Palette(this.spec, channel);
    this.screen.usePalette(this.palette);
    this.refresh(true);
  }

  /** The frames that are known, as the source has them for this task. */
  startVideo(job) {
    const size = frameSize(this.spec.clip);
    const video = new Float32Array(job.frames * size).fill(this.spec.values.curves[0][0]);
    this.source.place(job).forEach((from, i) => copyFrame(video, job.known[i], this.source.data, from, size));
    return video;
  }

  /** Show what a job starts from. */
  refresh(keepResult = false) {
    this.job = this.makeJob();
    if (this.task === 'play') {
      this.arcade.reset();
      this.showSame();
      return;
    }
    if (!keepResult) this.result = null;
    const blank = Array.from({ length: this.job.frames }, (_, i) => i).filter((i) => !this.job.known.includes(i));
    if (this.result) this.screen.show({ ...this.result, known: this.job.known, blank: [] });
    else this.screen.show({ video: this.job.clip, frames: this.job.frames, known: this.job.known, blank });
    $('done').hidden = !this.result;
    $('another').hidden = !this.result;
    $('error').hidden = true;
    this.source.controls(this.job, $('from-row'));
    this.showSame();
  }

  makeJob() {
    const job = this.settings.job();
    const { exact, conditions } = this.source;
    Object.assign(job, { exact, conditions: this.conditionsOf(job, conditions) });
    job.clip = this.startVideo(job);
    return job;
  }

  /** Conditions of the whole video: those of the controls, and of an example for its known frames. */
  conditionsOf(job, recorded) {
    const found = {};
    const places = this.source.place(job); // Of the known frames in the clip that they are taken from.
    for (const condition of this.spec.conditions) {
      const value = this.values[condition.name];
      if (value === undefined) continue;
      const frames = condition.perFrame ? job.frames : 1;
      const list = Array.from({ length: frames }, (_, frame) => {
        const index = condition.perFrame ? job.known.indexOf(frame) : -1;
        return recorded[condition.name]?.[places[index]] ?? value;
      }).flat();
      found[condition.name] = condition.dtype === 'int32' ? Int32Array.from(list) : Float32Array.from(list);
    }
    return found;
  }

  async go() {
    if (this.task === 'play') return this.arcade.start();
    if (this.running) return undefined;
    this.refresh();
    const { job } = this;
    this.source.stopDrawing();
    this.busy(true);
    const began = performance.now();
    const snapshots = [];
    try {
      if (!this.isOpen) this.say('One moment: the model is still loading …');
      await this.opened;
      const blank = this.screen.blank;
      this.screen.show({ video: job.clip.slice(), frames: job.frames, known: job.known, blank });
      const video = await sample(this.model, this.engine, job, (shown, call, total, fresh) => {
        if ((call + 1) * shown.byteLength < MOST_SNAPSHOTS) snapshots.push(shown.slice());
        this.screen.update(shown, fresh);
        $('progress').value = call / total;
        this.say(`${call} of ${total} network calls`);
      });
      this.finish(job, video, snapshots, (performance.now() - began) / 1000);
    } catch (error) {
      await this.recover(error);
    } finally {
      this.busy(false);
    }
    return undefined;
  }

  finish(job, video, snapshots, seconds) {
    this.result = { video, frames: job.frames, snapshots };
    this.screen.show({ ...this.result, known: job.known, blank: [] });
    this.say(`Done in ${seconds.toFixed(1)} s.`);
    $('done').hidden = false;
    $('another').hidden = false;
    const row = [element('span', { textContent: 'From noise: call' }), slider({ min: 1, max: snapshots.length, step: 1, value: snapshots.length }, (call) => {
      const fresh = Array.from({ length: job.frames }, (_, i) => i).filter((i) => !job.known.includes(i));
      this.screen.update(snapshots[call - 1], fresh);
    })];
    row[1].firstChild.setAttribute('aria-label', 'Network call to look at');
    $('calls-row').replaceChildren(...row);
    $('calls-row').hidden = snapshots.length < 2;
    document.body.dataset.state = 'done';
    this.showSame();
  }

  /** After a failure the engine is made anew, so that the next press can work. */
  async recover(error) {
    const trouble = asTrouble(error);
    this.fail(trouble);
    if (this.task !== 'play') this.screen.show({ video: this.job.clip, frames: this.job.frames, known: this.job.known, blank: this.screen.blank });
    if (trouble.kind !== 'memory' && trouble.kind !== 'worker') return;
    this.opened = this.engine.restart('wasm').then((words) => this.runs(words));
    this.opened.catch(() => {});
  }

  busy(on) {
    this.running = on;
    document.body.dataset.state = on ? 'working' : document.body.dataset.state;
    $('go').disabled = on;
    $('go').textContent = on ? 'Working …' : TABS[this.task][1];
    $('stop').hidden = !on;
    $('progress').hidden = !on;
    if (on) {
      $('stage').scrollIntoView({ block: 'nearest' }); // On a phone the button is far below it.
      $('done').hidden = true;
      $('another').hidden = true;
      $('error').hidden = true;
    }
  }

  /** A game ends with the frame that is being made; anything else in the middle of it. */
  stop() {
    if (this.arcade.running) this.arcade.stop();
    else this.engine.cancel();
  }

  /** The result becomes what is known. */
  goOn() {
    const { video, frames } = this.result;
    this.source.take({ name: 'the last result', data: video, frames, exact: false, conditions: {} });
    if (this.task === 'generate' || this.task === 'interpolate') this.choose('predict');
    else this.refresh();
    this.say('The frames of the result are the known ones now.');
  }

  // The same in Python.

  showSame() {
    const job = this.task === 'play' ? this.arcade.job() : this.job;
    const blocks = [];
    const files = filesOf(job).map(([name, from, to]) => [name, () => saveFrames(name, job.clip, [from, to], this.spec, job.exact)]);
    for (const [name, value] of Object.entries(job.conditions)) {
      const condition = this.spec.conditions.find((each) => each.name === name);
      if (!condition.perFrame && value.length === 1 && condition.dtype === 'int32') continue;
      const shape = condition.perFrame ? [1, job.frames, ...condition.shape] : [1, ...condition.shape];
      files.push([`${name}.npy`, () => download(`${name}.npy`, writeNpy(value, shape), 'application/octet-stream')]);
    }
    if (files.length) {
      const buttons = files.map(([name, save]) => {
        const button = element('button', { type: 'button', textContent: `Save ${name}` });
        button.addEventListener('click', save);
        return button;
      });
      blocks.push(element('div', { className: 'row' }, ...buttons));
    }
    blocks.push(...copyable('Python', pythonOf(this.spec, job)));
    const command = commandOf(this.spec, job);
    if (command) blocks.push(...copyable('Command line', command));
    $('same-body').replaceChildren(...blocks);
  }
}

/** A text with a button that copies it. */
function copyable(name, text) {
  const button = element('button', { type: 'button', textContent: 'Copy' });
  button.setAttribute('aria-label', `Copy: ${name}`);
  button.addEventListener('click', async () => {
    await navigator.clipboard?.writeText(text);
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
  return [element('div', { className: 'row' }, element('strong', { textContent: name }), button), element('pre', { textContent: text })];
}

async function start() {
  const token = tokenOf(location);
  try {
    const model = await loadModel(token);
    const examples = await Promise.all(model.spec.examples.map(async (example) => ({
      ...example, ...clipOfNpy(await loadFile(model.manifest, example.file, { token }), model.spec),
    })));
    $('boot').remove();
    $('app').hidden = false;
    globalThis.kvdiff = new Page(model, examples, token); // For whoever opens the console.
  } catch (error) {
    $('boot').textContent = told(error instanceof Trouble ? error : new Trouble('manifest', String(error)));
    $('boot').id = 'error';
    document.body.dataset.state = 'error';
  }
}

start();
