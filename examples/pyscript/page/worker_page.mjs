// The page's side of PyScript's worker: what it offers in Python is called from here.
const script = document.querySelector("script[worker]");
const light = document.querySelector("#light");

document.querySelector("#step").addEventListener("click", async () => {
  light.textContent = await script.xworker.sync.step();
});
