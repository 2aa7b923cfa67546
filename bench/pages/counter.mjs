// The same for every counter: when it shows its first number, and how long a click takes to be seen.
const shown = () => document.getElementById("count")?.textContent;
const seen = new MutationObserver(() => {
  if (shown() !== "0") return;
  seen.disconnect();
  performance.mark("python ready");
});
seen.observe(document.documentElement, { childList: true, characterData: true, subtree: true });

/** Milliseconds from a click to the next number, of each of that many. */
globalThis.clicks = async (times) => {
  const took = [];
  for (let n = 1; n <= times; n++) {
    const begun = performance.now();
    document.getElementById("add").click();
    await new Promise((done) => {
      const look = () => shown() === `${n}` && (watch.disconnect(), done());
      const watch = new MutationObserver(look);
      watch.observe(document.documentElement, { childList: true, characterData: true, subtree: true });
      look();
    });
    took.push(performance.now() - begun);
    await new Promise(requestAnimationFrame);
  }
  return took;
};
