// TensorFlow.js, WebAssembly backend (XNNPACK), one thread, a graph model: model.json, its weight
// files beside it.
import { fit } from "../layout.mjs";

const SCOPE = "@tensorflow";

export async function open({ name, file }, inputs, env) {
  const tf = await env.library(`${SCOPE}/tfjs-core`, "dist/tf-core.min.js", "tf");
  const { loadGraphModel } = await env.library(`${SCOPE}/tfjs-converter`, "dist/tf-converter.min.js", "tf");
  const { setWasmPaths } = await backend(env);
  setWasmPaths(env.path(`npm/${SCOPE}/tfjs-backend-wasm/dist/`));
  tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
  if (!(await tf.setBackend("wasm"))) throw new Error("the WebAssembly backend does not start");
  const model = await loadGraphModel(tf.io.fromMemory(await artifacts(file, env)));
  const tensors = model.inputs.map((input, i) => {
    const { shape, data } = fit(inputs[i], input.shape, "float32", name);
    return tf.tensor(data, shape);
  });
  const results = () => [model.predict(tensors)].flat();
  return {
    run: () => tf.dispose(results()),
    outputs: async () => Promise.all(results().map((result) => result.data())),
  };
}

async function backend(env) {
  const loaded = await env.library(`${SCOPE}/tfjs-backend-wasm`, "dist/tf-backend-wasm.min.js", "tf");
  return loaded.wasm ?? loaded;
}

/** What tf.io.fromMemory takes: the graph and all weights in one buffer. */
async function artifacts(file, env) {
  const { modelTopology, weightsManifest } = JSON.parse(new TextDecoder().decode(await env.bytes(file)));
  const folder = file.slice(0, file.lastIndexOf("/") + 1);
  const paths = weightsManifest.flatMap((group) => group.paths);
  const parts = await Promise.all(paths.map((path) => env.bytes(folder + path)));
  const weightData = await new Blob(parts).arrayBuffer();
  return { modelTopology, weightSpecs: weightsManifest.flatMap((group) => group.weights), weightData };
}
