/**
 * What a person does in fields: what they typed before there was Python, what they change while their form is being
 * sent, and that only what was sent is emptied.
 */

/** What each field showed when its form was sent. @type {WeakMap<Element, string>} */
const sent = new WeakMap();
const shows = (/** @type {any} */ { value, checked, selectedOptions = [] }) =>
  JSON.stringify([value, checked, [...selectedOptions].map(({ index }) => index)]);
const isAsSent = (/** @type {Element} */ field) => sent.get(field) === shows(field);
const RESET = "asyncmachine-reset"; // what tells a reset's events from a person's

// As the classes have them: a form's own `elements` or `reset` would be a field of that name.
const { prototype } = HTMLFormElement;
/** @type {(form: any) => any[]} */
const fieldsOf = (form) => [...Reflect.get(prototype, "elements", form)];

/** What the form shows now is what `empty` empties. @type {(form: Element) => void} */
export const remember = (form) => fieldsOf(form).forEach((field) => sent.set(field, shows(field)));
/** @type {(element: Element, selector: string) => Element | null} */
export const closest = (element, selector) => Element.prototype.closest.call(element, selector);

/** Leaves out what is not as it was sent: a person has gone on there. @type {(form: any) => void} */
export function empty(form) {
  const fields = fieldsOf(form);
  const old = fields.filter(isAsSent);
  const kept = fields.filter((field) => !isAsSent(field)).map((field) => [field, field.getAttribute("form")]);
  const other = document.body.appendChild(Object.assign(document.createElement("form"), { id: RESET }));
  kept.forEach(([field]) => field.setAttribute("form", RESET)); // theirs, for as long as it takes
  prototype.reset.call(form);
  kept.forEach(([field, own]) => (own === null ? field.removeAttribute("form") : field.setAttribute("form", own)));
  other.remove();
  // Of radios, the one that is checked has the last word.
  const emptied = old.filter((field) => !isAsSent(field)).sort((a, b) => +!!a.checked - +!!b.checked);
  for (const field of emptied) field.dispatchEvent(new CustomEvent("input", { bubbles: true, detail: RESET }));
}

/**
 * How a person's change of a field is read, by the kind of its binding.
 * @type {Record<string, (element: any) => unknown>}
 */
export const TYPED = {
  value: (field) => (field.type === "radio" && !field.checked ? "" : field.value),
  checked: (field) => field.checked,
};

/** Fields that have been bound: what they show came through Python. @type {WeakSet<Element>} */
const met = new WeakSet();

/** The field that a person changed before any of these was bound. @type {(fields: Element[]) => Element | undefined} */
export function changedEarly(fields) {
  const found = fields.find((field) => !met.has(field) && changed(field));
  fields.forEach((field) => met.add(field));
  return found;
}

/** Whether a person has changed it, as far as can be seen. */
function changed(/** @type {any} */ field) {
  if (field.type === "radio") return field.checked && !field.defaultChecked;
  if (field.type === "checkbox") return field.checked !== field.defaultChecked;
  if (!field.options) return field.value !== field.defaultValue;
  const options = [...field.options];
  const first = options.findLast((option) => option.defaultSelected) ?? options.find((option) => !option.disabled);
  return field.selectedOptions[0] !== first;
}

/**
 * What Python is told of an event.
 * @param {any} event
 * @param {Element} element the one that matched
 * @returns {Record<string, unknown>}
 */
export function facts(event, element) {
  const { value = "", checked = false, form: own } = /** @type {HTMLInputElement} */ (element);
  // A field may belong to a form that it does not stand in; a form's own `form` would be a field of that name.
  const form = [element, own, closest(element, "form")].find((each) => each instanceof HTMLFormElement);
  const fields = form ? [...new FormData(form, event.submitter)] : [];
  return {
    type: event.type,
    value: String(value),
    checked,
    data: { .../** @type {HTMLElement} */ (element).dataset },
    key: event.key ?? "",
    form: fields.map(([name, field]) => [name, typeof field === "string" ? field : null]), // null for a file
    reset: event.detail === RESET,
  };
}
