// Users' numbers as colours and back: pixels in [-1, 1], or values with units on a colour bar.

/** What a uint8 pixel is in a clip: the network's [-1, 1], rounded as float32 as in Python. */
export const ofPixel = (value) => Math.fround(Math.fround(value / 127.5) - 1);

/** Where a number lies on the way from black (0) to white (1), by the curve's numbers at equal distances. */
export function position(number, curve) {
  const last = curve.length - 1;
  if (!(number > curve[0])) return Number.isNaN(number) ? NaN : 0;
  if (number >= curve[last]) return 1;
  let [low, high] = [0, last];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (curve[middle] <= number) low = middle;
    else high = middle;
  }
  return (low + (number - curve[low]) / (curve[high] - curve[low])) / last;
}

/** The number at a place from black (0) to white (1). */
export function numberAt(place, curve) {
  const last = curve.length - 1;
  const at = Math.min(Math.max(place, 0), 1) * last;
  const low = Math.min(Math.floor(at), last - 1);
  return Math.fround(curve[low] + (at - low) * (curve[low + 1] - curve[low]));
}

// From dark to light so that grey printing and colour-blind eyes keep the order (cividis, at six places).
const BAR = [[0, 32, 77], [53, 69, 108], [102, 105, 112], [148, 142, 119], [200, 184, 102], [255, 233, 69]];

/** The colour of a place on the colour bar, [red, green, blue]. */
export function barColour(place) {
  const at = Math.min(Math.max(place, 0), 1) * (BAR.length - 1);
  const low = Math.min(Math.floor(at), BAR.length - 2);
  return BAR[low].map((value, i) => Math.round(value + (at - low) * (BAR[low + 1][i] - value)));
}

/** How clips of a model are drawn. */
export class Palette {
  /** @param channel of clips that are neither grey nor colour: the one that is drawn. */
  constructor(spec, channel = 0) {
    this.clip = spec.clip;
    this.curves = spec.values.curves;
    this.isPixels = spec.values.ticks.length === 0;
    this.isColour = this.isPixels && spec.clip.channels === 3;
    this.channel = channel;
  }

  #curve(channel) {
    return this.curves[channel % this.curves.length];
  }

  /** Write frame `frame` of a video in users' numbers into RGBA bytes. */
  draw(video, frame, rgba) {
    const { height, width, channels } = this.clip;
    const from = frame * height * width * channels;
    for (let i = 0; i < height * width; i += 1) {
      const at = from + i * channels;
      if (this.isColour) for (let c = 0; c < 3; c += 1) rgba[4 * i + c] = this.#byte(video[at + c], c);
      else rgba.set(this.#one(video[at + this.channel]), 4 * i);
      rgba[4 * i + 3] = 255;
    }
  }

  #byte(number, channel) {
    return Math.round(255 * position(number, this.#curve(channel)));
  }

  #one(number) {
    if (this.isPixels) return Array(3).fill(this.#byte(number, this.channel));
    const place = position(number, this.#curve(this.channel));
    return Number.isNaN(place) ? [128, 128, 128] : barColour(place);
  }

  /** Users' numbers of a picture's RGBA bytes, as the model's channels; black is the lowest, white the highest. */
  read(rgba) {
    const { height, width, channels } = this.clip;
    const out = new Float32Array(height * width * channels);
    for (let i = 0; i < height * width; i += 1) {
      const [red, green, blue] = rgba.subarray(4 * i, 4 * i + 3);
      const grey = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
      for (let c = 0; c < channels; c += 1) {
        const byte = channels === 3 ? rgba[4 * i + c] : grey;
        out[i * channels + c] = this.isPixels ? ofPixel(byte) : numberAt(byte / 255, this.#curve(c));
      }
    }
    return out;
  }
}
