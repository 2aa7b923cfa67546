/**
 * The file format of a memory snapshot: what the memory of a Python that has started looks like.
 *
 *    0  "amsnap1\n"
 *    8  SHA-256 of all that follows
 *   40  u32, little endian: length of the header
 *   44  header, JSON (`Facts` and `Layout`), what Pyodide puts before the memory, the bytes of the runs, and of the files
 *
 * `build/snapshot.py` writes it. A run is where the memory differs from that of a runtime that was only just made, which
 * every browser makes anyway: less than half of it. The hash is taken off the main thread while the runtime is still
 * being compiled, so that checking costs no time.
 */

/**
 * @typedef {Uint8Array<ArrayBuffer>} Bytes
 * @typedef {{path: string, url: string, size: number}} Archive where Python looks for it, its address below `vendor/`
 * @typedef {{runtime: string, wheels: string[], archives: Archive[], files: [path: string, length: number][]}} Facts what
 *   the memory was made with: the release of Pyodide, the file names of the wheels, the archives that modules were imported
 *   from, and the files of native packages, which cannot be in the memory
 * @typedef {{preface: number, fresh: number, sum: number, size: number, runs: [at: number, length: number][]}} Layout
 *   bytes before the memory; how much a new runtime fills, and the sum of that; how much is filled in the end
 */

const MAGIC = new TextEncoder().encode("amsnap1\n");
const HASHED = 40;
const HEADER = HASHED + 4;

/** Why there is none to be used: `code` is MISSING, DAMAGED, STALE, UNFIT, INSECURE or OFF. */
export class NoSnapshot extends Error {
  name = "NoSnapshot";
  /** @param {string} code */
  constructor(code) {
    super(`no snapshot: ${code}`);
    this.code = code;
  }
}

/**
 * Checks that every byte is as it was made. Raises NoSnapshot.
 * @param {Bytes} bytes
 */
export async function check(bytes) {
  if (!globalThis.crypto?.subtle) throw new NoSnapshot("INSECURE");
  const wanted = [...MAGIC, ...(await sha256(bytes.subarray(HASHED)))];
  if (bytes.length < HEADER || wanted.some((byte, at) => bytes[at] !== byte)) throw new NoSnapshot("DAMAGED");
}

/**
 * @param {Bytes} bytes checked before
 * @returns {Facts & Layout}
 */
export function readHeader(bytes) {
  return JSON.parse(new TextDecoder().decode(bytes.subarray(HEADER, dataOf(bytes))));
}

/**
 * An array for the preface and the memory, in which only the preface is filled.
 * @param {Bytes} bytes
 * @param {Layout} layout
 */
export function begin(bytes, { preface, size }) {
  const whole = new Uint8Array(preface + size);
  whole.set(bytes.subarray(dataOf(bytes), dataOf(bytes) + preface));
  return whole;
}

/**
 * Fills the rest. Raises NoSnapshot when the new runtime is not as it was where the snapshot was made.
 * @param {Bytes} whole
 * @param {Bytes} bytes
 * @param {Layout} layout
 * @param {Uint8Array} made
 */
export function fill(whole, bytes, { preface, fresh, sum: expected, runs }, made) {
  if (sum(made, fresh) !== expected) throw new NoSnapshot("UNFIT");
  whole.set(made.subarray(0, fresh), preface);
  let next = dataOf(bytes) + preface;
  for (const [at, length] of runs) {
    whole.set(bytes.subarray(next, next + length), preface + at);
    next += length;
  }
}

/**
 * The files of native packages.
 * @param {Bytes} bytes checked before
 * @param {Facts & Layout} header
 * @returns {[path: string, contents: Bytes][]}
 */
export function filesIn(bytes, { preface, runs, files }) {
  let next = runs.reduce((at, [, length]) => at + length, dataOf(bytes) + preface);
  return files.map(([path, length]) => [path, bytes.subarray(next, (next += length))]);
}

/** @param {Bytes} bytes */
const dataOf = (bytes) => HEADER + new DataView(bytes.buffer, bytes.byteOffset).getUint32(HASHED, true);

/**
 * A checksum that costs a millisecond: 31 times what is before a word, plus the word.
 * @param {Uint8Array} memory
 * @param {number} length a multiple of 4
 */
function sum(memory, length) {
  let total = 0;
  for (const word of new Uint32Array(memory.buffer, memory.byteOffset, length / 4)) total = (total * 31 + word) | 0;
  return total;
}

/** @param {Bytes} bytes */
const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
