// Our package in a Pyodide that the page starts by itself. Our lock file names it, and what it needs.
import { loadPyodide } from "/vendor/pyodide/pyodide.mjs";
import * as ui from "/ui.mjs";

const python = await loadPyodide({
  lockFileURL: "/vendor/wheels/pyodide-lock.json",
  packageBaseUrl: new URL("/vendor/wheels/", location.href).href,
  packages: ["asyncmachine"],
});
python.registerJsModule("asyncmachine_js", { ui }); // for asyncmachine_web.page.ui
for (const name of ["light.py", "main.py"]) {
  const text = await (await fetch(name)).text();
  python.FS.writeFile(name, text);
}
await python.runPythonAsync("import main");
