import { loadPyodide } from "/boot.mjs";

window.python = await loadPyodide();
window.python.runPython(`
import asyncmachine as am
machine = am.Machine({"Ready": {}}, id="bench")
machine.add("Ready")
`);
performance.mark("python ready");
document.body.id = "python";
