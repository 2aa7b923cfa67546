/**
 * Makes a built page installable: registers its service worker once Python is there, and offers new releases.
 *
 * `[data-update]` is shown while a new release waits; a click inside of it makes every open page change over and reload.
 * `[data-offline]` is shown once the page would start without a network. A page whose service worker cannot be had works
 * all the same, with the network.
 */
const container = navigator.serviceWorker;

/** @param {string} name */
function show(name) {
  for (const element of document.querySelectorAll(`[data-${name}]`)) element.removeAttribute("hidden");
}

/** @param {ServiceWorker} worker */
function offer(worker) {
  show("update");
  document.addEventListener("click", ({ target }) => {
    if (target instanceof Element && target.closest("[data-update]")) worker.postMessage({ type: "TAKE_OVER" });
  });
}

/** @param {ServiceWorkerRegistration} registration */
function follow(registration) {
  const { waiting, installing } = registration;
  // The first release has nobody to take over from.
  if (waiting && registration.active) offer(waiting);
  installing?.addEventListener("statechange", () => follow(registration), { once: true });
}

export async function register() {
  let controlled = Boolean(container.controller);
  container.addEventListener("controllerchange", () => {
    if (controlled) location.reload();
    controlled = true; // the first release takes over a page that came from the network, of the same release
  });
  const registration = await container.register(new URL("sw.mjs", document.baseURI), { updateViaCache: "none" });
  registration.addEventListener("updatefound", () => follow(registration));
  follow(registration);
  await container.ready;
  show("offline");
  // A page that stays open for days learns of new releases when it is looked at.
  document.addEventListener("visibilitychange", () => document.hidden || registration.update().catch(() => undefined));
}

addEventListener("asyncmachine:boot", (event) => {
  const { phase } = /** @type {CustomEvent} */ (event).detail;
  if (phase === "ready" && container) register().catch((error) => console.info(`not available offline: ${error}`));
});
