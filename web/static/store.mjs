/**
 * Records of durable machines in IndexedDB: bytes, by the machine's id and a key.
 *
 * Each opening leaves a token of its own beside them, and a mark for the token it found there: a page that has been
 * overtaken by another, whatever it missed meanwhile, cannot write any more, for a write begins by adding the mark of its
 * own token, which fails if it is there. So a write asks nothing and waits for nothing: it is in the browser's hands when
 * it has begun, even if the page goes at once. It is done when it is on disk.
 */

const DATABASE = "asyncmachine";
const RECORDS = "records";
/** Under this key stands the token, and behind it the marks of earlier ones; no record has it. */
const OWNER = "";
/** Marks that are kept: so many later openings a page may have missed that still believes it writes. */
const MARKS = 100;

/** @typedef {[key: string, bytes: Uint8Array]} Entry */

/** Somebody else has opened the records since. */
class TakenOver extends Error {
  name = "TakenOver";
}

export class Records {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    this.token = "";
    /** @type {IDBDatabase | undefined} */
    this.database = undefined;
  }

  /** Takes the records over, and reads them. @returns {Promise<Entry[]>} */
  async claim() {
    await this.open();
    // In the order of time, so that the oldest marks go first.
    this.token = `${Date.now().toString(36)} ${crypto.randomUUID()}`;
    /** @type {Entry[]} */
    const found = [];
    await this.change((records) => {
      const marks = IDBKeyRange.bound([this.id, OWNER, ""], [this.id, OWNER, []]);
      records.getAllKeys(marks).onsuccess = (event) => {
        const keys = /** @type {IDBRequest<IDBValidKey[]>} */ (event.target).result;
        for (const key of keys.slice(0, -MARKS)) records.delete(key);
      };
      records.get([this.id, OWNER]).onsuccess = (event) => {
        const before = /** @type {IDBRequest<string | undefined>} */ (event.target).result;
        if (before) records.put(true, [this.id, OWNER, before]);
        records.put(this.token, [this.id, OWNER]);
      };
      const all = IDBKeyRange.bound([this.id, OWNER, []], [this.id, []], true);
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
    const mark = [this.id, OWNER, this.token];
    await this.change((records, transaction) => {
      records.add(true, mark);
      records.delete(mark);
      for (const key of drops) records.delete([this.id, key]);
      for (const [key, bytes] of puts) records.put(bytes, [this.id, key]);
      transaction.commit();
    });
  }

  /** Lets the database go when what is under way is done; the next call opens it again. */
  close() {
    this.database?.close();
    this.database = undefined;
  }

  /** @param {(records: IDBObjectStore, transaction: IDBTransaction) => void} work */
  async change(work) {
    const database = /** @type {IDBDatabase} */ (this.database);
    const transaction = database.transaction(RECORDS, "readwrite", { durability: "strict" });
    await new Promise((done, failed) => {
      transaction.oncomplete = done;
      transaction.onabort = () =>
        failed(
          transaction.error?.name === "ConstraintError"
            ? new TakenOver(`another page has opened ${this.id}`)
            : plain(transaction.error),
        );
      work(transaction.objectStore(RECORDS), transaction);
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
