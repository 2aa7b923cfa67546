/** The script of every worker: takes part in the start protocol of `fork.mjs`, boots Python and runs its main. */
import { inherit, loadPyodide } from "./boot.mjs";
import { tell } from "./lifecycle.mjs";
import { Tab } from "./tab.mjs";

/** @typedef {{postMessage: (message: unknown) => void, close: () => void}} Scope */
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

addEventListener("message", ({ data: { type, ...order } }) => {
  if (type === "PING") say("PONG");
  if (type === "PAGE") tell(order.state);
  if (type === "PORT") arrived(order.port);
  if (type === "CONNECT") run(order);
});
addEventListener("asyncmachine:boot", (event) => say("PHASE", /** @type {CustomEvent} */ (event).detail));
say("READY");

/**
 * @typedef {import("./fork.mjs").Order & import("./fork.mjs").Inherited} Given
 * @param {Given & {secrets: import("./tab.mjs").Secrets, page: string, port: MessagePort}} given
 */
async function run({ id, main, env, settings, parts, secrets, page, port }) {
  const tab = new Tab(secrets, (all, kept) => say("KEEP", { id: kept, secret: all[kept] }));
  try {
    tell(page);
    inherit({ settings, parts, tab, context: { id, main, env: JSON.stringify(env), port, receive } });
    const python = await loadPyodide({ env });
    say("STARTED");
    await python.pyimport("asyncmachine_web.page.workers").run();
    say("EXIT", { reason: "returned" });
  } catch (error) {
    // What Python raised has its class in `type`.
    const { name, type = name, code = type, message } = /** @type {Error & {type?: string, code?: string}} */ (error);
    say("ERROR", { code, message });
  } finally {
    scope.close();
  }
}
