// Our package installed by micropip from the plain address of a wheel, as one does with a wheel that was just built.
import { loadPyodide } from "/vendor/pyodide/pyodide.mjs";
import * as ui from "/ui.mjs";

const lock = await (await fetch("/vendor/wheels/pyodide-lock.json")).json();
const wheel = new URL(`/vendor/wheels/${lock.packages.asyncmachine.file_name}`, location.href).href;
delete lock.packages.asyncmachine; // not to be found there, so that the wheel must come from its address

const python = await loadPyodide({
  lockFileContents: JSON.stringify(lock),
  packageBaseUrl: new URL("/vendor/wheels/", location.href).href,
  packages: ["micropip"],
});
python.registerJsModule("asyncmachine_js", { ui });
const micropip = python.pyimport("micropip");
await micropip.install(wheel);
for (const name of ["light.py", "main.py"]) {
  const text = await (await fetch(name)).text();
  python.FS.writeFile(name, text);
}
await python.runPythonAsync("import main");
