/**
 * Makes workers: the part of `page/threads.py` that Python cannot do, since it has neither this thread's compiled runtime
 * nor its snapshot. The protocol stands in `page/supervision.py`.
 */
import { follow } from "./lifecycle.mjs";

/** @typedef {{worker: Worker, interrupt: Uint8Array | undefined, end: () => void}} Hatched */

/** @type {Set<Worker>} */
const living = new Set();
follow((state) => living.forEach((worker) => worker.postMessage({ type: "PAGE", state })));

/**
 * A worker whose Python is about to start.
 * @param {string} name
 * @param {import("./boot.mjs").Inherited} inherited
 * @param {(type: string, json: string) => void} hear called with what it tells, and with ERROR when it crashes
 * @returns {Hatched} nothing is heard of it after `end`
 */
export function hatch(name, { settings, parts }, hear) {
  const worker = new Worker(new URL("./worker.mjs", import.meta.url), { type: "module", name });
  const interrupt = globalThis.crossOriginIsolated ? new Uint8Array(new SharedArrayBuffer(1)) : undefined;
  const crash = (/** @type {string} */ message) => hear("ERROR", JSON.stringify({ code: "CRASH", message }));
  worker.onmessage = ({ data: { type, ...detail } }) => {
    if (type === "READY") worker.postMessage({ type: "BOOT", settings, parts, interrupt });
    hear(type, JSON.stringify(detail));
  };
  worker.onerror = (event) => {
    event.preventDefault(); // it is reported as an error state; the console needs no second report
    crash(event.message ?? "the worker's script could not be loaded");
  };
  worker.onmessageerror = () => crash("a message could not be decoded");
  living.add(worker);
  const end = () => {
    living.delete(worker);
    worker.onmessage = worker.onerror = worker.onmessageerror = null;
    worker.terminate();
  };
  return { worker, interrupt, end };
}
