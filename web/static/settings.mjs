/** What a page says of itself in `<script type="application/json" id="asyncmachine">`: read, and refused when it is wrong. */

/**
 * @typedef {object} Settings a worker gets its parent's
 * @property {string[]} [sources] addresses of zip or wheel files with the application's own Python
 * @property {string} [main] `package.module:function` to run, for pages without PyScript
 * @property {Record<string, string>} [env] environment variables of Python
 * @property {number} [timeout] seconds for one try, 60 by default
 * @property {boolean} [snapshot] false to start from scratch
 */

const text = (/** @type {unknown} */ it) => typeof it === "string";
const object = (/** @type {unknown} */ it) => !!it && typeof it === "object" && !Array.isArray(it);
/** @type {Record<string, [string, (it: unknown) => boolean]>} */
const KINDS = {
  sources: ['a list of addresses, as ["app.zip"]', (it) => Array.isArray(it) && it.every(text)],
  main: ['"package.module:function"', (it) => text(it) && /^[^:]+:[^:]+$/.test(String(it))],
  env: ["an object of texts", (it) => object(it) && Object.values(/** @type {object} */ (it)).every(text)],
  timeout: ["a number of seconds above 0", (it) => typeof it === "number" && it > 0],
  snapshot: ["true or false", (it) => typeof it === "boolean"],
};

/** What is said is wrong: the message names it, and what is right. */
export class WrongSettings extends Error {
  /** @param {string} why */
  constructor(why) {
    super(`the page's settings (#asyncmachine): ${why}`);
  }
}

/**
 * @param {string} said
 * @returns {Settings}
 * @throws {WrongSettings}
 */
export function read(said) {
  const found = parse(said);
  if (!object(found)) throw new WrongSettings("they must be a JSON object");
  for (const [name, value] of Object.entries(found)) {
    const [wanted, fits] = (Object.hasOwn(KINDS, name) && KINDS[name]) || [];
    if (!fits) throw new WrongSettings(`there is no ${name}; there are ${Object.keys(KINDS).join(", ")}`);
    if (!fits(value)) throw new WrongSettings(`${name} must be ${wanted}`);
  }
  return found;
}

/** @param {string} said */
function parse(said) {
  try {
    return JSON.parse(said);
  } catch (error) {
    throw new WrongSettings(`they are no JSON: ${/** @type {Error} */ (error).message}`);
  }
}
