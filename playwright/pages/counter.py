"""A counter machine bound to a document: text, class, attribute, visibility, a list and two kinds of events."""

from __future__ import annotations

import asyncmachine as am
from asyncmachine_web.page.reads import Source
from asyncmachine_web.page.ui import Page, UiEvent


class Counter(am.StatesDef):
    Ready = am.state()
    Click = am.state(multi=True)
    Even = am.state()


class CounterHandlers:
    def ClickState(self, e: am.Event) -> None:
        e.remove(Counter.Click)
        e.machine.toggle(Counter.Even, e=e)


def show() -> None:
    """Mount the page; `window.counter` lets a test change the machine without the page's events."""
    import js
    from pyodide.ffi import create_proxy

    machine = am.Machine(Counter, CounterHandlers(), id="counter")
    page = Page(machine)
    rows = page.value([{"id": 1, "name": "<b>one</b>"}])

    def text(m: Source) -> str:
        return f"{m.tick(Counter.Click) // 2} clicks"

    def add_row(event: UiEvent) -> None:
        rows.update(lambda old: [*old, {"id": len(old) + 1, "name": event.data["name"]}])

    def add(state: str) -> None:
        machine.add(state)  # type: ignore[arg-type]

    page.bind("#badge", text=text, cls={"on": Counter.Ready}, attr={"data-even": Counter.Even})
    page.bind("#even", visible=Counter.Even)
    page.each("#rows", rows, '<li data-id="{id}">{name}</li>')
    page.on("click", "[data-action=add]", Counter.Click)
    page.on("click", "[data-action=row]", add_row)
    js.counter = {"add": create_proxy(add)}["add"]
    js.bindings = create_proxy(lambda: len(page._bindings))
    machine.add(Counter.Ready)
