// What can go wrong, and what a person is told of it.

/** A failure with a name, so that it can be told in words; it survives the way from a worker as { kind, what }. */
export class Trouble extends Error {
  constructor(kind, what = '', cause = undefined) {
    super(`${kind}: ${what}`, { cause });
    this.kind = kind;
    this.what = String(what);
  }
}

const WORDS = {
  network: (what) => `${what} could not be fetched. Is the server that this page came from still running?`,
  missing: (what) => `${what} is missing beside this page. Copy the whole folder again.`,
  token: () => 'The server asks for its token. Open the whole address that it printed when it was started.',
  manifest: (what) => `This folder is not a whole page of kvdiff: ${what} is missing or not what it should be. Copy the folder again.`,
  changed: (what) => `${what} is not the file that this page was made with: it was changed or cut off on its way. Copy the folder again.`,
  graph: (what) => `The model could not be opened by this browser (${what}). A current Chrome, Edge, Firefox or Safari can.`,
  memory: () => 'There is not enough memory for this. Close other tabs, or ask for fewer frames or a shorter video.',
  large: (what) => `This file is too large: ${what}. Take one of at most 200 MB, for example by cutting out a few seconds.`,
  undecodable: (what) => `${what} could not be read as a video or picture. GIF, WebM, MP4, PNG and JPEG work, and .npy files of pixels.`,
  short: (what) => what,
  busy: () => 'The server is busy with others. Try again in a moment.',
  server: (what) => `The server could not do it: ${what}`,
  stopped: () => 'Stopped.',
  worker: (what) => `The model stopped working (${what}). It is being started again; try once more.`,
};

const MEMORY = /out of memory|bad_alloc|allocation failed|array buffer|invalid array length|aborted\(|memory access out of bounds/i;

/** Any error as Trouble: those of the runtime are told apart by their words. */
export function asTrouble(error, kind = 'worker') {
  if (error instanceof Trouble) return error;
  const text = String(error?.message ?? error);
  return new Trouble(MEMORY.test(text) || error instanceof RangeError ? 'memory' : kind, text.slice(0, 200), error);
}

/** A sentence for a person. */
export function told(error) {
  const trouble = asTrouble(error);
  return (WORDS[trouble.kind] ?? WORDS.worker)(trouble.what);
}
