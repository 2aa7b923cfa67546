/** Boots a page without PyScript: `main` of its settings is run as soon as Python is there. */
import { currentSettings, loadPyodide } from "./boot.mjs";

const python = await loadPyodide();
const { main = "" } = currentSettings();
const [module = "", name = ""] = main.split(":");
try {
  const called = python.pyimport(module)[name];
  if (!called) throw new Error(`there is no ${name} in it`);
  await called();
} catch (error) {
  // A traceback's last line says what it is; all of it goes to the console.
  const why = String(/** @type {Error} */ (error).message).trim().split("\n").at(-1);
  const detail = { phase: "failed", attempt: 1, code: "MAIN", message: `${main} failed: ${why}` };
  dispatchEvent(new CustomEvent("asyncmachine:boot", { detail }));
  throw error;
}
