from light import light, step
from pyscript import sync, window

machine = light()


def on_step() -> str:
    """Called by the page, which is told the new colour."""
    step(machine)
    return str(machine.active_states()[0])


sync.step = on_step
window.document.querySelector("#light").textContent = machine.active_states()[0]
window.document.body.id = "ready"
