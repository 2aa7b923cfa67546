/**
 * What happens to the page, told alike in the page and in every worker below it: an `asyncmachine:page` event whose
 * detail is one of visible, hidden, online, offline, frozen, resumed, leaving and then cached (the page goes into the
 * back/forward cache) or closing (it goes for good), back (from that cache), discarded (the browser had dropped this
 * tab to save memory, and has loaded it anew), and woke (the computer slept).
 */

const NAME = "asyncmachine:page";
const LOOK = 5_000;
/** Milliseconds that a clock may jump while timers of a visible page run. */
const JUMP = 15_000;

/** @type {string} */
let seen = globalThis.document?.visibilityState ?? "visible";
export const visibility = () => seen;
export const discarded = Boolean(/** @type {any} */ (globalThis.document)?.wasDiscarded);

/** @param {string} state */
export function tell(state) {
  if (state === "visible" || state === "hidden") seen = state;
  globalThis.dispatchEvent(new CustomEvent(NAME, { detail: state }));
}

/** @param {(state: string) => void} hear */
export function follow(hear) {
  globalThis.addEventListener(NAME, (event) => hear(/** @type {CustomEvent} */ (event).detail));
}

if (globalThis.document) {
  document.addEventListener("visibilitychange", () => tell(document.visibilityState));
  document.addEventListener("freeze", () => tell("frozen"));
  document.addEventListener("resume", () => tell("resumed"));
  addEventListener("pagehide", ({ persisted }) => {
    tell("leaving");
    tell(persisted ? "cached" : "closing");
  });
  addEventListener("pageshow", (event) => event.persisted && tell("back"));
  addEventListener("online", () => tell("online"));
  addEventListener("offline", () => tell("offline"));
  let looked = Date.now();
  setInterval(() => {
    const gap = Date.now() - looked;
    looked = Date.now();
    if (gap > JUMP && seen === "visible") tell("woke");
  }, LOOK);
}
