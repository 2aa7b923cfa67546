/**
 * Tells a waiting person how far Python is: the phase goes into `[data-boot=phase]`, the reason of a failure into
 * `[data-boot=error]`, which is hidden until then. Needs nothing else to be there, so that it can tell why not.
 */
const SILENCE = 60_000;

/**
 * @param {string} kind
 * @param {string} text
 */
function show(kind, text) {
  for (const element of document.querySelectorAll(`[data-boot=${kind}]`)) {
    element.textContent = text;
    element.toggleAttribute("hidden", !text);
  }
}

const nothing = "Python did not even begin to load. Reload the page, or look at the server.";
const patience = setTimeout(() => show("error", nothing), SILENCE);

addEventListener("asyncmachine:boot", (event) => {
  clearTimeout(patience);
  const { phase, message, again = true } = /** @type {CustomEvent} */ (event).detail;
  if (phase === "failed") show("error", again ? `${message}. Reload the page to try again.` : message);
  else show("phase", phase === "ready" ? "" : phase);
  if (phase === "ready") removeEventListener("submit", hold);
  if (phase === "failed") addEventListener("submit", hold); // also when it is `main` that failed
});

/**
 * Nobody listens to a form before Python does. The browser would send it by loading the page anew, without what was typed.
 * @param {SubmitEvent} event
 */
function hold(event) {
  const form = /** @type {HTMLFormElement} */ (event.target);
  const elsewhere = form.hasAttribute("action") || event.submitter?.hasAttribute("formaction");
  if (!elsewhere && form.method !== "dialog") event.preventDefault();
}
addEventListener("submit", hold);

// A script that is not there reports itself only here.
addEventListener(
  "error",
  ({ target }) => {
    if (target instanceof HTMLScriptElement) show("error", `${target.src} could not be loaded.`);
  },
  true,
);
