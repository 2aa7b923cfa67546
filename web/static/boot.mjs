/**
 * Starts Pyodide from our own files: bare in a page or worker, and as the `interpreter` of a PyScript configuration.
 *
 * Every phase is told as an `asyncmachine:boot` event on the global object and as a performance mark. A boot that
 * fails or exceeds its time-out gets one more try; then a BootError names the phase and the reason. Whatever is private
 * API of Pyodide, or replaces a global, stands in this file.
 */
import { fork } from "./fork.mjs";
import { follow, visibility } from "./lifecycle.mjs";
import { claim } from "./tab.mjs";

/** The pinned release in `vendor/`; PyScript keys its caches on it. */
export const version = "314.0.7";

/**
 * What a page says in `<script type="application/json" id="asyncmachine">`; a worker gets its parent's.
 * @typedef {object} Settings
 * @property {string[]} [sources] addresses of zip or wheel files with the application's own Python
 * @property {string} [main] `package.module:function` to run, for pages without PyScript
 * @property {Record<string, string>} [env] environment variables of Python
 * @property {number} [timeout] seconds for one try, 60 by default
 *
 * @typedef {"downloading runtime" | "starting Python" | "loading packages" | "ready" | "retrying" | "failed"} Phase
 * @typedef {{phase: Phase, attempt: number, code?: string, message?: string}} Progress
 * @typedef {import("./vendor/pyodide/pyodide.mjs").PyodideAPI} Python
 */

const PACKAGES = ["msgspec", "asyncmachine"];
const ATTEMPTS = 2;
const { fetch } = globalThis;
const { instantiateStreaming } = WebAssembly;
const at = (/** @type {string} */ path) => new URL(path, import.meta.url).href;

/** Why Python is not there: `code` is TIMEOUT, MIME or FAILED, `phase` is where it stopped. */
export class BootError extends Error {
  name = "BootError";
  /**
   * @param {string} code
   * @param {Phase} phase
   * @param {string} reason
   * @param {unknown} [cause]
   */
  constructor(code, phase, reason, cause) {
    super(`Python did not start (${phase}): ${reason}`, { cause });
    this.code = code;
    this.phase = phase;
  }
}

/** @type {Settings | undefined} */
let settings;
/** @type {WebAssembly.Module | undefined} */
let compiled;
/** @type {Promise<import("./tab.mjs").Tab> | undefined} */
let tab;
/** What a worker was started with. @type {object | undefined} */
let context;

/**
 * Takes over what the parent of a worker has already, and the worker's own context.
 * @param {import("./fork.mjs").Inherited & {context: object}} given
 */
export function inherit(given) {
  settings = given.settings;
  compiled = given.module;
  tab = Promise.resolve(given.tab);
  context = given.context;
}

/** @returns {Settings} */
export function currentSettings() {
  if (!settings) {
    /** @type {Settings} */
    const said = JSON.parse(globalThis.document?.getElementById("asyncmachine")?.textContent || "{}");
    settings = { ...said, sources: said.sources?.map((path) => new URL(path, document.baseURI).href) };
  }
  return settings;
}

/**
 * Pyodide's `loadPyodide` with our runtime, packages and the application's sources; takes the same options.
 * @param {import("./vendor/pyodide/pyodide.mjs").PyodideConfig} [options]
 * @returns {Promise<Python>}
 */
export async function loadPyodide(options = {}) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await tryBoot(options, attempt);
    } catch (error) {
      const { code, message } = /** @type {BootError} */ (error);
      announce({ phase: attempt < ATTEMPTS ? "retrying" : "failed", attempt, code, message });
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

/** @param {Progress} progress */
function announce(progress) {
  performance.mark(`asyncmachine:${progress.phase}`);
  globalThis.dispatchEvent(new CustomEvent("asyncmachine:boot", { detail: progress }));
}

/**
 * @param {import("./vendor/pyodide/pyodide.mjs").PyodideConfig} options
 * @param {number} attempt
 * @returns {Promise<Python>}
 */
async function tryBoot(options, attempt) {
  /** @type {Phase} */
  let phase = "downloading runtime";
  let over = false;
  const enter = (/** @type {Phase} */ next) => {
    if (over) return; // an abandoned try that goes on in the background has nothing to say
    phase = next;
    announce({ phase, attempt });
  };
  const seconds = currentSettings().timeout ?? 60;
  /** @type {PromiseWithResolvers<never>} */
  const { promise: stopped, reject: stop } = Promise.withResolvers();
  const late = `no result within ${seconds} s; is the network slow or cut?`;
  const timer = setTimeout(() => stop(new BootError("TIMEOUT", phase, late)), seconds * 1000);
  try {
    return await Promise.race([boot(options, enter, stop), stopped]);
  } catch (error) {
    throw error instanceof BootError ? error : new BootError("FAILED", phase, String(error), error);
  } finally {
    clearTimeout(timer);
    over = true;
  }
}

/**
 * @param {import("./vendor/pyodide/pyodide.mjs").PyodideConfig} options
 * @param {(phase: Phase) => void} enter
 * @param {(error: unknown) => void} stop
 */
async function boot(options, enter, stop) {
  enter("downloading runtime");
  watchRuntime(() => enter("starting Python"), stop);
  tab ??= claim();
  const sources = Promise.all((currentSettings().sources ?? []).map(download));
  const parts = Promise.all([tab, sources, globalThis.document && import("./ui.mjs")]);
  parts.catch(stop);
  const lock = options.lockFileContents ?? get(at("vendor/wheels/pyodide-lock.json")).then((found) => found.json());
  const [pyodide, lockFileContents] = await Promise.all([import("./vendor/pyodide/pyodide.mjs"), lock]);
  const python = await pyodide.loadPyodide({
    ...options,
    packages: [],
    env: { ...currentSettings().env, ...options.env },
    indexURL: at("vendor/pyodide/"), // absolute: PyScript's own workers run from blob: addresses
    lockFileContents,
    packageBaseUrl: at("vendor/wheels/"),
  });
  enter("loading packages");
  await loadPackages(python, [...PACKAGES, ...(options.packages ?? [])]);
  const [mine, archives, ui] = await parts;
  for (const { url, bytes } of archives) python.unpackArchive(bytes, url.endsWith(".whl") ? "wheel" : "zip");
  const inherited = { settings: currentSettings(), module: compiled, tab: mine };
  python.registerJsModule("asyncmachine_js", {
    ui,
    context,
    follow,
    visibility,
    tab: mine,
    base: at("."),
    /** @type {(order: string, tell: import("./fork.mjs").Tell) => import("./fork.mjs").Forked} */
    fork: (order, tell) => fork(JSON.parse(order), inherited, tell),
  });
  enter("ready");
  return python;
}

/**
 * @param {Python} python
 * @param {string[]} names
 */
async function loadPackages(python, names) {
  /** @type {string[]} */
  const errors = [];
  const errorCallback = (/** @type {string} */ error) => errors.push(error);
  await python.loadPackage(names, { messageCallback: () => undefined, errorCallback });
  const missing = names.filter((name) => !(name in python.loadedPackages)).join(", ");
  if (missing) throw new Error(`${missing} could not be loaded: ${errors.join("; ") || "not in the lock"}`);
}

/** @param {string} url */
async function get(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return response;
}

/** @param {string} url */
const download = async (url) => ({ url, bytes: await (await get(url)).arrayBuffer() });

/**
 * Watches the one call by which Pyodide compiles its runtime: keeps the compiled module for workers or uses the one
 * we were given, and reports a failure, which Pyodide only logs before it waits for ever.
 * @param {() => void} compiledNow
 * @param {(error: unknown) => void} stop
 */
function watchRuntime(compiledNow, stop) {
  if (compiled) globalThis.fetch = withoutRuntime;
  WebAssembly.instantiateStreaming = async (source, imports) => {
    WebAssembly.instantiateStreaming = instantiateStreaming; // native packages take the plain way
    globalThis.fetch = fetch;
    try {
      const module = (compiled ??= await compile(await source));
      compiledNow();
      return { module, instance: await WebAssembly.instantiate(module, imports) };
    } catch (error) {
      stop(error);
      throw error;
    }
  };
}

/** @param {Response} response */
async function compile(response) {
  if (!response.ok) throw new Error(`${response.url} answered ${response.status}`);
  const type = response.headers.get("content-type")?.split(";")[0];
  if (type === "application/wasm") return WebAssembly.compileStreaming(response);
  const cure = `the server sends ${response.url} as ${type}, it must be application/wasm`;
  throw new BootError("MIME", "downloading runtime", cure);
}

/**
 * Pyodide asks for its runtime even where it is there already.
 * @type {typeof fetch}
 */
const withoutRuntime = async (url, init) => (String(url).endsWith(".asm.wasm") ? new Response() : fetch(url, init));
