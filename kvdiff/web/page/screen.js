// The screen: a stage that plays the video, and a strip of its frames to scrub.

const calm = matchMedia('(prefers-reduced-motion: reduce)');

export class Screen {
  #timer = 0;
  #rgba;

  /** @param parts { stage, strip, toggle, scrub, where } elements @param palette draws frames */
  constructor(parts, palette, fps) {
    this.parts = parts;
    this.fps = fps;
    this.usePalette(palette);
    this.frame = 0;
    this.playing = !calm.matches;
    parts.toggle.addEventListener('click', () => this.play(!this.playing));
    parts.scrub.addEventListener('input', () => this.pauseAt(Number(parts.scrub.value)));
    parts.strip.addEventListener('click', (event) => {
      const button = event.target.closest('button');
      if (button) this.pauseAt(Number(button.dataset.frame));
    });
    calm.addEventListener('change', () => this.play(!calm.matches));
  }

  usePalette(palette) {
    const { height, width } = palette.clip;
    this.palette = palette;
    this.#rgba = new ImageData(width, height);
    this.parts.stage.width = width;
    this.parts.stage.height = height;
    this.parts.stage.style.setProperty('--ratio', `${width} / ${height}`);
    this.parts.stage.classList.toggle('pixels', Math.max(width, height) <= 160);
  }

  /** Show a video: users' numbers of `frames` frames, of which `known` are known and `blank` not there yet. */
  show({ video, frames, known, blank }) {
    Object.assign(this, { video, frames, known: new Set(known), blank: new Set(blank) });
    this.parts.scrub.max = frames - 1;
    this.#makeStrip();
    for (let frame = 0; frame < frames; frame += 1) this.redraw(frame);
    this.frame = Math.min(this.frame, frames - 1);
    this.play(this.playing);
    this.#stage();
  }

  #makeStrip() {
    const { strip } = this.parts;
    if (strip.childElementCount !== this.frames) {
      strip.replaceChildren(...Array.from({ length: this.frames }, (_, frame) => tile(frame, this.palette.clip)));
    }
    [...strip.children].forEach((item, frame) => {
      const kind = this.known.has(frame) ? 'known' : 'new';
      item.className = kind;
      item.firstChild.setAttribute('aria-label', `Frame ${frame + 1}, ${kind === 'known' ? 'known' : 'generated'}`);
    });
  }

  /** Draw a frame of the strip, and the stage where it shows it. */
  redraw(frame) {
    const item = this.parts.strip.children[frame];
    item.classList.toggle('blank', this.blank.has(frame));
    const canvas = item.querySelector('canvas');
    if (!this.blank.has(frame)) this.#paint(canvas, frame);
    if (frame === this.frame) this.#stage();
  }

  /** Frames that were computed anew. */
  update(video, frames) {
    this.video = video;
    for (const frame of frames) {
      this.blank.delete(frame);
      this.redraw(frame);
    }
  }

  #paint(canvas, frame) {
    this.palette.draw(this.video, frame, this.#rgba.data);
    canvas.getContext('2d').putImageData(this.#rgba, 0, 0);
  }

  #stage() {
    const { stage, scrub, where, strip } = this.parts;
    const blank = this.blank.has(this.frame);
    stage.classList.toggle('blank', blank);
    if (!blank) this.#paint(stage, this.frame);
    scrub.value = this.frame;
    where.textContent = `${this.frame + 1} / ${this.frames}`;
    strip.querySelector('[aria-current]')?.removeAttribute('aria-current');
    strip.children[this.frame].firstChild.setAttribute('aria-current', 'true');
  }

  /** Stop at a frame. */
  pauseAt(frame) {
    this.play(false);
    this.frame = frame;
    this.#stage();
  }

  /** Play or pause. Frames that are not there yet are passed over. */
  play(on) {
    this.playing = on;
    this.parts.toggle.textContent = on ? '❚❚' : '▶';
    this.parts.toggle.setAttribute('aria-label', on ? 'Pause' : 'Play');
    clearInterval(this.#timer);
    if (on) this.#timer = setInterval(() => this.#next(), 1000 / this.fps);
  }

  #next() {
    if (!this.video) return;
    do this.frame = (this.frame + 1) % this.frames;
    while (this.blank.has(this.frame) && this.blank.size < this.frames);
    this.#stage();
  }

  /** RGBA bytes of all frames, enlarged for a file. */
  pictures(scale) {
    const { width, height } = this.palette.clip;
    const canvas = new OffscreenCanvas(width * scale, height * scale);
    const small = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.imageSmoothingEnabled = false;
    return Array.from({ length: this.frames }, (_, frame) => {
      this.#paint(small, frame);
      context.drawImage(small, 0, 0, canvas.width, canvas.height);
      return context.getImageData(0, 0, canvas.width, canvas.height).data;
    });
  }
}

function tile(frame, { width, height }) {
  const item = document.createElement('li');
  const button = document.createElement('button');
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width, height });
  button.dataset.frame = frame;
  button.type = 'button';
  button.append(canvas, Object.assign(document.createElement('span'), { textContent: frame + 1 }));
  item.append(button);
  return item;
}
