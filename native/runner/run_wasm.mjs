// node run_wasm.mjs MODULE MODEL OUT-PREFIX ISA REPEATS IN...
// The same as main.c on a WebAssembly module made of wasm.c; prints also "ms": [...], the time of
// each run. Exit codes as in main.c.
import { readFileSync, writeFileSync } from "node:fs";

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
    this.w = new WebAssembly.Instance(module, {}).exports;
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
    return new Uint8Array(this.w.memory.buffer, pointer >>> 0, bytes);
  }

  text(pointer) {
    const bytes = new Uint8Array(this.w.memory.buffer, pointer >>> 0);
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

function main([module, model, prefix, isa, repeats, ...inputs]) {
  if (repeats === undefined) {
    throw new Failure(USAGE, "run_wasm.mjs MODULE MODEL OUT-PREFIX ISA REPEATS IN...");
  }
  const compiled = new WebAssembly.Module(readFileSync(module));
  const runner = new Runner(compiled, readFileSync(model), isa);
  runner.load(inputs.map((path) => readFileSync(path)));
  const ms = Array.from({ length: Number(repeats) }, () => runner.time());
  const outputs = runner.outputs();
  outputs.forEach(({ data }, i) => writeFileSync(`${prefix}${i}`, data));
  const shapes = outputs.map(({ shape }) => shape);
  console.log(JSON.stringify({ isa: runner.text(runner.w.fil_w_isa()), outputs: shapes, ms }));
}

try {
  main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Failure ? error.message : error);
  process.exitCode = error instanceof Failure ? error.code : SYSTEM;
}
