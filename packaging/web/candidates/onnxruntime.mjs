// onnxruntime-web, WebAssembly backend, one thread, an .onnx file. Its API copies inputs and outputs
// in every run.
import { fit } from "../layout.mjs";

const PACKAGE = "onnxruntime-web";

export async function open({ name, file }, inputs, env) {
  const ort = await env.library(PACKAGE, "dist/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.proxy = false;
  ort.env.wasm.wasmPaths = env.url(`npm/${PACKAGE}/dist/`);
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(await env.bytes(file), {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
  });
  const feeds = {};
  session.inputNames.forEach((input, i) => {
    const { type, shape: wanted } = session.inputMetadata[i];
    const { shape, data } = fit(inputs[i], wanted, type, name);
    feeds[input] = new ort.Tensor(type, data, shape);
  });
  return {
    run: () => session.run(feeds),
    outputs: async () => {
      const results = await session.run(feeds);
      return session.outputNames.map((output) => results[output].data);
    },
  };
}
