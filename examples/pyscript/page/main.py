from light import light, step

from asyncmachine_web.page.ui import Page

machine = light()
page = Page(machine)
page.bind("#light", text=lambda m: m.active_states()[0], attr={"data-colour": lambda m: m.active_states()[0]})
page.bind("#steps", text=lambda m: sum(m.time()) // 2)
page.on("click", "#step", lambda _: step(machine))
