import { loadPyodide } from "../boot.mjs";

window.python = await loadPyodide();
document.body.id = "python"; // what a test waits for: the content policy keeps it from evaluating expressions
