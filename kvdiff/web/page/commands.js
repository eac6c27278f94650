// The same call as Python and on the command line.

const python = (value) => {
  if (value === null) return 'None';
  return typeof value === 'string' ? `"${value}"` : String(value);
};

const keywordsOf = (spec, job) => {
  const { own, fixed } = spec.tasks[job.task];
  const found = { ...fixed, ...spec.orders[job.order] };
  if (job.solver !== own.solver) found.solver = job.solver;
  // Another solver does not take the model's own number of steps from its defaults, so it is always said.
  if (Number(job.steps) !== own.steps || job.solver !== own.solver) found.num_steps = Number(job.steps);
  if (job.guidance !== own.guidance && Object.keys(job.conditions).length) found.guidance = job.guidance;
  found.seed = job.seed;
  return found;
};

/** What is saved beside a call: the files that it reads, as [name, frames from, to] of the job's video. */
export function filesOf(job) {
  const known = job.known.length;
  if (job.task === 'interpolate') {
    return [['before.npy', 0, known / 2], ['after.npy', job.frames - known / 2, job.frames]];
  }
  return known ? [['past.npy', 0, known]] : [];
}

const isNumber = (value) => value.length === 1;

/** The Python program of a job. */
export function pythonOf(spec, job) {
  const lines = ['import numpy as np, kvdiff', '', `sampler = kvdiff.runtime.open_sampler(${python(spec.run)})`];
  const files = filesOf(job).map(([name]) => name);
  for (const file of files) lines.push(`${file.slice(0, -4)} = np.load("${file}")`);
  const positional = {
    generate: [], predict: ['past', job.frames - job.known.length], interpolate: ['before', 'after', job.frames - job.known.length],
    rollout: [job.frames, ...files.map(() => 'past')],
  }[job.task];
  const conditions = Object.entries(job.conditions).map(([name, value]) => (
    `"${name}": ${isNumber(value) && !(value instanceof Float32Array) ? value[0] : `np.load("${name}.npy")`}`
  ));
  const keywords = Object.entries(keywordsOf(spec, job)).map(([name, value]) => `${name}=${python(value)}`);
  if (conditions.length) keywords.push(`conditions={${conditions.join(', ')}}`);
  const verb = { generate: 'generate', predict: 'predict_frames', interpolate: 'interpolate', rollout: 'rollout' }[job.task];
  lines.push(`video = sampler.${verb}(${[...positional, ...keywords].join(', ')})`);
  return lines.join('\n');
}

/** The command of a job; null where the command line has no word for it. */
export function commandOf(spec, job) {
  const keywords = keywordsOf(spec, job);
  if (keywords.plan === null) return null;
  const parts = ['kvdiff', job.task, quoted(spec.run), ...filesOf(job).map(([name]) => name)];
  const known = job.known.length;
  if (job.task === 'predict') parts.push('--past', known, '--num-frames', job.frames - known);
  if (job.task === 'interpolate') parts.push('--context', known / 2, '--num-frames', job.frames - known);
  if (job.task === 'rollout') parts.push('--num-frames', job.frames, ...(known ? ['--past', known] : []));
  for (const [name, value] of Object.entries(keywords)) {
    if (!(name === 'known_noise' && value === 0)) parts.push(`--${name.replaceAll('_', '-')}`, value);
  }
  for (const [name, value] of Object.entries(job.conditions)) {
    const single = isNumber(value) && !(value instanceof Float32Array);
    parts.push('--condition', `${name}=${single ? value[0] : `${name}.npy`}`);
  }
  parts.push('-o', `${job.task === 'generate' ? 'generated' : 'result'}.gif`);
  return parts.join(' ');
}

const quoted = (path) => (/^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);
