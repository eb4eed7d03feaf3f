// LiteRT.js, WebAssembly (XNNPACK), one thread, a .tflite file. It takes its relaxed SIMD build where
// the engine has that.
import { fit } from "../layout.mjs";

const PACKAGE = "@litertjs/core";
let loading = null;

export async function open({ name, file }, inputs, env) {
  const litert = await env.library(PACKAGE, "dist/index.js");
  loading ??= env.asWorker(() => litert.loadLiteRt(env.url(`npm/${PACKAGE}/wasm/`)));
  await loading;
  const options = { accelerator: "wasm", cpuOptions: { numThreads: 1 } };
  const model = await litert.loadAndCompile(await env.bytes(file), options);
  const tensors = model.getInputDetails().map((details, i) => {
    const { shape, data } = fit(inputs[i], details.shape, details.dtype, name);
    return new litert.Tensor(data, shape);
  });
  return {
    run: async () => {
      for (const result of await model.run(tensors)) result.delete();
    },
    outputs: async () => {
      const results = await model.run(tensors);
      const arrays = results.map((result) => result.toTypedArray());
      for (const result of results) result.delete();
      return arrays;
    },
  };
}
