// The page's side of PyScript's worker: what it offers in Python is called from here.
/** @typedef {{xworker: {sync: {step: () => Promise<string>}}}} PyScript what `worker.py` offers */
const script = /** @type {Element & PyScript} */ (document.querySelector("script[worker]"));
const light = /** @type {Element} */ (document.querySelector("#light"));

document.querySelector("#step")?.addEventListener("click", async () => {
  light.textContent = await script.xworker.sync.step();
});
