// node run_wasm.mjs MODULE MODEL OUT-PREFIX ISA REPEATS THREADS IN...
// The same as main.c on a WebAssembly module made of wasm.c; prints also "ms": [...], the time of
// each run. Exit codes as in main.c. More threads than one need a module with wasm_threads.c.
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

import { Failure, Instance, SYSTEM, USAGE } from "./instance.mjs";

const PAGES = { initial: 64, maximum: 32768, shared: true }; // what the module with threads imports

function time(instance) {
  const start = performance.now();
  instance.run();
  return performance.now() - start;
}

/** The other threads, each with an instance of its own over the same memory. */
async function workers(instance, module, shared, threads) {
  if (threads === 1) return [];
  if (!shared) throw new Failure(USAGE, `${threads} threads: this module has one`);
  const status = instance.w.fil_w_threads(threads);
  if (status) {
    throw new Failure(USAGE, `${threads} threads: ${instance.text(instance.w.fil_w_sentence(status))}`);
  }
  const started = Array.from({ length: threads - 1 }, (_, i) => {
    const stack = instance.w.fil_w_stack(i + 1) >>> 0;
    const given = { module, memory: shared, index: i + 1, stack };
    return new Worker(new URL(import.meta.url), { workerData: given });
  });
  await Promise.all(started.map((worker) => once(worker, "message")));
  return started;
}

/** A worker: parts of ops until the end. */
function work({ module, memory, index, stack }) {
  const w = new WebAssembly.Instance(module, { env: { memory } }).exports;
  w.__stack_pointer.value = stack;
  parentPort.postMessage("ready");
  w.fil_w_work(index);
}

async function main([module, model, prefix, isa, repeats, threads, ...inputs]) {
  if (threads === undefined) {
    throw new Failure(USAGE, "run_wasm.mjs MODULE MODEL OUT-PREFIX ISA REPEATS THREADS IN...");
  }
  const compiled = new WebAssembly.Module(readFileSync(module));
  const imports = WebAssembly.Module.imports(compiled).length;
  const shared = imports ? new WebAssembly.Memory(PAGES) : undefined;
  const instance = new Instance(compiled, readFileSync(model), isa, shared);
  instance.load(inputs.map((path) => readFileSync(path)));
  const others = await workers(instance, compiled, shared, Number(threads));
  const ms = Array.from({ length: Number(repeats) }, () => time(instance));
  if (others.length) instance.w.fil_w_end();
  const outputs = instance.outputs();
  outputs.forEach(({ data }, i) => writeFileSync(`${prefix}${i}`, data));
  const shapes = outputs.map(({ shape }) => shape);
  const dtypes = outputs.map(({ dtype }) => dtype);
  console.log(JSON.stringify({ isa: instance.isa, outputs: shapes, dtypes, ms }));
}

async function run(words) {
  try {
    await main(words);
  } catch (error) {
    console.error(error instanceof Failure ? error.message : error);
    process.exitCode = error instanceof Failure ? error.code : SYSTEM;
  }
}

if (isMainThread) run(process.argv.slice(2));
else work(workerData);
