// Runs the job of root "job" in this page and posts the result to the server that it came from.
import { bench, failure } from "./bench.mjs";

const scripts = new Map();

const env = {
  path: (name) => `/${name}`,
  url: (name) => new URL(`/${name}`, location.href).href,
  bytes: async (name) => {
    const answer = await fetch(`/${name}`);
    if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
    return new Uint8Array(await answer.arrayBuffer());
  },
  /** An ES module, or a script that leaves its exports in the global ``name``. */
  library: (library, file, name) => {
    const url = env.url(`npm/${library}/${file}`);
    return name ? script(url, name) : import(url);
  },
  asWorker: (action) => action(),
  progress: (share) => post("progress", share),
};

function script(src, name) {
  const load = (resolve, reject) => {
    const element = Object.assign(document.createElement("script"), { src });
    element.onload = () => resolve(globalThis[name]);
    element.onerror = () => reject(new Error(`${src} does not load`));
    document.body.append(element);
  };
  if (!scripts.has(src)) scripts.set(src, new Promise(load));
  return scripts.get(src);
}

async function post(what, body) {
  await fetch(`/${what}`, { method: "POST", body: JSON.stringify(body) });
}

try {
  const job = JSON.parse(new TextDecoder().decode(await env.bytes("job/job.json")));
  const version = navigator.userAgent.match(/Chrome\/(\d+)/)?.[1] ?? "?";
  await post("result", { ...(await bench(job, env)), engine: `Chromium ${version}` });
} catch (error) {
  await post("result", failure(error));
}
