/**
 * Which of the pages of an origin leads: the one that has the Web Lock. The browser gives it to the page that has waited
 * longest, as soon as its holder lets it go, is closed, or has crashed. Without Web Locks (an insecure origin) each leads.
 *
 * @param {string} name
 * @param {() => void} granted
 * @returns {() => void} lets it go, or stops waiting
 */
export function lead(name, granted) {
  const waiting = new AbortController();
  let release = () => {};
  const held = () =>
    new Promise((/** @type {(nothing: void) => void} */ done) => {
      release = () => done();
      granted();
    });
  if (navigator.locks) navigator.locks.request(name, { signal: waiting.signal }, held).catch(() => undefined);
  else held();
  return () => {
    waiting.abort();
    release();
  };
}
