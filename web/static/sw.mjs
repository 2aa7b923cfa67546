/**
 * The service worker of a built page: keeps one whole release, from which the page starts without a network.
 *
 * `am build` puts the release in front of this file: `const RELEASE = {version, files, later, atOnce}`, with the hash of each
 * file by its path from here. A release is installed as a whole or not at all, since every file is checked against its hash:
 * what a server mixes up while it is being updated fails, and the old release stays. A new one waits until a page asks for
 * it (`pwa.mjs`), or not at all if it was built to be taken at once; from then on every page gets the new one, and the old
 * one is gone. What no start needs (`later`, paths too) is kept when a page asks for it, so that a short visit does not
 * download it. It is a classic script: not every browser takes a module here.
 */

/** @typedef {{version: string, files: Record<string, string>, later: string[], atOnce: boolean}} Release */

// @ts-expect-error stands in front
const { version, files, later, atOnce } = /** @type {Release} */ (RELEASE);
const worker = /** @type {any} */ (self);
const scope = new URL("./", worker.location.href);
const PREFIX = `asyncmachine ${scope.pathname} `;
const NAME = PREFIX + version;
/** Where a cache has the paths of its files by their hashes. */
const HASHES = new URL("hashes.json", scope);

worker.addEventListener("install", (/** @type {any} */ event) => event.waitUntil(install()));
worker.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(activate()));
worker.addEventListener("message", (/** @type {any} */ event) => {
  if (event.data?.type === "TAKE_OVER") event.waitUntil(worker.skipWaiting());
  if (event.data?.type === "REST") event.waitUntil(keepRest());
  // A page that needed some of the rest would not start without it.
  if (event.data?.type === "LOADED" && event.data.loaded.some(isLater)) event.waitUntil(keepRest());
  if (event.data?.type === "RELEASE") event.ports[0].postMessage(version);
});
worker.addEventListener("fetch", (/** @type {any} */ event) => {
  const path = event.request.method === "GET" && ours(event.request.url);
  if (path) event.respondWith(answer(path, event.request));
});

async function install() {
  const cache = await caches.open(NAME);
  const older = await earlier();
  const needed = Object.keys(files).filter((path) => !later.includes(path));
  try {
    await Promise.all(needed.map((path) => put(cache, older, path)));
    for (const path of later) if (await older.get(files[path] ?? "")?.()) await put(cache, older, path);
    await cache.put(HASHES, Response.json(Object.fromEntries(Object.entries(files).map(([path, hash]) => [hash, path]))));
  } catch (error) {
    await caches.delete(NAME);
    throw error;
  }
  if (atOnce) worker.skipWaiting();
}

/** @param {string} address */
const isLater = (address) => later.includes(ours(address) ?? "");

/** Keeps what is not kept yet; what cannot be had, the next page asks for again. */
async function keepRest() {
  const cache = await caches.open(NAME);
  for (const path of later) {
    if (!(await cache.match(at(path)))) await put(cache, new Map(), path).catch(() => undefined);
  }
}

/**
 * Takes a file over from the release before when it is the same there, else from the network.
 * @param {Cache} cache
 * @param {Map<string, () => Promise<Response | undefined>>} older
 * @param {string} path
 */
async function put(cache, older, path) {
  const hash = files[path] ?? "";
  // What has the release in its path never changes there: the browser may have it already.
  const fresh = path.includes(version) ? "default" : "no-cache";
  const response =
    (await older.get(hash)?.()) ?? (await fetch(new Request(at(path), { cache: fresh, integrity: hash })));
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  // Without the address that it came from: a module would import its neighbours from there, which may be an older
  // release, and a page whose answer came by a detour, as from index.html to its folder, would not be shown at all.
  await cache.put(at(path), new Response(response.body, response));
}

/** What earlier releases have, by hash. */
async function earlier() {
  /** @type {Map<string, () => Promise<Response | undefined>>} */
  const found = new Map();
  for (const name of await others()) {
    const cache = await caches.open(name);
    const hashes = (await (await cache.match(HASHES))?.json()) ?? {};
    for (const [hash, path] of Object.entries(hashes)) found.set(hash, () => cache.match(at(path)));
  }
  return found;
}

/** A name may hold what an address has a meaning for, as `#`. @param {string} path */
const at = (path) => new URL(path.split("/").map(encodeURIComponent).join("/"), scope);

const others = async () => (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== NAME);

async function activate() {
  for (const name of await others()) await caches.delete(name);
  await worker.clients.claim();
}

/**
 * The path of a file of this release, undefined for anything else.
 * @param {string} address
 */
function ours(address) {
  const { origin, pathname } = new URL(address);
  if (origin !== scope.origin || !pathname.startsWith(scope.pathname)) return undefined;
  const path = decodeURIComponent(pathname.slice(scope.pathname.length));
  return [path, `${path}index.html`].find((found) => Object.hasOwn(files, found));
}

/**
 * @param {string} path
 * @param {Request} request
 */
async function answer(path, request) {
  const cache = await caches.open(NAME);
  return (await cache.match(at(path))) ?? fetch(request);
}
