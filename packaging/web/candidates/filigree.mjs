// Our own runtime: {file, module, isa}, the module built from native/runner/wasm.c.
import { TYPES } from "../layout.mjs";

const DTYPES = { 1: "float32", 3: "int8", 4: "uint8" }; // fil_dtype

export async function open({ file, module, isa }, inputs, env) {
  const { Instance } = await import(env.url("runner/instance.mjs"));
  const compiled = await WebAssembly.compile(await env.bytes(module));
  const instance = new Instance(compiled, await env.bytes(file), isa);
  instance.load(inputs.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)));
  return {
    run: () => instance.run(),
    outputs: () => instance.outputs().map(({ dtype, data }) => new TYPES[DTYPES[dtype]](data.slice().buffer)),
  };
}
