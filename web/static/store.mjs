/**
 * Records of durable machines in IndexedDB: bytes, by the machine's id and a key.
 *
 * Each opening leaves a token of its own beside them, and a write looks for it in its own transaction: a page that has
 * been overtaken by another, whatever it missed meanwhile, cannot write any more. A write is done when it is on disk.
 */

const DATABASE = "asyncmachine";
const RECORDS = "records";
/** Under this key stands the token; no record has it. */
const OWNER = "";

/** @typedef {[key: string, bytes: Uint8Array]} Entry */

/** Somebody else has opened the records since. */
class TakenOver extends Error {
  name = "TakenOver";
}

export class Records {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    this.token = crypto.randomUUID();
    /** @type {IDBDatabase | undefined} */
    this.database = undefined;
  }

  /** Takes the records over, and reads them. @returns {Promise<Entry[]>} */
  async claim() {
    await this.open();
    /** @type {Entry[]} */
    const found = [];
    await this.change((records) => {
      records.put(this.token, [this.id, OWNER]);
      const all = IDBKeyRange.bound([this.id, OWNER], [this.id, []], true);
      records.openCursor(all).onsuccess = (event) => {
        const cursor = /** @type {IDBRequest<IDBCursorWithValue | null>} */ (event.target).result;
        if (!cursor) return;
        found.push([/** @type {[string, string]} */ (cursor.key)[1], cursor.value]);
        cursor.continue();
      };
    });
    return found;
  }

  /**
   * All of it or nothing. It is under way when this returns, if the records are open.
   * @param {Entry[]} puts
   * @param {string[]} drops
   */
  async write(puts, drops) {
    if (!this.database) await this.open();
    await this.change((records, stop) => {
      records.get([this.id, OWNER]).onsuccess = (event) => {
        if (/** @type {IDBRequest} */ (event.target).result !== this.token) {
          stop(new TakenOver(`another page has opened ${this.id}`));
          return;
        }
        for (const key of drops) records.delete([this.id, key]);
        for (const [key, bytes] of puts) records.put(bytes, [this.id, key]);
      };
    });
  }

  /** Lets the database go when what is under way is done; the next call opens it again. */
  close() {
    this.database?.close();
    this.database = undefined;
  }

  /** @param {(records: IDBObjectStore, stop: (error: Error) => void) => void} work */
  async change(work) {
    const database = /** @type {IDBDatabase} */ (this.database);
    const transaction = database.transaction(RECORDS, "readwrite", { durability: "strict" });
    /** @type {Error | undefined} */
    let reason;
    await new Promise((done, failed) => {
      transaction.oncomplete = done;
      transaction.onabort = () => failed(reason ?? plain(transaction.error));
      work(transaction.objectStore(RECORDS), (error) => {
        reason = error;
        transaction.abort();
      });
    });
  }

  async open() {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(RECORDS);
    /** @type {IDBDatabase} */
    const database = await new Promise((done, failed) => {
      request.onsuccess = () => done(request.result);
      request.onerror = () => failed(plain(request.error));
    });
    database.onversionchange = () => this.close();
    database.onclose = () => this.close();
    this.database = database;
  }
}

/**
 * An error that Python knows for one: it does not take the newer classes of the browser's own.
 * @param {DOMException | null} error
 */
function plain(error) {
  const { name, message } = error ?? { name: "AbortError", message: "the browser gave up" };
  return Object.assign(new Error(message), { name });
}
