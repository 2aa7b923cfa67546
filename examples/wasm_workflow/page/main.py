from examples.wasm_workflow.browser import page

page()
