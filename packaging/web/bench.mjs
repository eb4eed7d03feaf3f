// Times candidates that live in one JavaScript process, in node or in a page, taking turns.
//
// A job: {inputs: [{file, shape, type, scale, zero}], candidates: [{name, kind, file, ...}], seconds, least}. ``env``
// has url(path), bytes(path), library(package, file) and progress(share) (node.mjs, page.mjs); paths
// start with the name of a root: web, runner, npm, job.
//
// candidates/KIND.mjs exports open(candidate, inputs, env) -> {run, outputs}: ``run`` does one
// inference and may return a promise, ``outputs`` gives the arrays of a run.

import { TYPES, typeOf } from "./layout.mjs";

const SAMPLE_MS = 5; // a sample repeats a short run until it lasts this long: clocks step 5-100 us
const WINDOW_MS = 100; // warm-up goes by windows of this length
const SETTLED = 0.98; // a window that is not faster than this share of the best has settled
const WINDOWS = { least: 3, most: 60 };
const MOST = 1000; // samples of each
const TELL_MS = 500; // between words of progress, which cost the next sample something

// f32x4.relaxed_madd of three parameters
const RELAXED = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 8, 1, 96, 3, 123, 123, 123, 1, 123, 3, 2, 1, 0, 10, 13, 1, 11, 0,
  32, 0, 32, 1, 32, 2, 253, 133, 2, 11,
]);

/** A failure of one candidate, by its name. */
export class CandidateFailed extends Error {
  constructor(name, cause) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.candidate = name;
  }
}

/** Everything about a job: {results: [{name, ms, repeats, outputs}], clock, relaxed}, samples in ms. */
export async function bench(job, env) {
  const inputs = await Promise.all(job.inputs.map((input) => read(input, env)));
  const running = [];
  for (const candidate of job.candidates) {
    running.push(await attempt(candidate.name, () => open(candidate, inputs, env)));
  }
  for (const one of running) await attempt(one.name, () => warm(one));
  await interleave(running, job, env);
  const results = running.map(({ name, ms, repeats, outputs }) => ({ name, ms, repeats, outputs }));
  return { results, clock: clock(), relaxed: WebAssembly.validate(RELAXED) };
}

async function attempt(name, action) {
  try {
    return await action();
  } catch (error) {
    throw new CandidateFailed(name, error);
  }
}

async function read({ file, shape, type, scale, zero }, env) {
  const bytes = await env.bytes(file);
  return { shape, data: new TYPES[type](bytes.slice().buffer), scale, zero };
}

async function open(candidate, inputs, env) {
  const kind = await import(`./candidates/${candidate.kind}.mjs`);
  const { run, outputs } = await kind.open(candidate, inputs, env);
  await run();
  return { name: candidate.name, run, ms: [], repeats: 1, outputs: (await outputs()).map(told) };
}

/** Runs until the engine has compiled what is hot with its best compiler and times stand still. */
async function warm(one) {
  let best = Infinity;
  for (let window = 0, still = 0; window < WINDOWS.most && still < WINDOWS.least; window++) {
    const ms = await during(one, WINDOW_MS);
    still = ms > best * SETTLED ? still + 1 : 0;
    best = Math.min(best, ms);
  }
  one.repeats = Math.max(1, Math.round(SAMPLE_MS / best));
}

/** Milliseconds per run, over runs that fill ``ms``. */
async function during(one, ms) {
  const start = performance.now();
  let runs = 0, spent = 0;
  for (; spent < ms || runs < 2; spent = performance.now() - start, runs++) await one.run();
  return spent / runs;
}

/** A B C A B C ..., the order reversed every other round; the first round is thrown away. */
async function interleave(running, { seconds, least }, env) {
  let round = 0;
  for (const one of running) round += (await sample(one)) * one.repeats;
  const rounds = Math.max(least, Math.min(MOST, Math.floor((seconds * 1e3 * running.length) / round)));
  let told = performance.now();
  for (let turn = 0; turn < rounds; turn++) {
    for (const one of turn % 2 ? [...running].reverse() : running) one.ms.push(await sample(one));
    if (performance.now() - told < TELL_MS) continue;
    await env.progress((turn + 1) / rounds);
    told = performance.now();
  }
}

/** Milliseconds per run of one sample. */
async function sample(one) {
  const start = performance.now();
  for (let i = 0; i < one.repeats; i++) await one.run();
  return (performance.now() - start) / one.repeats;
}

/** The smallest step of the clock, in ms. */
function clock() {
  let least = Infinity;
  for (let i = 0; i < 100; i++) {
    const start = performance.now();
    let now = start;
    while (now === start) now = performance.now();
    least = Math.min(least, now - start);
  }
  return least;
}

function told(array) {
  return { type: typeOf(array), data: base64(array) };
}

function base64(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  }
  return btoa(text);
}

/** A document for what went wrong, to send in place of a result. */
export function failure(error) {
  const { candidate = null, cause } = error ?? {};
  return { error: String(error?.message ?? error), candidate, code: cause?.code ?? null };
}
