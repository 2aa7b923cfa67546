import asyncmachine as am
from asyncmachine_web.page.ui import Page


class Counter(am.StatesDef):
    Click = am.state(multi=True)


machine = am.Machine(Counter, id="counter")
page = Page(machine)
page.bind("#count", text=lambda m: m.count(Counter.Click))
page.on("click", "#add", Counter.Click)
