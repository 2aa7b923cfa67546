"""What PyScript runs: the rest is a package, since tests and workers import it too."""

from examples.wasm_workflow.browser import page

page()
