/**
 * What happens to the page, told alike in the page and in every worker below it: an `asyncmachine:page` event whose
 * detail is one of visible, hidden, online, offline, frozen, resumed, leaving (the page goes, perhaps into the
 * back/forward cache) and back (it has come back from there).
 */

const NAME = "asyncmachine:page";

/** @type {string} */
let seen = globalThis.document?.visibilityState ?? "visible";
export const visibility = () => seen;

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
  addEventListener("pagehide", () => tell("leaving"));
  addEventListener("pageshow", (event) => event.persisted && tell("back"));
  addEventListener("online", () => tell("online"));
  addEventListener("offline", () => tell("offline"));
}
