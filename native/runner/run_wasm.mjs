// node run_wasm.mjs MODULE MODEL OUT-PREFIX ISA REPEATS THREADS IN...
// The same as main.c on a WebAssembly module made of wasm.c; prints also "ms": [...], the time of
// each run. Exit codes as in main.c. More threads than one need a module with wasm_threads.c.
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

const PAGES = { initial: 64, maximum: 32768, shared: true }; // what the module with threads imports

const SYSTEM = 1, USAGE = 2, INPUT = 3, REFUSED = 7;

class Failure extends Error {
  constructor(code, text) {
    super(text);
    this.code = code;
  }
}

/** One instance of the module with a packed model open in it. */
class Runner {
  constructor(module, model, isa) {
    this.module = module;
    this.workers = [];
    if (WebAssembly.Module.imports(module).length) this.shared = new WebAssembly.Memory(PAGES);
    this.w = new WebAssembly.Instance(module, { env: { memory: this.shared } }).exports;
    this.memory = this.shared ?? this.w.memory;
    if (isa !== "auto" && this.w.fil_w_force(this.put(Buffer.from(`${isa}\0`))) !== 0) {
      throw new Failure(USAGE, `${isa} is not in this build, or failed its self-test`);
    }
    const status = this.w.fil_w_open(this.put(model), model.length);
    if (status !== 0) {
      const name = this.text(this.w.fil_w_status(status));
      const sentence = this.text(this.w.fil_w_sentence(status));
      throw new Failure(REFUSED, `${name}: ${sentence} (item ${this.w.fil_w_bad_item()})`);
    }
  }

  /** A view of memory; growing memory detaches it, so it is made anew for each use. */
  view(pointer, bytes) {
    return new Uint8Array(this.memory.buffer, pointer >>> 0, bytes);
  }

  /** Start the other threads, each with an instance of its own over the same memory. */
  async start(threads) {
    if (threads === 1) return;
    if (!this.shared) throw new Failure(USAGE, `${threads} threads: this module has one`);
    const status = this.w.fil_w_threads(threads);
    if (status) throw new Failure(USAGE, `${threads} threads: ${this.text(this.w.fil_w_sentence(status))}`);
    for (let i = 1; i < threads; i++) {
      const stack = this.w.fil_w_stack(i) >>> 0;
      const given = { module: this.module, memory: this.shared, index: i, stack };
      this.workers.push(new Worker(new URL(import.meta.url), { workerData: given }));
    }
    await Promise.all(this.workers.map((worker) => once(worker, "message")));
  }

  end() {
    if (this.workers.length) this.w.fil_w_end();
  }

  text(pointer) {
    const bytes = new Uint8Array(this.memory.buffer, pointer >>> 0);
    return Buffer.from(bytes.subarray(0, bytes.indexOf(0))).toString();
  }

  put(bytes) {
    const pointer = this.w.fil_w_alloc(bytes.length);
    if (pointer === 0) throw new Failure(SYSTEM, `out of memory: ${bytes.length} bytes`);
    this.view(pointer, bytes.length).set(bytes);
    return pointer;
  }

  load(inputs) {
    const wanted = this.w.fil_w_inputs();
    if (inputs.length !== wanted) {
      throw new Failure(INPUT, `${inputs.length} inputs, the model takes ${wanted}`);
    }
    inputs.forEach((input, i) => {
      const bytes = this.w.fil_w_bytes(i) >>> 0;
      if (input.length !== bytes) {
        throw new Failure(INPUT, `input ${i} has ${input.length} bytes, the model takes ${bytes}`);
      }
      this.view(this.w.fil_w_port(i), bytes).set(input);
    });
  }

  time() {
    const start = performance.now();
    this.w.fil_w_run();
    return performance.now() - start;
  }

  outputs() {
    const first = this.w.fil_w_inputs();
    return Array.from({ length: this.w.fil_w_outputs() }, (_, i) => {
      const port = first + i;
      const rank = this.w.fil_w_rank(port);
      const shape = Array.from({ length: rank }, (_, axis) => this.w.fil_w_dim(port, axis));
      return { shape, data: this.view(this.w.fil_w_port(port), this.w.fil_w_bytes(port) >>> 0) };
    });
  }
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
  const runner = new Runner(compiled, readFileSync(model), isa);
  runner.load(inputs.map((path) => readFileSync(path)));
  await runner.start(Number(threads));
  const ms = Array.from({ length: Number(repeats) }, () => runner.time());
  runner.end();
  const outputs = runner.outputs();
  outputs.forEach(({ data }, i) => writeFileSync(`${prefix}${i}`, data));
  const shapes = outputs.map(({ shape }) => shape);
  console.log(JSON.stringify({ isa: runner.text(runner.w.fil_w_isa()), outputs: shapes, ms }));
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
