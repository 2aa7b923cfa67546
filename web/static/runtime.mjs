/**
 * Starts Pyodide from parts that several threads can share: the compiled runtime and a memory snapshot. Whatever is
 * private API of Pyodide, or replaces a global, stands in this file; `build/snapshot.mjs` uses it under node.
 */
import { NoSnapshot, begin, check, filesIn, fill, readHeader } from "./snapshot.mjs";

/** What every Python of ours has. */
export const PACKAGES = ["asyncmachine", "msgspec"];

/** The pinned release in `vendor/`. */
export const version = "314.0.7";

/**
 * @typedef {import("./vendor/pyodide/pyodide.mjs").PyodideAPI} Python
 * @typedef {import("./vendor/pyodide/pyodide.mjs").PyodideConfig} Options
 * @typedef {import("./snapshot.mjs").Facts & import("./snapshot.mjs").Layout} Header
 * @typedef {Uint8Array<ArrayBuffer>} Bytes
 */

const { fetch } = globalThis;
const { instantiateStreaming } = WebAssembly;
const at = (/** @type {string} */ path) => new URL(`vendor/${path}`, import.meta.url).href;
const LOADER = at("pyodide/pyodide.mjs");
const ASSEMBLY = at("pyodide/pyodide.asm.mjs");
const RUNTIME = at("pyodide/pyodide.asm.wasm");
const LIBRARY = at("pyodide/python_stdlib.zip");
const SITE = "/lib/python3.14/site-packages";

/** The server sends the runtime as something that no browser compiles. */
export class WrongMediaType extends Error {
  name = "WrongMediaType";
}

/** @param {string} url */
export async function fetchOk(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return response;
}

let failures = 0;

/** Firefox remembers that an import has failed: the next is of another address. @param {string} url */
async function load(url) {
  try {
    return await import(failures ? `${url}#${failures}` : url);
  } catch (error) {
    failures++;
    throw error;
  }
}

/** Makes the runtime's module. @param {any} settings Emscripten's */
const create = async (settings) => (await load(ASSEMBLY)).default(settings);

/** Downloads and compiles the runtime. */
export async function compile() {
  // They are imported later, where a failure is told; by then they are there.
  for (const later of [LOADER, ASSEMBLY]) load(later).catch(() => undefined);
  const response = await fetchOk(RUNTIME);
  const type = response.headers.get("content-type")?.split(";")[0];
  if (type === "application/wasm") return WebAssembly.compileStreaming(response);
  throw new WrongMediaType(`the server sends ${response.url} as ${type}, it must be application/wasm`);
}

/** Downloads and checks the snapshot. Raises NoSnapshot. */
export async function downloadSnapshot() {
  const response = await fetch(at("snapshot/python.snapshot")).catch(() => undefined);
  if (!response?.ok) throw new NoSnapshot("MISSING");
  const bytes = await response.bytes().catch(() => new Uint8Array());
  await check(bytes);
  return bytes;
}

/**
 * Raises whatever Pyodide raises when the snapshot does not fit.
 * @param {Options} options
 * @param {WebAssembly.Module} module
 * @param {Bytes} snapshot checked before
 */
export async function restore(options, module, snapshot) {
  const header = readHeader(snapshot);
  const memory = begin(snapshot, header);
  const createPyodideModule = async (/** @type {any} */ settings) => {
    const made = await create(settings);
    // How Python calls C functions was found out just now, for this browser. Node's way cannot be suspended, and is slow.
    const { HEAP32, __PyRuntime, __PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET: offset } = made;
    const trampoline = __PyRuntime + HEAP32[offset / 4];
    new DataView(memory.buffer).setInt32(header.preface + trampoline, HEAP32[trampoline / 4], true);
    return made;
  };
  const own = { _loadSnapshot: memory, createPyodideModule };
  const python = await start({ ...options, ...own }, module, [LIBRARY], (made) => {
    fill(memory, snapshot, header, new Uint8Array(made.buffer));
    const lacking = header.size - made.buffer.byteLength;
    if (lacking > 0) made.grow(Math.ceil(lacking / 65536));
  });
  header.archives.forEach((archive) => onDemand(python, archive));
  await install(python, filesIn(snapshot, header));
  PACKAGES.forEach((name) => (python.loadedPackages[name] = "default channel")); // or they would be installed once more
  return python;
}

/** What stands for a runtime that is compiled already, and how it begins. @type {WeakMap<Response, Begin>} */
const compiled = new WeakMap();
/** @typedef {(imports: WebAssembly.Imports) => Promise<WebAssembly.WebAssemblyInstantiatedSource>} Begin */

/**
 * Runs Pyodide's loader. It finds the runtime compiled already, and each of the files `needless` empty.
 * @param {Options} options
 * @param {WebAssembly.Module} module
 * @param {string[]} [needless]
 * @param {(memory: WebAssembly.Memory) => void} [made] called with the memory before anything has run in it
 * @returns {Promise<Python>}
 */
export async function start(options, module, needless = [], made) {
  /** @type {typeof import("./vendor/pyodide/pyodide.mjs")} */
  const { loadPyodide } = await load(LOADER);
  const runtime = new Response();
  /** @type {PromiseWithResolvers<never>} */
  const { promise: failed, reject: fail } = Promise.withResolvers();
  compiled.set(runtime, async (imports) => {
    try {
      const instance = await WebAssembly.instantiate(module, imports);
      made?.(/** @type {WebAssembly.Memory} */ (instance.exports["memory"]));
      return { module, instance };
    } catch (error) {
      fail(error); // Pyodide only logs it, and waits for ever
      throw error;
    }
  });
  /** @type {typeof fetch} */
  const standIn = async (input, init) => {
    const url = String(input);
    if (url === RUNTIME) return runtime;
    return needless.includes(url) ? new Response() : fetch(input, init);
  };
  globalThis.fetch = standIn;
  WebAssembly.instantiateStreaming = async (source, imports = {}) => {
    const response = await source;
    const begin = compiled.get(response);
    return begin ? begin(imports) : instantiateStreaming(response, imports); // the latter: a native package
  };
  // Absolute addresses: PyScript's own workers run from blob: ones.
  const ours = { packages: [], indexURL: at("pyodide/"), packageBaseUrl: at("wheels/") };
  const all = /** @type {Options} */ ({ createPyodideModule: create, ...options, ...ours });
  try {
    return await Promise.race([loadPyodide(all), failed]);
  } finally {
    if (globalThis.fetch === standIn) { // no other start has begun meanwhile
      globalThis.fetch = fetch;
      WebAssembly.instantiateStreaming = instantiateStreaming;
    }
  }
}

/**
 * As `loadPackage` would, without a download, and without Python: it unpacks slowly while the browser still compiles it.
 * @param {Python} python
 * @param {[path: string, contents: Bytes][]} files
 */
async function install(python, files) {
  const { FS, _api } = /** @type {any} */ (python);
  for (const [path, contents] of files) {
    FS.mkdirTree(path.slice(0, path.lastIndexOf("/")));
    FS.writeFile(path, contents);
    if (path.endsWith(".so")) await _api.loadDynlib(path);
  }
}

/**
 * What a snapshot does not have in memory is imported from an archive, which is downloaded when it is first read.
 * @param {Python} python
 * @param {import("./snapshot.mjs").Archive} archive
 */
function onDemand({ FS }, { path, url, size }) {
  FS.writeFile(path, "");
  const { node } = FS.lookupPath(path, {});
  /** @type {Uint8Array | undefined} */
  let contents;
  const get = () => {
    if (!contents) {
      tell({ over: false });
      contents = downloadNow(at(url));
      tell({ over: true });
    }
    if (contents?.length === size) return contents;
    throw new FS.ErrnoError(EIO);
  };
  node.usedBytes = size;
  Object.defineProperty(node, "contents", { get });
}

const EIO = 29;

/** Nothing else runs in this thread meanwhile. @param {{over: boolean}} detail */
const tell = (detail) => globalThis.dispatchEvent(new CustomEvent("asyncmachine:download", { detail }));

/**
 * An import cannot wait.
 * @param {string} url
 */
function downloadNow(url) {
  const request = new XMLHttpRequest();
  request.open("GET", url, false);
  // A page may not ask for bytes here, but for text in which each character is a byte.
  request.overrideMimeType("text/plain; charset=x-user-defined");
  try {
    request.send();
  } catch {
    return undefined;
  }
  const text = request.status === 200 ? request.responseText : "";
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/**
 * Makes a Python that has the modules of `wheel` in memory, and the code of those of native packages. To be called under
 * node.
 * @param {string} lock text of the lock file
 * @param {{name: string, bytes: Bytes}} wheel
 * @param {Bytes[]} natives their wheels
 * @returns {Promise<{path: string, preface: Uint8Array, memory: Uint8Array, made: Uint8Array, files: [string, Bytes][]}>}
 *   where the wheel is to be found, and what `build/snapshot.py` packs
 */
export async function capture(lock, wheel, natives) {
  const { instantiate } = WebAssembly;
  // Whether it can be suspended is part of the memory, and asked anew in the browser. Node may be too old to do it.
  if (!("Suspending" in WebAssembly)) Object.assign(WebAssembly, { Suspending: Object, promising: Object });
  let made = new Uint8Array();
  WebAssembly.instantiate = async (/** @type {any} */ bytes, /** @type {any} */ imports) => {
    const done = /** @type {any} */ (await instantiate(bytes, imports));
    made = new Uint8Array(done.instance.exports.memory.buffer).slice();
    return done;
  };
  const { loadPyodide } = await import("./vendor/pyodide/pyodide.mjs");
  const options = { _makeSnapshot: true, lockFileContents: lock };
  const python = /** @type {any} */ (await loadPyodide(options));
  WebAssembly.instantiate = instantiate;
  const path = `${SITE}/${wheel.name}`;
  natives.forEach((native) => python.unpackArchive(native, "wheel", { extractDir: SITE }));
  const files = filesBelow(python.FS, SITE);
  python.FS.writeFile(path, wheel.bytes);
  python.pyimport("sys").path.append(path);
  python.pyimport("asyncmachine_web.page.preload").preload(path);
  wipe(python._module);
  const whole = python.makeMemorySnapshot();
  const preface = whole.length - python._module.HEAPU8.length;
  return { path, preface: whole.subarray(0, preface), memory: whole.subarray(preface), made, files };
}

/**
 * Fills what is free with zeros, in place of what was there: a fifth less to download.
 * @param {any} module Emscripten's
 */
function wipe({ _malloc, _free, HEAPU8 }) {
  const taken = [];
  const { grow } = WebAssembly.Memory.prototype;
  WebAssembly.Memory.prototype.grow = () => {
    throw new RangeError("only what is there already");
  };
  for (let size = 1 << 22; size >= 8; size -= size > 512 ? size >> 2 : 8) {
    for (let at = _malloc(size); at; at = _malloc(size)) {
      HEAPU8.fill(0, at, at + size);
      taken.push(at);
    }
  }
  WebAssembly.Memory.prototype.grow = grow;
  taken.forEach(_free);
}

/**
 * @param {any} FS Emscripten's
 * @param {string} folder
 * @returns {[path: string, contents: Bytes][]}
 */
function filesBelow(FS, folder) {
  const names = FS.readdir(folder).filter((/** @type {string} */ name) => !name.startsWith("."));
  const paths = names.map((/** @type {string} */ name) => `${folder}/${name}`);
  return paths.flatMap((/** @type {string} */ path) =>
    FS.isDir(FS.stat(path).mode) ? filesBelow(FS, path) : [[path, FS.readFile(path)]],
  );
}
