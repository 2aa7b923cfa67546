/**
 * Puts values into the document. Python names what to bind and sends one batch a frame; a binding is a signal whose
 * effect writes to its elements, a list is a lit-html template. All values are written as text, never as HTML.
 */
import { batch, effect, signal } from "./vendor/signals/signals-core.mjs";
import { html, render } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";

/**
 * @typedef {string | boolean | null} Value
 * @typedef {[key: string, ...values: Value[]]} Row
 * @typedef {(element: Element, value: any) => void} Write
 * @typedef {{destroy?: () => void}} Letgo
 * @typedef {{elements: Element[], value: import("./vendor/signals/signals-core.mjs").Signal, stop: () => void}} Bound
 */

/** What each kind of binding does; `detail` is the name of the class or attribute, or the template. */
const KINDS = {
  /** @returns {Write} */
  text: () => (element, value) => (element.textContent = value),
  /** @type {(name: string) => Write} */
  class: (name) => (element, value) => element.classList.toggle(name, value),
  /** @returns {Write} */
  visible: () => (element, value) => element.toggleAttribute("hidden", !value),
  /** @type {(name: string) => Write} */
  attr: (name) => (element, value) => {
    if (value === null || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : value);
  },
  /** @type {(template: string) => Write} */
  list: (template) => {
    const strings = JSON.parse(template);
    // A template is its array of strings: made once, so that lit-html keeps the nodes of a row whose values change.
    const tagged = /** @type {TemplateStringsArray} */ (Object.assign(strings, { raw: strings }));
    const row = (/** @type {Row} */ [, ...values]) => html(tagged, ...values);
    const key = (/** @type {Row} */ [first]) => first;
    return (element, rows) => render(repeat(rows, key, row), /** @type {HTMLElement} */ (element));
  },
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
      bound.elements = bound.elements.filter((element) => element.isConnected);
      if (!bound.elements.length) ended.push(id);
    }
    ended.forEach(drop);
    return ended;
  };
  const drop = (/** @type {number} */ id) => {
    bindings.get(id)?.stop();
    bindings.delete(id);
  };
  const removals = new MutationObserver((records) => {
    removed ||= records.some((record) => record.removedNodes.length);
    if (removed && bindings.size) frame();
  });
  removals.observe(document, { childList: true, subtree: true });

  const heard = (/** @type {Event} */ event) => {
    if (!(event.target instanceof Element)) return;
    for (const [id, { selector, prevent }] of listeners.get(event.type) ?? []) {
      const element = event.target.closest(selector);
      if (!element) continue;
      if (prevent) event.preventDefault();
      emit(id, JSON.stringify(facts(event, element)));
    }
  };

  return {
    frame,
    drop,
    /**
     * Binds every element that matches now; answers how many.
     * @type {(id: number, selector: string, kind: keyof typeof KINDS, detail: string) => number}
     */
    define(id, selector, kind, detail) {
      const elements = [...document.querySelectorAll(selector)];
      const write = KINDS[kind](detail);
      const value = signal(/** @type {unknown} */ (undefined));
      /** @type {Bound} */
      const bound = { elements, value, stop: () => undefined };
      bindings.set(id, bound);
      bound.stop = effect(() => {
        const now = value.value;
        if (now !== undefined) bound.elements.forEach((element) => write(element, now));
      });
      return elements.length;
    },
    /** @type {(id: number, type: string, selector: string, prevent: boolean) => void} */
    listen(id, type, selector, prevent) {
      if (!listeners.has(type)) {
        listeners.set(type, new Map());
        document.addEventListener(type, heard, true); // capture: focus and blur do not bubble
      }
      listeners.get(type)?.set(id, { selector, prevent });
    },
    /** @type {(id: number) => void} */
    unlisten: (id) => listeners.forEach((byId) => byId.delete(id)),
    /** @type {(message: string) => void} */
    report: (message) => console.error(message),
    close() {
      removals.disconnect();
      cancelAnimationFrame(asked);
      listeners.forEach((_, type) => document.removeEventListener(type, heard, true));
      [...bindings.keys()].forEach(drop);
      flush.destroy?.(); // Python's functions live until they are let go
      emit.destroy?.();
    },
  };
}

/**
 * @param {Event} event
 * @param {Element} element the one that matched
 */
function facts(event, element) {
  const { value = "", checked = false } = /** @type {HTMLInputElement} */ (element);
  const fields = element instanceof HTMLFormElement ? [...new FormData(element)] : [];
  return {
    type: event.type,
    value: String(value),
    checked,
    data: { .../** @type {HTMLElement} */ (element).dataset },
    key: /** @type {KeyboardEvent} */ (event).key ?? "",
    form: Object.fromEntries(fields.filter(([, field]) => typeof field === "string")),
  };
}
