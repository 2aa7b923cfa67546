import { loadPyodide } from "/vendor/pyodide/pyodide.mjs";

/** Returns when Python has run. */
export async function bare() {
  const at = (path) => new URL(path, location.href).href;
  const python = await loadPyodide({ indexURL: at("/vendor/pyodide/"), lockFileURL: at("/vendor/wheels/pyodide-lock.json") });
  python.runPython("1 + 1");
}
