// node node.mjs '{"roots": {"web": FOLDER, ...}, "desk": URL}'
// Runs the job of root "job" in node and posts the result to the desk.
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { compileFunction } from "node:vm";

import { bench, failure } from "./bench.mjs";

const { roots, desk } = JSON.parse(process.argv[2]);

function path(name) {
  const [root, ...rest] = name.split("/");
  return [roots[root], ...rest].join(sep);
}

const { resolve } = createRequire(`${roots.npm}${sep}_`);

const env = {
  path,
  url: (name) => pathToFileURL(path(name)).href,
  bytes: async (name) => new Uint8Array(await readFile(path(name))),
  library: (name) => import(pathToFileURL(resolve(name)).href).then((found) => found.default ?? found),
  /** LiteRT.js fetches its loader with importScripts, as in a web worker. */
  asWorker: async (action) => {
    globalThis.self = globalThis;
    globalThis.importScripts = (url) => { globalThis.ModuleFactory = commonjs(fileURLToPath(url)); };
    try {
      return await action();
    } finally {
      delete globalThis.self;
      delete globalThis.importScripts;
    }
  },
  progress: (share) => post("progress", share),
};

/** What a CommonJS file exports, whatever the package around it says that it is. */
function commonjs(file) {
  const names = ["require", "module", "exports", "__filename", "__dirname"];
  const module = { exports: {} };
  const body = compileFunction(readFileSync(file, "utf8"), names, { filename: file });
  body(createRequire(file), module, module.exports, file, dirname(file));
  return module.exports;
}

async function post(what, body) {
  await fetch(`${desk}/${what}`, { method: "POST", body: JSON.stringify(body) });
}

try {
  const job = JSON.parse(new TextDecoder().decode(await env.bytes("job/job.json")));
  const { node, v8 } = process.versions;
  await post("result", { ...(await bench(job, env)), engine: `node ${node} (V8 ${v8})` });
} catch (error) {
  console.error(error);
  await post("result", failure(error));
}
process.exit(0); // engines may leave handles open
