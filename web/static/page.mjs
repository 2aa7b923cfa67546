/** Boots a page without PyScript: `main` of its settings is run as soon as Python is there. */
import { currentSettings, loadPyodide } from "./boot.mjs";

/** @type {(message: string, again: boolean) => boolean} */
const failed = (message, again) => {
  const detail = { phase: "failed", attempt: 1, code: "MAIN", message, again };
  return dispatchEvent(new CustomEvent("asyncmachine:boot", { detail }));
};

const python = await loadPyodide();
await python.pyimport("asyncmachine_web.page.mains").run(currentSettings().main ?? "", failed);
