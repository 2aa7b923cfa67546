/** The script of every worker: takes part in the protocol of `page/supervision.py`, boots Python and runs its main. */
import { inherit, loadPyodide } from "./boot.mjs";
import { tell } from "./lifecycle.mjs";
import { Tab } from "./tab.mjs";

/** @typedef {{name: string, postMessage: (message: unknown) => void, close: () => void}} Scope */
const scope = /** @type {Scope} */ (/** @type {unknown} */ (self));
const say = (/** @type {string} */ type, detail = {}) => scope.postMessage({ type, ...detail });

/** Ports that came before Python was there to take them. @type {MessagePort[]} */
const early = [];
/** @type {(port: MessagePort) => void} */
let arrived = (port) => early.push(port);
/** @param {(port: MessagePort) => void} take */
function receive(take) {
  arrived = take;
  early.forEach(take);
}

/** What Python is told of its order, filled when that comes. */
const context = { receive };
const tab = new Tab({}, (all, id) => say("KEEP", { id, secret: all[id] }));
/** @type {Promise<import("./boot.mjs").Python>} */
let python;
/** @type {Uint8Array | undefined} */
let interruption;
let started = false;

addEventListener("message", ({ data: { type, ...order } }) => {
  if (type === "PING") {
    interruption?.fill(0); // who gets to this is not stuck
    say("PONG");
  }
  if (type === "PAGE") tell(order.state);
  if (type === "PORT") arrived(order.port);
  if (type === "BOOT") {
    python = boot(order);
    python.catch(fail);
  }
  if (type === "RUN") run(order).catch(fail);
});
// A start that fails is told once, by `fail`: the other downloads that fail with it need no report of their own.
addEventListener("unhandledrejection", (event) => started || event.preventDefault());
addEventListener("asyncmachine:download", (event) => say("DOWNLOAD", /** @type {CustomEvent} */ (event).detail));
addEventListener("asyncmachine:boot", (event) => say("PHASE", /** @type {CustomEvent} */ (event).detail));
say("READY");

/** @param {Omit<import("./boot.mjs").Inherited, "tab"> & {interrupt?: Uint8Array}} given */
async function boot({ settings, parts, interrupt }) {
  inherit({ settings, parts, tab, context });
  const booted = await loadPyodide();
  interruption = interrupt;
  if (interrupt) booted.setInterruptBuffer(interrupt);
  return booted;
}

/**
 * @typedef {{id: string, main: string, env: Record<string, string>}} Order
 * @typedef {{secrets: import("./tab.mjs").Secrets, page: string, port: MessagePort}} Given
 * @param {Order & Given} order
 */
async function run({ id, main, env, secrets, page, port }) {
  scope.name = id; // a spare had none
  tab.secrets = secrets;
  tell(page);
  Object.assign(context, { id, main, env: JSON.stringify(env), port });
  const workers = (await python).pyimport("asyncmachine_web.page.workers");
  const prepared = workers.prepare();
  started = true;
  say("STARTED");
  await prepared();
  say("EXIT", { reason: "returned" });
  scope.close();
}

/** @param {unknown} error what Python raised has its class in `type` */
function fail(error) {
  const { name, type = name, code = type, message } = /** @type {Error & {type?: string, code?: string}} */ (error);
  say("ERROR", { code, message });
  scope.close();
}
