/**
 * Workers that nobody has given an order yet, with a Python that has started: so the next one that is forked runs at once.
 *
 * A worker that dies tells nobody, so spares are looked at now and then. That costs a message each way per spare and
 * look, and nothing else; one that has not answered two looks, or has told of an error, is terminated and replaced. One
 * that dies between two looks is found out when it is taken (`fork.mjs`).
 */

/**
 * @typedef {import("./fork.mjs").Inherited} Inherited
 * @typedef {(type: string, detail: object) => void} Hear
 * @typedef {{worker: Worker, interrupt?: Uint8Array, said: Parameters<Hear>[], hear: Hear, silent: number, warm: boolean}}
 *   Hatchling `said` is what it told before somebody took it, `silent` how many looks it has not answered, `warm` whether
 *   its Python has started
 */

/** Milliseconds between two looks. */
const LOOK = 5_000;
/** Milliseconds until a failed spare is replaced: none after the first failure, then doubled from this one on. */
const RETRY = 500;
const LONGEST_RETRY = 60_000;
/** Milliseconds that a spare is kept after an order was last expected. */
const EXPECTING = 5_000;

/** @type {Set<Hatchling>} */
const spares = new Set();
let wanted = 0;
/** Since one has started. */
let failures = 0;
/** @type {ReturnType<typeof setInterval> | undefined} */
let looking;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let expecting;

/**
 * Keeps so many ready.
 * @param {number} count
 * @param {Inherited} inherited
 */
export function keep(count, inherited) {
  wanted = count;
  for (const one of [...spares].slice(count)) drop(one);
  refill(inherited);
  if (wanted) looking ??= setInterval(look, LOOK, inherited);
  else looking = void clearInterval(looking);
}

/** As many as are wanted, after one was taken. @param {Inherited} inherited */
export function refill(inherited) {
  while (spares.size < wanted) brood(inherited);
}

/**
 * Has one for an order that may come soon: a worker seems to be stuck. Called as long as it does.
 * @param {Inherited} inherited
 * @param {boolean} first one that fails meanwhile is not replaced
 */
export function expect(inherited, first) {
  if (first && !spares.size) brood(inherited);
  clearTimeout(expecting);
  expecting = setTimeout(() => keep(wanted, inherited), EXPECTING);
}

/** One to be given an order, if there is any. @returns {Hatchling | undefined} */
export function take() {
  const [one] = spares;
  if (one) spares.delete(one);
  return one;
}

/** @param {Inherited} inherited */
function brood(inherited) {
  const one = hatch(`spare ${spares.size}`, inherited);
  spares.add(one);
  one.hear = (type, detail) => {
    one.silent = 0;
    if (type === "ERROR") replace(one, inherited);
    else if (type !== "PONG") one.said.push([type, detail]);
    if (one.warm) failures = 0;
  };
}

/** @param {Inherited} inherited */
function look(inherited) {
  for (const one of spares) {
    if (one.silent === 2) replace(one, inherited);
    else one.worker.postMessage({ type: "PING" });
    one.silent += 1;
  }
}

/**
 * @param {Hatchling} one
 * @param {Inherited} inherited
 */
function replace(one, inherited) {
  drop(one);
  const wait = failures && Math.min(RETRY * 2 ** failures, LONGEST_RETRY);
  failures += 1;
  setTimeout(refill, wait, inherited);
}

/** @param {Hatchling} one */
function drop(one) {
  spares.delete(one);
  end(one);
}

/** Ends it, wherever it is; nothing is heard of it any more. @param {Hatchling} one */
export function end({ worker }) {
  worker.onmessage = worker.onerror = worker.onmessageerror = null;
  worker.terminate();
}

/**
 * A worker whose Python is about to start.
 * @param {string} name
 * @param {Inherited} inherited
 * @returns {Hatchling}
 */
export function hatch(name, { settings, parts }) {
  const worker = new Worker(new URL("./worker.mjs", import.meta.url), { type: "module", name });
  const interrupt = globalThis.crossOriginIsolated ? new Uint8Array(new SharedArrayBuffer(1)) : undefined;
  /** @type {Hatchling} */
  const one = { worker, ...(interrupt && { interrupt }), said: [], hear: () => undefined, silent: 0, warm: false };
  const crash = (/** @type {string} */ message) => one.hear("ERROR", { code: "CRASH", message });
  worker.onmessage = ({ data: { type, ...detail } }) => {
    if (type === "READY") worker.postMessage({ type: "BOOT", settings, parts, interrupt });
    if (detail.phase === "ready") one.warm = true;
    one.hear(type, detail);
  };
  worker.onerror = (event) => {
    event.preventDefault(); // it is reported as an error state; the console needs no second report
    crash(event.message ?? "the worker's script could not be loaded");
  };
  worker.onmessageerror = () => crash("a message could not be decoded");
  return one;
}
