/**
 * Records of durable machines in IndexedDB: bytes, by the machine's id and a key.
 *
 * A page claims them from the owner that it has found when it read them, or not at all: it may have stood still since.
 *
 * Each opening leaves a token of its own beside them, and a mark for the token it found there: a page that has been
 * overtaken by another, whatever it missed meanwhile, cannot write any more, for a write begins by adding the mark of its
 * own token, which fails if it is there. So a write asks nothing and waits for nothing: it is in the browser's hands when
 * it has begun, even if the page goes at once. It is done when it is on disk.
 *
 * Only a write that has to open the records again looks for its token first: with the site's data it may have been
 * cleared, and what is written on must then be whole. The marks are gone as well, so the token that is newer wins.
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

/** The site's data were cleared. */
class Emptied extends Error {
  name = "Emptied";
}

/** They have another owner than when they were read. */
class ClaimedMeanwhile extends Error {
  name = "ClaimedMeanwhile";
}

export class Records {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    this.token = "";
    /** The token that stood there at the last reading; null before. @type {string | undefined | null} */
    this.seen = null;
    /** Whether the token is the one that stands in the open database. */
    this.sure = false;
    /** @type {Promise<void> | undefined} */
    this.reopening = undefined;
    /** Called when it was not we who closed the records: they may have been cleared. */
    this.lost = () => {};
    /** @type {IDBDatabase | undefined} */
    this.database = undefined;
  }

  /** Reads the records, and takes them over if asked to. @param {boolean} claim @returns {Promise<Entry[]>} */
  async read(claim) {
    if (!this.database) await this.open();
    /** @type {Entry[]} */
    const found = [];
    let late = false;
    await this.change((records) => {
      owner(records, this.id, (before) => {
        if (!claim) this.seen = before;
        else if (this.seen === null || this.seen === before) this.claim(records, before);
        else late = true;
      });
      const all = IDBKeyRange.bound([this.id, OWNER, []], [this.id, []], true);
      records.openCursor(all).onsuccess = (event) => {
        const cursor = /** @type {IDBRequest<IDBCursorWithValue | null>} */ (event.target).result;
        if (!cursor) return;
        found.push([/** @type {[string, string]} */ (cursor.key)[1], cursor.value]);
        cursor.continue();
      };
    });
    if (late) throw new ClaimedMeanwhile(`another page has opened ${this.id} meanwhile`);
    this.sure ||= claim;
    return found;
  }

  /**
   * @param {IDBObjectStore} records
   * @param {string | undefined} before
   */
  claim(records, before) {
    // In the order of time, so that the oldest marks go first. An insecure origin has no `randomUUID`.
    this.token = `${Date.now().toString(36)} ${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
    const marks = IDBKeyRange.bound([this.id, OWNER, ""], [this.id, OWNER, []]);
    records.getAllKeys(marks).onsuccess = (event) => {
      const keys = /** @type {IDBRequest<IDBValidKey[]>} */ (event.target).result;
      for (const key of keys.slice(0, -MARKS)) records.delete(key);
    };
    this.own(records, before);
  }

  /**
   * @param {IDBObjectStore} records
   * @param {string | undefined} before
   */
  own(records, before) {
    if (before) records.put(true, [this.id, OWNER, before]);
    records.put(this.token, [this.id, OWNER]);
  }

  /**
   * All of it or nothing. It is under way when this returns, if the records are open.
   * @param {Entry[]} puts
   * @param {string[]} drops
   */
  async write(puts, drops) {
    if (!this.sure) await (this.reopening ??= this.reopen().finally(() => (this.reopening = undefined)));
    await this.change((records, transaction) => {
      this.check(records);
      for (const key of drops) records.delete([this.id, key]);
      for (const [key, bytes] of puts) records.put(bytes, [this.id, key]);
      transaction.commit();
    });
  }

  /** Fails when another page has opened the records. @param {IDBObjectStore} records */
  check(records) {
    const mark = [this.id, OWNER, this.token];
    records.add(true, mark);
    records.delete(mark);
  }

  /** Finds its own token there, or puts it back; a write of changes alone is refused then. */
  async reopen() {
    await this.open();
    let found = "";
    await this.change((records) => {
      this.check(records);
      owner(records, this.id, (token = "") => {
        found = token;
        if (token < this.token) this.own(records, token);
      });
    });
    if (found > this.token) throw this.overtaken();
    this.sure = true;
    if (found !== this.token) throw new Emptied(`the browser has cleared what was kept of ${this.id}`);
  }

  overtaken() {
    return new TakenOver(`another page has opened ${this.id}`);
  }

  /** Lets the database go when what is under way is done; the next call opens it again. */
  close() {
    this.database?.close();
    this.database = undefined;
    this.sure = false;
  }

  /** @param {(records: IDBObjectStore, transaction: IDBTransaction) => void} work */
  async change(work) {
    const database = /** @type {IDBDatabase} */ (this.database);
    const transaction = database.transaction(RECORDS, "readwrite", { durability: "strict" });
    await new Promise((done, failed) => {
      transaction.oncomplete = done;
      transaction.onabort = () =>
        failed(transaction.error?.name === "ConstraintError" ? this.overtaken() : plain(transaction.error));
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
    database.onversionchange = database.onclose = () => {
      this.close();
      this.lost();
    };
    this.database = database;
  }
}

/**
 * @param {IDBObjectStore} records
 * @param {string} id
 * @param {(token: string | undefined) => void} found
 */
function owner(records, id, found) {
  const request = records.get([id, OWNER]);
  request.onsuccess = () => found(request.result);
}

/**
 * An error that Python knows for one: it does not take the newer classes of the browser's own.
 * @param {DOMException | null} error
 */
function plain(error) {
  const { name, message } = error ?? { name: "AbortError", message: "the browser gave up" };
  return Object.assign(new Error(message), { name });
}
