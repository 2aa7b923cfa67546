/**
 * What a tab keeps over a reload: the resume secrets with which the relay gives its ids back at once.
 *
 * The browser copies sessionStorage when a tab is duplicated, so having a secret does not prove whose it is. The tab's
 * name is kept beside the secrets, and a Web Lock of that name is held by the living page: whoever gets the lock is the
 * tab itself after a reload, whoever does not is a copy, which takes a new name and leaves the secrets alone. Without
 * Web Locks (an insecure origin) nothing is taken over.
 */
import { follow } from "./lifecycle.mjs";

/** @typedef {Record<string, string>} Secrets by id */

const NAME = "asyncmachine.tab";
const SECRETS = "asyncmachine.secrets";
/** Milliseconds to wait for the lock of the page that was here before; a copy waits this long for nothing. */
const GRACE = 300;

export class Tab {
  /**
   * @param {Secrets} secrets
   * @param {(secrets: Secrets, id: string) => void} changed
   */
  constructor(secrets, changed) {
    this.secrets = secrets;
    this.changed = changed;
  }

  /** @param {string} id */
  secret(id) {
    return this.secrets[id] ?? "";
  }

  /**
   * @param {string} id
   * @param {string} secret
   */
  keep(id, secret) {
    this.secrets[id] = secret;
    this.changed(this.secrets, id);
  }
}

/** The tab that this page is in; never fails. */
export async function claim() {
  const tab = new Tab({}, (secrets) => write(SECRETS, JSON.stringify(secrets)));
  let release = () => {};
  async function own() {
    const name = read(NAME);
    const held = name && (await hold(name));
    tab.secrets = held ? JSON.parse(read(SECRETS) || "{}") : {};
    release = held || (await anew());
  }
  async function anew() {
    const name = crypto.getRandomValues(new Uint32Array(4)).join("-");
    write(NAME, name);
    write(SECRETS, "{}");
    return (await hold(name)) || (() => {});
  }
  // A held lock would keep the page out of the back/forward cache, and a reload waiting.
  follow((state) => {
    if (state === "leaving") release();
    if (state === "back") own();
  });
  await own();
  return tab;
}

/**
 * @param {string} name
 * @returns {Promise<(() => void) | undefined>} lets the lock go; undefined when somebody else has it
 */
async function hold(name) {
  if (!navigator.locks) return undefined;
  return new Promise((done) => {
    const held = () => new Promise((/** @type {(nothing: void) => void} */ release) => done(() => release()));
    const request = navigator.locks.request(`${NAME}.${name}`, { signal: AbortSignal.timeout(GRACE) }, held);
    request.catch(() => done(undefined));
  });
}

// Storage may be forbidden altogether; then nothing is kept.
/** @param {string} key */
export function read(key) {
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
export function write(key, value) {
  try {
    sessionStorage.setItem(key, value);
  } catch {
    // told above
  }
}
