// Pyodide as an interpreter of PyScript, with nothing of ours but the lock file.
import { loadPyodide as load, version } from "/vendor/pyodide/pyodide.mjs";

export { version };
const at = (path) => new URL(path, location.origin).href;
export const loadPyodide = (options = {}) =>
  load({ ...options, indexURL: at("/vendor/pyodide/"), lockFileURL: at("/vendor/wheels/pyodide-lock.json") });
