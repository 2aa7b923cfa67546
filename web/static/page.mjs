/** Boots a page without PyScript: `main` of its settings is run as soon as Python is there. */
import { currentSettings, loadPyodide } from "./boot.mjs";

const python = await loadPyodide();
const [module = "", name = ""] = (currentSettings().main ?? "").split(":");
await python.pyimport(module)[name]();
