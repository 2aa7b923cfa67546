/**
 * Puts values into the document. Python names what to bind and sends one batch a frame; a binding is a signal whose
 * effect writes to its elements (`kinds.mjs`). A binding that fails is reported, the others go on.
 */
import { changedEarly, closest, facts, remember, TYPED } from "./fields.mjs";
import { KINDS, PROPERTIES } from "./kinds.mjs";
import { batch, effect, signal } from "./vendor/signals/signals-core.mjs";

/**
 * @typedef {{destroy?: () => void}} Letgo
 * @typedef {import("./vendor/signals/signals-core.mjs").Signal} Signal
 * @typedef {{elements: Element[], value: Signal, kind: string, detail: string,
 *   typed?: (element: any) => unknown, stop: () => void, leave: (element: Element) => void}} Bound
 */

/** By element, its bindings that are stale. @type {WeakMap<Element, Set<Bound>>} */
const aged = new WeakMap();
const age = (/** @type {Element} */ element, /** @type {Bound} */ bound, /** @type {boolean} */ stale) => {
  const all = aged.get(element) ?? new Set();
  if (stale) aged.set(element, all.add(bound));
  else all.delete(bound);
  element.toggleAttribute("data-stale", all.size > 0);
};

/** Milliseconds within which there should be something to listen to. */
const SOON = 1000;

/** @type {(text: string) => string[]} */
const words = (text) => text.match(/[\w-]+/g) ?? [];

/** Undefined for what is no selector. @type {(selector: string) => Element[] | undefined} */
const matching = (selector) => {
  try {
    return [...document.querySelectorAll(selector)];
  } catch {}
};

/**
 * @param {((ended: string) => string) & Letgo} flush called once a frame with the ids of bindings whose elements have
 *   left the document, answers the changed values as `[[id, value], …]`; both are JSON
 * @param {((id: number, event: string) => void) & Letgo} emit called for each event that was asked for, with its facts
 *   as JSON
 */
export function open(flush, emit) {
  /** @type {Map<number, Bound>} */
  const bindings = new Map();
  /** @type {Map<string, Map<number, {selector: string, prevent: boolean}>>} */
  const listeners = new Map();
  let asked = 0;
  let removed = false;

  const frame = () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      const changes = JSON.parse(flush(JSON.stringify(removed ? sweep() : [])));
      batch(() => changes.forEach((/** @type {[number, unknown]} */ [id, value]) => set(id, value)));
    });
  };
  const set = (/** @type {number} */ id, /** @type {unknown} */ value) => {
    const bound = bindings.get(id);
    if (bound) bound.value.value = value;
  };
  /** Ends the bindings none of whose elements is in the document any more. */
  const sweep = () => {
    removed = false;
    const ended = [];
    for (const [id, bound] of bindings) {
      bound.elements = bound.elements.filter((element) => element.isConnected || bound.leave(element));
      if (!bound.elements.length) ended.push(id);
    }
    ended.forEach(drop);
    return ended;
  };
  const drop = (/** @type {number} */ id) => {
    bindings.get(id)?.stop();
    bindings.delete(id);
    listeners.forEach((byId) => byId.delete(id));
  };
  /** Whether nothing matches, and nothing will: neither is `#jobs` of `#jobs li` there, nor a list that has all names. */
  const nowhere = (/** @type {string} */ selector) => {
    const [around = ""] = /^[^\s>+~]+(?=[\s>+~])/.exec(selector) ?? [];
    const lists = [...bindings.values()].filter(({ kind }) => kind === "list");
    const isRow = lists.some(({ detail }) => words(selector).every((word) => words(detail).includes(word)));
    return !matching(selector)?.length && !matching(around)?.length && !isRow;
  };
  const removals = new MutationObserver((records) => {
    removed ||= records.some(({ removedNodes }) => [...removedNodes].some((node) => node instanceof Element));
    if (removed && bindings.size) frame();
  });
  removals.observe(document, { childList: true, subtree: true });

  const heard = (/** @type {Event} */ event) => {
    if (!(event.target instanceof Element)) return;
    // A copy: what a handler begins to listen to is not for this event. What it ends is not either.
    for (const [id, { selector, prevent }] of [...(listeners.get(event.type) ?? [])]) {
      if (!listeners.get(event.type)?.has(id)) continue;
      const element = closest(event.target, selector);
      if (!element) continue;
      const bound = bindings.get(id);
      if (bound && !bound.elements.includes(element)) continue;
      if (prevent) event.preventDefault();
      const told = facts(event, element);
      if (bound?.typed) bound.value.value = told[bound.kind] = bound.typed(element);
      emit(id, JSON.stringify(told));
    }
  };

  return {
    frame,
    drop,
    /**
     * Binds every element that matches now; answers how many, -1 when one of them has none of the kind's property, or
     * -2 for what is no selector.
     * @type {(id: number, selector: string, kind: keyof typeof KINDS, detail: string, under: number) => number}
     */
    define(id, selector, kind, detail, under) {
      const elements = matching(selector);
      if (!elements) return -2;
      const write = KINDS[kind](detail);
      const value = signal(/** @type {unknown} */ (undefined));
      const stale = bindings.get(under)?.value;
      /** @type {Bound} */
      const bound = { elements, value, kind, detail, typed: TYPED[kind], stop() {}, leave() {} };
      bindings.set(id, bound);
      const writing = effect(() => {
        const now = value.value;
        if (now === undefined) return;
        try {
          bound.elements.forEach((element) => write(element, now));
        } catch (error) {
          console.error(`${selector} ${kind} ${detail}:`, error);
        }
      });
      const ageing = stale && effect(() => bound.elements.forEach((element) => age(element, bound, !!stale.value)));
      if (stale) bound.leave = (element) => age(element, bound, false);
      bound.stop = () => {
        writing();
        ageing?.();
        bound.elements.forEach(bound.leave);
      };
      return PROPERTIES.includes(kind) && elements.some((element) => !(kind in element)) ? -1 : elements.length;
    },
    /** @type {(id: number) => unknown} */
    early(id) {
      const { elements, typed, value } = /** @type {Bound} */ (bindings.get(id));
      const field = changedEarly(elements);
      if (field && typed) return (value.value = typed(field));
    },
    /** What the forms of this binding show now is what is emptied when it is told to. @type {(id: number) => void} */
    sending(id) {
      bindings.get(id)?.elements.forEach(remember);
    },
    /** Answers whether that is a selector. @type {(id: number, type: string, selector: string, prevent: boolean) => boolean} */
    listen(id, type, selector, prevent) {
      const found = matching(selector);
      if (!found) return false;
      if (!listeners.has(type)) {
        listeners.set(type, new Map());
        document.addEventListener(type, heard, true); // capture: focus and blur do not bubble
      }
      listeners.get(type)?.set(id, { selector, prevent });
      const told = `page.on("${type}", "${selector}", …): no element matches so far`;
      const look = () => listeners.get(type)?.has(id) && nowhere(selector) && console.warn(told);
      if (!found.length) setTimeout(look, SOON);
      return true;
    },
    /** @type {(message: string) => void} */
    report: (message) => console.error(message),
    close() {
      removals.disconnect();
      cancelAnimationFrame(asked);
      listeners.forEach((_, type) => document.removeEventListener(type, heard, true));
      listeners.clear();
      [...bindings.keys()].forEach(drop);
      flush.destroy?.(); // Python's functions live until they are let go
      emit.destroy?.();
    },
  };
}
