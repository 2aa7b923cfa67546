/**
 * Puts values into the document. Python names what to bind and sends one batch a frame; a binding is a signal whose
 * effect writes to its elements, a list is a lit-html template. Values are written as text; what Python marked as HTML
 * comes as `{html}`. A binding that fails is reported, the others go on.
 */
import { batch, effect, signal } from "./vendor/signals/signals-core.mjs";
import { html, render } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import { unsafeHTML } from "./vendor/lit-html/directives/unsafe-html.js";

/**
 * @typedef {string | boolean | null | {html: string}} Value
 * @typedef {[key: string, ...values: Value[]]} Row
 * @typedef {(element: Element, value: any) => void} Write
 * @typedef {{destroy?: () => void}} Letgo
 * @typedef {import("./vendor/signals/signals-core.mjs").Signal} Signal
 * @typedef {{elements: Element[], value: Signal, kind: string, typed?: (element: any) => unknown, stop: () => void,
 *   leave: (element: Element) => void}} Bound
 */

/** What each field showed when its form was sent. @type {WeakMap<Element, string>} */
const sent = new WeakMap();
const shows = (/** @type {any} */ { value, checked, selectedOptions = [] }) =>
  JSON.stringify([value, checked, [...selectedOptions].map(({ index }) => index)]);
const RESET = "asyncmachine-reset"; // what tells a reset's events from a person's
const isAsSent = (/** @type {Element} */ field) => sent.get(field) === shows(field);

/** By element, its bindings that are stale. @type {WeakMap<Element, Set<Bound>>} */
const aged = new WeakMap();
const age = (/** @type {Element} */ element, /** @type {Bound} */ bound, /** @type {boolean} */ stale) => {
  const all = aged.get(element) ?? new Set();
  if (stale) aged.set(element, all.add(bound));
  else all.delete(bound);
  element.toggleAttribute("data-stale", all.size > 0);
};

const marked = (/** @type {any} */ value) => value !== null && typeof value === "object";

/** What each kind of binding does; `detail` is the name of the class or attribute, or the template. */
const KINDS = {
  /** @returns {Write} */
  text: () => (element, value) => {
    const only = element.firstChild;
    if (marked(value)) element.innerHTML = value.html;
    else if (only instanceof Text && !only.nextSibling) only.data = value; // a third of what a new node costs
    else element.textContent = value;
  },
  /** @type {(name: string) => Write} */
  class: (name) => (element, value) => element.classList.toggle(name, value),
  /** @returns {Write} */
  visible: () => (element, value) => element.toggleAttribute("hidden", !value),
  /** @type {(name: string) => Write} */
  attr: (name) => (element, value) => {
    if (value === null || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : value);
  },
  /** @returns {Write} */
  value: () => (element, value) => {
    const field = /** @type {HTMLInputElement} */ (element);
    if (field.type === "radio") field.checked = field.value === value;
    else if (field.value !== value) field.value = value; // writing the same would move the cursor
  },
  /** @returns {Write} */
  checked: () => (element, value) => (/** @type {HTMLInputElement} */ (element).checked = value),
  /** Leaves out what is not as it was sent: a person has gone on there. @returns {Write} */
  reset: () => (/** @type {any} */ form, value) => {
    if (value === null) return;
    const fields = [...form.elements];
    const old = fields.filter(isAsSent);
    const kept = fields.filter((field) => !isAsSent(field)).map((field) => [field, field.getAttribute("form")]);
    const other = document.body.appendChild(Object.assign(document.createElement("form"), { id: RESET }));
    kept.forEach(([field]) => field.setAttribute("form", RESET)); // theirs, for as long as it takes
    form.reset();
    kept.forEach(([field, own]) => KINDS.attr("form")(field, own));
    other.remove();
    // Of radios, the one that is checked has the last word.
    const emptied = old.filter((field) => !isAsSent(field)).sort((a, b) => +!!a.checked - +!!b.checked);
    for (const field of emptied) field.dispatchEvent(new CustomEvent("input", { bubbles: true, detail: RESET }));
  },
  /** Read by the bindings under it. @returns {Write} */
  stale: () => () => undefined,
  /** @type {(template: string) => Write} */
  list: (template) => {
    const strings = JSON.parse(template);
    // A template is its array of strings: made once, so that lit-html keeps the nodes of a row whose values change.
    const tagged = /** @type {TemplateStringsArray} */ (Object.assign(strings, { raw: strings }));
    const hole = (/** @type {any} */ value) => (marked(value) ? unsafeHTML(value.html) : value);
    const row = (/** @type {Row} */ [, ...values]) => html(tagged, ...values.map(hole));
    const key = (/** @type {Row} */ [first]) => first;
    return (element, rows) => render(repeat(rows, key, row), /** @type {HTMLElement} */ (element));
  },
};

/** How a person's change of a field is read. @type {Record<string, (element: any) => unknown>} */
const TYPED = {
  value: (field) => (field.type === "radio" && !field.checked ? "" : field.value),
  checked: (field) => field.checked,
};

/** Fields that have been bound: what they show came through Python. @type {WeakSet<Element>} */
const met = new WeakSet();

/** Whether a person has changed it, as far as can be seen. */
const changed = (/** @type {any} */ field) => {
  if (field.type === "radio") return field.checked && !field.defaultChecked;
  if (field.type === "checkbox") return field.checked !== field.defaultChecked;
  if (!field.options) return field.value !== field.defaultValue;
  const options = [...field.options];
  const first = options.findLast((option) => option.defaultSelected) ?? options.find((option) => !option.disabled);
  return field.selectedOptions[0] !== first;
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
      const element = event.target.closest(selector);
      if (!element) continue;
      const bound = bindings.get(id);
      if (bound?.typed && !bound.elements.includes(element)) continue;
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
     * Binds every element that matches now; answers how many.
     * @type {(id: number, selector: string, kind: keyof typeof KINDS, detail: string, under: number) => number}
     */
    define(id, selector, kind, detail, under) {
      const elements = [...document.querySelectorAll(selector)];
      const write = KINDS[kind](detail);
      const value = signal(/** @type {unknown} */ (undefined));
      const stale = bindings.get(under)?.value;
      /** @type {Bound} */
      const bound = { elements, value, kind, typed: TYPED[kind], stop() {}, leave() {} };
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
      return elements.length;
    },
    /** @type {(id: number) => unknown} */
    early(id) {
      const { elements, typed, value } = /** @type {Bound} */ (bindings.get(id));
      const field = elements.find((element) => !met.has(element) && changed(element));
      elements.forEach((element) => met.add(element));
      if (field && typed) return (value.value = typed(field));
    },
    /** What the forms of this binding show now is what is emptied when it is told to. @type {(id: number) => void} */
    sending(id) {
      bindings.get(id)?.elements.forEach((/** @type {any} */ form) => {
        for (const field of form.elements) sent.set(field, shows(field));
      });
    },
    /** @type {(id: number, type: string, selector: string, prevent: boolean) => void} */
    listen(id, type, selector, prevent) {
      if (!listeners.has(type)) {
        listeners.set(type, new Map());
        document.addEventListener(type, heard, true); // capture: focus and blur do not bubble
      }
      listeners.get(type)?.set(id, { selector, prevent });
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

/**
 * @param {any} event
 * @param {Element} element the one that matched
 * @returns {Record<string, unknown>}
 */
function facts(event, element) {
  const { value = "", checked = false } = /** @type {HTMLInputElement} */ (element);
  const fields = element instanceof HTMLFormElement ? [...new FormData(element, event.submitter)] : [];
  return {
    type: event.type,
    value: String(value),
    checked,
    data: { .../** @type {HTMLElement} */ (element).dataset },
    key: event.key ?? "",
    form: fields.filter(([, field]) => typeof field === "string"),
    reset: event.detail === RESET,
  };
}
