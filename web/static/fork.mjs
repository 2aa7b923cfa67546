/**
 * Starts a worker with a Python of its own, joined to this thread by a MessagePort.
 *
 *   worker → parent   READY                       its script runs
 *   parent → worker   BOOT {settings, parts, …}   what this thread's Python was started from
 *   worker → parent   PHASE {phase}*              Python boots; a spare waits here
 *   parent → worker   RUN {id, main, env, …}      a port goes along
 *   worker → parent   STARTED                     main runs
 *   worker → parent   EXIT | ERROR {message}      main returned | something failed
 *   worker → parent   KEEP {id, secret}           a resume secret, for the tab to keep
 *   parent → worker   PORT                        another port, after the first was closed
 *   parent → worker   PAGE {state}                what happens to the page (lifecycle.mjs)
 *
 * PING and PONG go over the same pair, since neither a crash nor an endless loop closes a port. A worker that keeps
 * silent for longer than its patience is stuck: where pages are isolated an error is raised in what it does, and if that
 * does not help, or cannot be, it is dead.
 */
import { follow, visibility } from "./lifecycle.mjs";

/**
 * @typedef {{id: string, main: string, env: Record<string, string>, patience: number}} Order patience in seconds
 * @typedef {import("./boot.mjs").Settings} Settings
 * @typedef {import("./boot.mjs").Parts} Parts
 * @typedef {{settings: Settings, parts: Parts, tab: import("./tab.mjs").Tab}} Inherited
 * @typedef {(type: string, json: string) => void} Tell
 * @typedef {(type: string, detail: object) => void} Hear
 * @typedef {{worker: Worker, interrupt?: Uint8Array, said: Parameters<Hear>[], hear: Hear}} Hatchling
 * @typedef {{port: MessagePort, connect: () => MessagePort, terminate: () => void}} Forked
 */

const BEAT = 500;
/** Beats until the first answer: importing an application may take its time. */
const SETTLING = 20;
const SIGINT = 2;

/** @type {Set<Worker>} */
const living = new Set();
follow((state) => living.forEach((worker) => worker.postMessage({ type: "PAGE", state })));

/** Workers without an order, whose Python has started or is about to. @type {Set<Hatchling>} */
const spares = new Set();
let wanted = 0;

/**
 * Keeps so many workers ready for the next forks.
 * @param {number} count
 * @param {Inherited} inherited
 */
export function spare(count, inherited) {
  wanted = count;
  for (const { worker } of [...spares].slice(count)) worker.terminate();
  [...spares].slice(count).forEach((one) => spares.delete(one));
  while (spares.size < wanted) {
    const one = hatch(`spare ${spares.size}`, inherited);
    spares.add(one);
    one.hear = (type, detail) => (type === "ERROR" ? spares.delete(one) : one.said.push([type, detail]));
  }
}

/**
 * @param {string} name
 * @param {Inherited} inherited
 * @returns {Hatchling}
 */
function hatch(name, { settings, parts }) {
  const worker = new Worker(new URL("./worker.mjs", import.meta.url), { type: "module", name });
  const interrupt = globalThis.crossOriginIsolated ? new Uint8Array(new SharedArrayBuffer(1)) : undefined;
  /** @type {Hatchling} */
  const hatchling = { worker, ...(interrupt && { interrupt }), said: [], hear: () => undefined };
  const crash = (/** @type {string} */ message) => hatchling.hear("ERROR", { code: "CRASH", message });
  worker.onmessage = ({ data: { type, ...detail } }) => {
    if (type === "READY") worker.postMessage({ type: "BOOT", settings, parts, interrupt });
    hatchling.hear(type, detail);
  };
  worker.onerror = (event) => {
    event.preventDefault(); // it is reported as an error state; the console needs no second report
    crash(event.message ?? "the worker's script could not be loaded");
  };
  worker.onmessageerror = () => crash("a message could not be decoded");
  return hatchling;
}

/**
 * @param {Order} order
 * @param {Inherited} inherited
 * @param {Tell} tell called with READY, PHASE, STARTED, and once with EXIT or ERROR, after which nothing follows
 * @returns {Forked}
 */
export function fork(order, inherited, tell) {
  const [one = hatch(order.id, inherited)] = spares;
  spares.delete(one);
  const { worker, interrupt, said } = one;
  const { port1, port2 } = new MessageChannel();
  living.add(worker);
  let silent = 0;
  let limit = SETTLING;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let heart;

  const beat = () => {
    // Beats are counted, not seconds: after a freeze of this thread many seconds are one beat.
    silent += 1;
    if (silent < limit || (silent === limit && !interrupt)) return worker.postMessage({ type: "PING" });
    if (silent === limit && interrupt) return void (interrupt[0] = SIGINT);
    // Once Python has taken it, what was raised needs its time to get here. Who swallows it has one more patience.
    if (interrupt && silent <= (interrupt[0] ? limit + 1 : 2 * limit)) return;
    end("ERROR", stuck((limit * BEAT) / 1000));
  };
  const end = (/** @type {string} */ type, /** @type {object} */ detail) => {
    clearInterval(heart);
    worker.onmessage = worker.onerror = worker.onmessageerror = null;
    worker.terminate();
    living.delete(worker);
    tell(type, JSON.stringify(detail));
  };

  one.hear = (type, detail) => {
    silent = 0;
    if (type === "PONG") {
      limit = Math.ceil((order.patience * 1000) / BEAT);
      if (interrupt) interrupt[0] = 0; // it came to itself
    } else if (type === "KEEP") {
      const { id, secret } = /** @type {{id: string, secret: string}} */ (detail);
      inherited.tab.keep(id, secret);
    } else if (type === "EXIT" || type === "ERROR") {
      end(type, detail);
    } else {
      if (type === "READY") {
        const given = { ...order, secrets: inherited.tab.secrets, page: visibility(), port: port2 };
        worker.postMessage({ type: "RUN", ...given }, [port2]);
      }
      if (type === "STARTED") {
        beat();
        heart = setInterval(beat, BEAT);
        spare(wanted, inherited);
      }
      tell(type, JSON.stringify(detail));
    }
  };
  // Not before the caller has what is returned.
  queueMicrotask(() => said.forEach(([type, detail]) => one.hear(type, detail)));

  return {
    port: port1,
    connect() {
      const { port1: here, port2: there } = new MessageChannel();
      worker.postMessage({ type: "PORT", port: there }, [there]);
      return here;
    },
    terminate: () => end("EXIT", { reason: "terminated" }),
  };
}

/** @param {number} seconds */
const stuck = (seconds) => ({ code: "SILENT", message: `no sign of life for ${seconds} s` });
