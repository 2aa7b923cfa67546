/**
 * What a tab keeps over a reload: the resume secrets with which the relay gives its ids back at once.
 *
 * The browser copies sessionStorage when a tab is duplicated, so having a secret does not prove whose it is. The tab's
 * name is kept beside the secrets, and a Web Lock of that name is held by the living page: whoever gets the lock is the
 * tab itself after a reload, whoever does not is a copy, which takes a new name and leaves the secrets alone. Without Web
 * Locks (an insecure origin) nothing is taken over.
 */
import { follow } from "./lifecycle.mjs";

/**
 * @typedef {Record<string, string>} Secrets resume secret by id
 * @typedef {{all: () => Secrets, secret: (id: string) => string, keep: (id: string, secret: string) => void}} Tab
 */

const NAME = "asyncmachine.tab";
const SECRETS = "asyncmachine.secrets";
/** Milliseconds to wait for the lock of the page that was here before; a copy waits this long for nothing. */
const GRACE = 300;

/**
 * The tab that this page is in; never fails.
 * @returns {Promise<Tab>}
 */
export async function claim() {
  let tab = holder({}, store);
  let release = () => {};
  async function own() {
    const name = read(NAME);
    const held = name && (await hold(name));
    if (held) tab = holder(JSON.parse(read(SECRETS) || "{}"), store);
    release = held || (await anew());
  }
  async function anew() {
    tab = holder({}, store);
    store({});
    const name = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");
    write(NAME, name);
    return (await hold(name)) || (() => {});
  }
  // A held lock would keep the page out of the back/forward cache, and a reload waiting.
  follow((state) => {
    if (state === "leaving") release();
    if (state === "back") own();
  });
  await own();
  return { all: () => tab.all(), secret: (id) => tab.secret(id), keep: (id, secret) => tab.keep(id, secret) };
}

/**
 * @param {Secrets} secrets
 * @param {(all: Secrets, id: string) => void} changed
 * @returns {Tab}
 */
export function holder(secrets, changed) {
  return {
    all: () => secrets,
    secret: (id) => secrets[id] ?? "",
    keep: (id, secret) => {
      secrets[id] = secret;
      changed(secrets, id);
    },
  };
}

const store = (/** @type {Secrets} */ secrets) => write(SECRETS, JSON.stringify(secrets));

/**
 * @param {string} name
 * @returns {Promise<(() => void) | undefined>} lets the lock go; undefined when somebody else has it
 */
async function hold(name) {
  return new Promise((done) => {
    const held = () => new Promise((/** @type {(nothing: void) => void} */ release) => done(() => release()));
    const locks = navigator.locks?.request(`${NAME}.${name}`, { signal: AbortSignal.timeout(GRACE) }, held);
    if (locks) locks.catch(() => done(undefined));
    else done(undefined);
  });
}

// Storage may be forbidden altogether; then nothing is kept.
/** @param {string} key */
function read(key) {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

/**
 * @param {string} key
 * @param {string} value
 */
function write(key, value) {
  try {
    sessionStorage.setItem(key, value);
  } catch {
    // told above
  }
}
