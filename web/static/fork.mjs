/**
 * Starts a worker with a Python of its own, joined to this thread by a MessagePort.
 *
 *   worker → parent   READY                       its script runs
 *   parent → worker   CONNECT {id, main, env, …}  a port and the compiled runtime go along
 *   worker → parent   PHASE {phase}*              Python boots
 *   worker → parent   STARTED                     main runs
 *   worker → parent   EXIT | ERROR {message}      main returned | something failed
 *   worker → parent   KEEP {id, secret}           a resume secret, for the tab to keep
 *   parent → worker   PORT                        another port, after the first was closed
 *   parent → worker   PAGE {state}                what happens to the page (lifecycle.mjs)
 *
 * PING and PONG go over the same pair: a worker that runs and keeps silent for 10 s is dead, since neither a crash nor
 * an endless loop closes a port.
 */
import { follow, visibility } from "./lifecycle.mjs";

/**
 * @typedef {{id: string, main: string, env: Record<string, string>}} Order
 * @typedef {import("./boot.mjs").Settings} Settings
 * @typedef {import("./boot.mjs").Parts} Parts
 * @typedef {{settings: Settings, parts: Parts, tab: import("./tab.mjs").Tab}} Inherited
 * @typedef {(type: string, json: string) => void} Tell
 * @typedef {{port: MessagePort, connect: () => MessagePort, terminate: () => void}} Forked
 */

const BEAT = 2_500;
const SILENT_BEATS = 4;
const SILENT = { code: "SILENT", message: `no sign of life for ${(BEAT * SILENT_BEATS) / 1000} s` };

/** @type {Set<Worker>} */
const living = new Set();
follow((state) => living.forEach((worker) => worker.postMessage({ type: "PAGE", state })));

/**
 * @param {Order} order
 * @param {Inherited} inherited
 * @param {Tell} tell called with READY, PHASE, STARTED, and once with EXIT or ERROR, after which nothing follows
 * @returns {Forked}
 */
export function fork(order, { tab, ...inherited }, tell) {
  const worker = new Worker(new URL("./worker.mjs", import.meta.url), { type: "module", name: order.id });
  const { port1, port2 } = new MessageChannel();
  living.add(worker);
  let silent = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let heart;

  const beat = () => {
    // Beats are counted, not seconds: after a freeze of this thread many seconds are one beat.
    if (silent++ >= SILENT_BEATS) end("ERROR", SILENT);
    else worker.postMessage({ type: "PING" });
  };
  const end = (/** @type {string} */ type, /** @type {object} */ detail) => {
    clearInterval(heart);
    worker.onmessage = worker.onerror = worker.onmessageerror = null;
    worker.terminate();
    living.delete(worker);
    tell(type, JSON.stringify(detail));
  };

  worker.onmessage = ({ data }) => {
    const { type, ...detail } = data;
    silent = 0;
    if (type === "PONG") return;
    if (type === "KEEP") return tab.keep(detail.id, detail.secret);
    if (type === "READY") {
      const given = { ...order, ...inherited, secrets: tab.secrets, page: visibility(), port: port2 };
      worker.postMessage({ type: "CONNECT", ...given }, [port2]);
    }
    if (type === "STARTED") heart = setInterval(beat, BEAT);
    if (type === "EXIT" || type === "ERROR") end(type, detail);
    else tell(type, JSON.stringify(detail));
  };
  worker.onerror = (event) => {
    event.preventDefault(); // it is reported as an error state; the console needs no second report
    end("ERROR", { code: "CRASH", message: event.message ?? "the worker's script could not be loaded" });
  };
  worker.onmessageerror = () => end("ERROR", { code: "CRASH", message: "a message could not be decoded" });

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
