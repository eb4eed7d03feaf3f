// node run_wasm.mjs MODULE MODEL OUT-PREFIX ISA REPEATS IN...
// The same as main.c on a WebAssembly module made of wasm.c; prints also "ms": [...], the time of
// each run. Exit codes as in main.c.
import { readFileSync, writeFileSync } from "node:fs";

import { Failure, Instance, SYSTEM, USAGE } from "./instance.mjs";

function time(instance) {
  const start = performance.now();
  instance.run();
  return performance.now() - start;
}

function main([module, model, prefix, isa, repeats, ...inputs]) {
  if (repeats === undefined) {
    throw new Failure(USAGE, "run_wasm.mjs MODULE MODEL OUT-PREFIX ISA REPEATS IN...");
  }
  const compiled = new WebAssembly.Module(readFileSync(module));
  const instance = new Instance(compiled, readFileSync(model), isa);
  instance.load(inputs.map((path) => readFileSync(path)));
  const ms = Array.from({ length: Number(repeats) }, () => time(instance));
  const outputs = instance.outputs();
  outputs.forEach(({ data }, i) => writeFileSync(`${prefix}${i}`, data));
  const shapes = outputs.map(({ shape }) => shape);
  console.log(JSON.stringify({ isa: instance.isa, outputs: shapes, ms }));
}

try {
  main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Failure ? error.message : error);
  process.exitCode = error instanceof Failure ? error.code : SYSTEM;
}
