/**
 * What each kind of binding writes. Values are written as text; what Python marked as HTML comes as `{html}`. A list is
 * a lit-html template.
 */
import { empty } from "./fields.mjs";
import { html, render, svg } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import { unsafeHTML } from "./vendor/lit-html/directives/unsafe-html.js";

/**
 * @typedef {string | boolean | null | {html: string}} Value
 * @typedef {[key: string, ...values: Value[]]} Row
 * @typedef {(element: Element, value: any) => void} Write
 */

/** Kinds for elements that have such a property. */
export const PROPERTIES = ["value", "checked", "reset"];

/** What bound fields are to show: an option may come later. @type {WeakMap<Element, string>} */
const wanted = new WeakMap();

/** What had the focus when it was disabled, by which the browser takes it away. @type {Element | undefined} */
let unfocused;

/** Gives the focus back to what can be used again, unless a person has gone elsewhere. */
const keepFocus = (/** @type {HTMLElement} */ element, /** @type {boolean} */ usable) => {
  if (!usable && element === document.activeElement) unfocused = element;
  if (!usable || element !== unfocused) return;
  unfocused = undefined;
  if (document.activeElement === document.body) element.focus({ preventScroll: true });
};

const marked = (/** @type {any} */ value) => value !== null && typeof value === "object";

/** What each kind of binding does; `detail` is the name of the class or attribute, or the template. */
export const KINDS = {
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
    else if (name === "style") /** @type {HTMLElement} */ (element).style.cssText = value; // which every policy lets us
    else element.setAttribute(name, value === true ? "" : value);
    if (name === "disabled") keepFocus(/** @type {HTMLElement} */ (element), value === null || value === false);
  },
  /** @returns {Write} */
  value: () => (element, value) => {
    const field = /** @type {HTMLInputElement} */ (element);
    wanted.set(field, value);
    if (field.type === "radio") field.checked = field.value === value;
    else if (field.value !== value) field.value = value; // writing the same would move the cursor
  },
  /** @returns {Write} */
  checked: () => (element, value) => (/** @type {HTMLInputElement} */ (element).checked = value),
  /** @returns {Write} */
  reset: () => (form, value) => value !== null && empty(form),
  /** Read by the bindings under it. @returns {Write} */
  stale: () => () => undefined,
  /** @type {(template: string) => Write} */
  list: (template) => {
    const strings = JSON.parse(template);
    // A template is its array of strings: made once, so that lit-html keeps the nodes of a row whose values change.
    const tagged = /** @type {TemplateStringsArray} */ (Object.assign(strings, { raw: strings }));
    const hole = (/** @type {any} */ value) => (marked(value) ? unsafeHTML(value.html) : value);
    const key = (/** @type {Row} */ [first]) => first;
    return (element, rows) => {
      // What is drawn in a picture is made as such: as HTML it would not be seen.
      const make = element instanceof SVGElement && element.localName !== "foreignObject" ? svg : html;
      const row = (/** @type {Row} */ [, ...values]) => make(tagged, ...values.map(hole));
      render(repeat(rows, key, row), /** @type {HTMLElement} */ (element));
      const field = /** @type {HTMLSelectElement | null} */ (element.closest("select"));
      if (field) field.value = wanted.get(field) ?? field.value;
    };
  },
};
