/**
 * Starts Python from our own files: bare in a page or worker, and as the `interpreter` of a PyScript configuration.
 *
 * Every phase is told as an `asyncmachine:boot` event on the global object and as a performance mark. A boot that
 * fails or exceeds its time-out is tried again, with growing pauses; then a BootError names the phase and the reason. A
 * memory snapshot makes it several times faster. There need be none: Python then starts from scratch, and the event says
 * why.
 */
import { hatch } from "./hatch.mjs";
import { discarded, follow, visibility } from "./lifecycle.mjs";
import { NoSnapshot, readHeader } from "./snapshot.mjs";
import { PACKAGES, WrongMediaType, compile, downloadSnapshot, fetchOk, restore, start, version } from "./runtime.mjs";
import { Records } from "./store.mjs";
import { WrongSettings, read } from "./settings.mjs";
import { claim } from "./tab.mjs";

export { version };

/**
 * @typedef {import("./settings.mjs").Settings} Settings
 * @typedef {"downloading runtime" | "starting Python" | "loading packages" | "ready" | "retrying" | "failed"} Phase
 * @typedef {{phase: Phase, attempt: number, snapshot?: string, code?: string, message?: string, again?: boolean}} Progress
 *   `snapshot` is USED, or why it was not; `again`: another try may go better
 * @typedef {import("./runtime.mjs").Python} Python
 * @typedef {import("./runtime.mjs").Options} Options
 * @typedef {{module: WebAssembly.Module, snapshot: import("./runtime.mjs").Bytes | string}} Parts what threads
 *   share; instead of a snapshot there may be the reason why there is none
 * @typedef {{settings: Settings, parts: Parts, tab: import("./tab.mjs").Tab}} Inherited what a worker's Python starts from
 * @typedef {(phase: Phase, snapshot?: string) => void} Enter
 */

/** Milliseconds before each further try: a server that begins anew is back by then. */
const PAUSES = [500, 1000, 2000];
/** Milliseconds that the page's first frame may take at most. */
const FRAME = 1000;
const at = (/** @type {string} */ path) => new URL(path, import.meta.url).href;

/** Why Python is not there: `code` is SETTINGS, TIMEOUT, MIME or FAILED, `phase` is where it stopped. */
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
/** What a worker gets from its parent. @type {Promise<Parts> | undefined} */
let parts;
/** @type {Promise<import("./tab.mjs").Tab> | undefined} */
let tab;
/** What a worker was started with. @type {object | undefined} */
let context;

/**
 * Takes over what the parent of a worker has already, and the worker's own context.
 * @param {Inherited & {context: object}} given
 */
export function inherit(given) {
  settings = given.settings;
  parts = Promise.resolve(given.parts);
  tab = Promise.resolve(given.tab);
  context = given.context;
}

/** @returns {Settings} */
export function currentSettings() {
  if (!settings) {
    const said = read(globalThis.document?.getElementById("asyncmachine")?.textContent?.trim() || "{}");
    settings = { ...said, sources: said.sources?.map((path) => new URL(path, document.baseURI).href) };
  }
  return settings;
}

/**
 * Pyodide's `loadPyodide` with our runtime, packages and the application's sources; takes the same options.
 * @param {Options} [options]
 * @returns {Promise<Python>}
 */
export async function loadPyodide(options = {}) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await tryBoot(options, attempt);
    } catch (error) {
      const { code, message } = /** @type {BootError} */ (error);
      const again = code !== "SETTINGS"; // they will not change
      const pause = again ? PAUSES[attempt - 1] : undefined;
      announce({ phase: pause ? "retrying" : "failed", attempt, code, message, again });
      if (!pause) throw error;
      await new Promise((over) => setTimeout(over, pause));
    }
  }
}

/** @param {Progress} progress */
function announce(progress) {
  performance.mark(`asyncmachine:${progress.phase}`);
  globalThis.dispatchEvent(new CustomEvent("asyncmachine:boot", { detail: progress }));
}

/**
 * @param {Options} options
 * @param {number} attempt
 * @returns {Promise<Python>}
 */
async function tryBoot(options, attempt) {
  /** @type {Phase} */
  let phase = "downloading runtime";
  let over = false;
  /** @type {Enter} */
  const enter = (next, snapshot) => {
    if (over) return; // an abandoned try that goes on in the background has nothing to say
    phase = next;
    announce({ phase, attempt, ...(snapshot && { snapshot }) });
  };
  /** @type {PromiseWithResolvers<never>} */
  const { promise: stopped, reject: stop } = Promise.withResolvers();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  try {
    const seconds = currentSettings().timeout ?? 60;
    const late = `no result within ${seconds} s; is the network slow or cut?`;
    timer = setTimeout(() => stop(new BootError("TIMEOUT", phase, late)), seconds * 1000);
    return await Promise.race([boot(options, enter), stopped]);
  } catch (error) {
    if (error instanceof BootError) throw error;
    if (error instanceof WrongSettings) throw new BootError("SETTINGS", phase, error.message, error);
    throw new BootError(error instanceof WrongMediaType ? "MIME" : "FAILED", phase, String(error), error);
  } finally {
    clearTimeout(timer);
    over = true;
  }
}

/**
 * @param {Options} options
 * @param {Enter} enter
 * @returns {Promise<Python>}
 */
async function boot(options, enter) {
  enter("downloading runtime");
  await drawn();
  tab ??= claim();
  parts ??= getParts();
  parts.catch(() => (parts = undefined)); // to be tried again
  const lock = options.lockFileContents ?? fetchOk(at("vendor/wheels/pyodide-lock.json")).then((found) => found.json());
  const ui = globalThis.document && import("./ui.mjs");
  const sources = Promise.all((currentSettings().sources ?? []).map(download));
  const all = await Promise.all([parts, lock, tab, ui, sources]);
  const [, lockFileContents, mine, surface, archives] = all;
  const env = { ...currentSettings().env, ...options.env };
  const python = await startFrom(all[0], { ...options, env, lockFileContents }, enter);
  enter("loading packages");
  await loadPackages(python, [...PACKAGES, ...(options.packages ?? [])]);
  for (const { url, bytes } of archives) python.unpackArchive(bytes, url.endsWith(".whl") ? "wheel" : "zip");
  const inherited = { settings: currentSettings(), parts: all[0], tab: mine };
  python.registerJsModule("asyncmachine_js", {
    ui: surface,
    context,
    follow,
    visibility,
    discarded,
    records: (/** @type {string} */ id) => new Records(id),
    tab: mine,
    base: at("."),
    /** @type {(name: string, hear: (type: string, json: string) => void) => import("./hatch.mjs").Hatched} */
    hatch: (name, hear) => hatch(name, inherited, hear),
  });
  python.pyimport("asyncmachine_web.page.start").start(JSON.stringify(env));
  enter("ready");
  return python;
}

/**
 * Waits for the frame in which the page's own HTML is drawn, since the runtime would take both cores from it. A hidden
 * page has no frames, and one whose style sheet does not come has to wait no longer than this.
 */
async function drawn() {
  if (globalThis.document?.visibilityState !== "visible") return;
  await new Promise((done) => {
    setTimeout(done, FRAME);
    requestAnimationFrame(() => setTimeout(done));
  });
}

/** @returns {Promise<Parts>} */
async function getParts() {
  const none = (/** @type {NoSnapshot} */ { code }) => code;
  const wanted = currentSettings().snapshot === false ? "OFF" : downloadSnapshot().catch(none);
  const [module, snapshot] = await Promise.all([compile(), wanted]);
  return { module, snapshot };
}

/**
 * Silently without the snapshot when it is of no use.
 * @param {Parts} parts
 * @param {Options} options
 * @param {Enter} enter
 */
async function startFrom(parts, options, enter) {
  const { module, snapshot } = parts;
  try {
    if (typeof snapshot === "string") throw new NoSnapshot(snapshot);
    const { runtime, wheels } = readHeader(snapshot);
    if (runtime !== version || wheels.join() !== PACKAGES.map(fileIn(options)).join()) throw new NoSnapshot("STALE");
    enter("starting Python", "USED");
    return await restore(options, module, snapshot);
  } catch (error) {
    parts.snapshot = error instanceof NoSnapshot ? error.code : "UNFIT";
    enter("starting Python", parts.snapshot);
    return start(options, module);
  }
}

/**
 * @param {Options} options
 * @returns {(name: string) => string} file name of a package
 */
function fileIn({ lockFileContents: lock }) {
  const { packages } = typeof lock === "string" ? JSON.parse(lock) : lock;
  return (name) => packages[name]?.file_name;
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
const download = async (url) => ({ url, bytes: await (await fetchOk(url)).arrayBuffer() });
