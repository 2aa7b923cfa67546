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
  const { phase, message } = /** @type {CustomEvent} */ (event).detail;
  if (phase === "failed") show("error", `${message}. Reload the page to try again.`);
  else show("phase", phase === "ready" ? "" : phase);
});

// Nobody listens to a form before Python does. The browser would send it by loading the page anew, without what was typed.
addEventListener("submit", (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (!form.hasAttribute("action") && form.method !== "dialog") event.preventDefault();
});

// A script that is not there reports itself only here.
addEventListener(
  "error",
  ({ target }) => {
    if (target instanceof HTMLScriptElement) show("error", `${target.src} could not be loaded.`);
  },
  true,
);
