/**
 * Starts Pyodide under node, with our modules in it, and writes down what its memory looks like.
 *
 *     node snapshot.mjs STATIC TARGET       paths of the folder of runtime.mjs, and of one for what snapshot.py packs
 */
import { readFile, stat, writeFile } from "node:fs/promises";
import process from "node:process";
import { pathToFileURL } from "node:url";

const [home = "", target = ""] = process.argv.slice(2);
const size = async (/** @type {string} */ url) => (await stat(`${home}/vendor/${url}`)).size;
const wheel = async (/** @type {string} */ name) => new Uint8Array(await readFile(`${home}/vendor/wheels/${name}`));

/** @type {typeof import("../../static/runtime.mjs")} */
const { capture, version } = await import(pathToFileURL(`${home}/runtime.mjs`).href);

const lock = await readFile(`${home}/vendor/wheels/pyodide-lock.json`, "utf8");
const { asyncmachine, msgspec } = JSON.parse(lock).packages;
const wheels = [asyncmachine.file_name, msgspec.file_name];
const ours = { name: wheels[0], bytes: await wheel(wheels[0]) };
const { path, files, ...parts } = await capture(lock, ours, [await wheel(wheels[1])]);

const library = "pyodide/python_stdlib.zip";
const archives = [
  { path: "/lib/python314.zip", url: library, size: await size(library) },
  { path, url: `wheels/${ours.name}`, size: ours.bytes.length },
];
const contents = new Uint8Array(await new Blob(files.map(([, bytes]) => bytes)).arrayBuffer());
for (const [name, bytes] of Object.entries({ ...parts, contents })) await writeFile(`${target}/${name}`, bytes);
const lengths = files.map(([file, bytes]) => [file, bytes.length]);
await writeFile(`${target}/facts`, JSON.stringify({ runtime: version, wheels, archives, files: lengths }));
process.exit(0); // Python does not end by itself
