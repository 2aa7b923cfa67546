/** Boots a page without PyScript: `main` of its settings is run as soon as Python is there. */
import { currentSettings, loadPyodide } from "./boot.mjs";

/** Why a module is not there. */
const OTHERS =
  'A page has the standard library and what "packages" in pyproject.toml names; micropip installs other wheels';

const python = await loadPyodide();
const { main = "" } = currentSettings();
const [module = "", name = ""] = main.split(":");
try {
  const called = python.pyimport(module)[name];
  if (!called) throw new Error(`there is no ${name} in it`);
  await python.pyimport("asyncmachine_web.page.loop").run_main(called);
} catch (error) {
  const detail = { phase: "failed", attempt: 1, code: "MAIN", message: `${main} failed: ${told(error)}` };
  dispatchEvent(new CustomEvent("asyncmachine:boot", { detail }));
  throw error;
}

/**
 * A traceback's last line says what it is; all of it goes to the console. Of code that is no Python it tells where.
 * @param {unknown} error
 */
function told(error) {
  const trace = String(/** @type {Error} */ (error).message).trim();
  const [, file, line] = /^ *File "([^"]+)", line (\d+)$/m.exec(trace) ?? [];
  const why = trace.split("\n").at(-1);
  if (file) return `${why} (${file}, line ${line})`;
  return why?.startsWith("ModuleNotFoundError") ? `${why}. ${OTHERS}` : why;
}
