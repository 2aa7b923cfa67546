/**
 * Which of the pages of an origin leads: the one that has the Web Lock. The browser gives it to the page that has waited
 * longest, as soon as its holder lets it go, is closed, or has crashed. Without Web Locks (an insecure origin) each leads.
 *
 * A page that stands still keeps its lock. So visible pages that wait ask the leader for an answer now and then, which
 * costs a message each way, and the first that has had none for long enough takes the lock away. Whoever waits in vain
 * counts questions, not seconds: its own time may have stood still. What a leader does that has lost its lock and does
 * not know yet is of no effect: see the marks of `store.mjs`.
 */
import { visibility } from "./lifecycle.mjs";

/** Milliseconds between two questions. */
const ASK = 2_000;
/** Questions without an answer. */
const PATIENCE = 4;

/**
 * @param {string} name
 * @param {() => void} granted
 * @param {() => void} ousted another page has taken the lock away
 * @returns {() => void} lets it go, or stops waiting
 */
export function lead(name, granted, ousted) {
  const waiting = new AbortController();
  let over = false;
  let leads = false;
  let silent = 0;
  let release = () => {};

  const held = () =>
    new Promise((/** @type {(nothing: void) => void} */ done) => {
      if (over || leads) return done();
      release = () => done();
      leads = true;
      talk.postMessage("here");
      granted();
    });
  const request = (/** @type {LockOptions} */ options) =>
    navigator.locks.request(name, options, held).catch(() => {
      if (leads && !over) {
        end();
        ousted();
      }
    });
  const ask = () => {
    if (leads || visibility() === "hidden") return void (silent = 0);
    silent += 1;
    if (silent <= PATIENCE) return talk.postMessage("there?");
    silent = 0;
    waiting.abort();
    request({ steal: true });
  };
  const end = () => {
    over = true;
    clearInterval(asking);
    talk.close();
    waiting.abort();
    release();
  };

  const talk = new BroadcastChannel(`${name}.leader`);
  talk.onmessage = ({ data }) => {
    if (data === "here") silent = 0;
    else if (leads) talk.postMessage("here");
  };
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let asking;
  if (navigator.locks) {
    request({ signal: waiting.signal });
    asking = setInterval(ask, ASK);
  } else {
    held();
  }
  return end;
}
