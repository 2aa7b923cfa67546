// The least that a page can do: Python on its own thread, then in three workers at once.
import { bare } from "./bare-boot.mjs";

await bare();
performance.mark("page ready");

const started = [1, 2, 3].map(() => {
  const worker = new Worker("bare-worker.mjs", { type: "module" });
  return new Promise((done) => (worker.onmessage = done));
});
await Promise.all(started);
performance.mark("workers ready");
