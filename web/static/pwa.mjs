/**
 * Makes a built page installable: registers its service worker once Python is there, and offers new releases.
 *
 * `[data-update]` is shown while a new release waits; a click inside of it makes every open page change over and reload.
 * `[data-offline]` is shown once the page would start without a network. A page whose service worker cannot be had works
 * all the same, with the network.
 */
import { read, write } from "./tab.mjs";

const container = navigator.serviceWorker;
/** The folder that this release is in. */
const OWN = import.meta.url.split("/").at(-2);
/** Milliseconds after which a change to a new release has not merely taken its time. */
const FORGOTTEN = 2000;
const HOUR = 3_600_000;
/** How long somebody has stayed when what no start needs is kept too: the rest of the library. */
const STAYS = 30_000;
/** How often in a row a page reloads itself: for ever would help nobody. */
const RELOADS = 3;
/** For a release that somebody agreed to, and for one that controls the page already. */
const agreed = counted("agreed");
const behind = counted("behind");

/**
 * Counts reloads for one reason.
 * @param {string} reason
 */
function counted(reason) {
  const key = `asyncmachine.${reason}`;
  const made = Number(read(key));
  write(key, "");
  return {
    made,
    again() {
      if (made === RELOADS) return;
      write(key, String(made + 1));
      location.reload();
    },
  };
}

/** @param {string} name */
function show(name) {
  for (const element of document.querySelectorAll(`[data-${name}]`)) element.removeAttribute("hidden");
}

/** @param {ServiceWorker} worker */
function offer(worker) {
  show("update");
  document.addEventListener("click", ({ target }) => {
    if (target instanceof Element && target.closest("[data-update]")) changeOver(worker);
  });
  if (agreed.made) changeOver(worker);
}

/**
 * A request to the old release in the very moment of the change makes Chromium forget the change, until a page is loaded:
 * so this one is.
 * @param {ServiceWorker} worker
 */
function changeOver(worker) {
  worker.postMessage({ type: "TAKE_OVER" });
  setTimeout(() => worker.state === "installed" && agreed.again(), FORGOTTEN);
}

/** @param {ServiceWorkerRegistration} registration */
function follow(registration) {
  const { waiting, installing } = registration;
  // The first release has nobody to take over from.
  if (waiting && registration.active) offer(waiting);
  installing?.addEventListener("statechange", () => follow(registration), { once: true });
}

/**
 * Reloads a page whose release is not the controller's: another page has changed over, or this one came by the network.
 * Which it is, is asked and not concluded from events: a page may have missed some while it was loading.
 */
function agree() {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = ({ data: release }) => release === OWN || behind.again();
  container.controller?.postMessage({ type: "RELEASE" }, [port2]);
}

/**
 * Until a release is kept. Where the first one cannot be installed, as for want of room, `ready` would never settle.
 * @param {ServiceWorkerRegistration} registration
 */
const kept = ({ active, installing }) =>
  new Promise((done, failed) => {
    container.ready.then(done);
    const gone = () => installing?.state === "redundant" && failed("it could not be installed; is there room for it?");
    if (!active) installing?.addEventListener("statechange", gone);
  });

async function register() {
  const registration = await container.register(new URL("sw.mjs", document.baseURI), { updateViaCache: "none" });
  registration.addEventListener("updatefound", () => follow(registration));
  follow(registration);
  await kept(registration);
  const loaded = performance.getEntriesByType("resource").map(({ name }) => name);
  registration.active?.postMessage({ type: "LOADED", loaded });
  show("offline");
  setTimeout(() => registration.active?.postMessage({ type: "REST" }), STAYS);
  // A page that stays open for days learns of new releases when it is looked at, or on a wall after an hour.
  const look = () => document.hidden || registration.update().catch(() => undefined);
  document.addEventListener("visibilitychange", look);
  setInterval(look, HOUR);
}

if (container) {
  container.addEventListener("controllerchange", agree);
  agree();
}

addEventListener("asyncmachine:boot", (event) => {
  const { phase } = /** @type {CustomEvent} */ (event).detail;
  // A kept release whose Python does not start must not keep a better one away.
  const wanted = phase === "ready" || (phase === "failed" && container?.controller);
  if (wanted && container) register().catch((error) => console.info(`not available offline: ${error}`));
});
