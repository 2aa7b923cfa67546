import { loadPyodide } from "./plain.mjs";

window.python = await loadPyodide();
document.body.id = "python";
