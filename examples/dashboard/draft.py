"""A draft of the form that outlives its page: reloaded or crashed, what was typed and not sent is there again."""

from __future__ import annotations

import asyncmachine as am
from asyncmachine_web.page import durable
from asyncmachine_web.page.ui import Page, UiEvent

EMPTY = {"title": "", "steps": "10"}


class Draft(am.StatesDef):
    """`Typed` ticks with each change, and goes when the form is empty again, as it is when it was sent."""

    Typed = am.state(multi=True)


async def keep_draft(page: Page) -> durable.DurableMachine[Draft]:
    """Fills the form as it was left, and keeps what is typed from now on. Of several tabs, the last keeps its own.

    What was typed before, while the page was loading, stays and is part of the draft.
    """
    fields = {name: page.value(text) for name, text in EMPTY.items()}

    def save() -> dict[str, str]:
        return {name: field.get() for name, field in fields.items()}

    def load(kept: dict[str, str]) -> None:
        for name, field in fields.items():
            field.set(kept[name])

    machine = await durable.open(Draft, id="dashboard-draft", save=save, load=load)
    kept = page.value(machine.tick(Draft.Typed))
    # Told when it is on disk, not before; nor where the browser stores nothing, or another page has it by now.
    machine.keeping.bind(
        {"KeptState": lambda _: kept.set(machine.tick(Draft.Typed)), "InMemoryState": lambda _: kept.set(0)}
    )

    def typed(event: UiEvent) -> None:
        load(event.form)
        keep()

    def keep() -> None:
        if save() == EMPTY:
            machine.remove(Draft.Typed)
        else:
            machine.add(Draft.Typed)

    left = save()
    for name, field in fields.items():
        page.bind(f"#{name}", machine, value=field)  # takes over what was typed already
    page.on("input", "#add", typed)
    if save() != left:
        keep()
    page.bind(
        "#draft",
        machine,
        visible=lambda m: Draft.Typed in m and kept.get() == m.tick(Draft.Typed),
        attr={"data-kept": kept},
    )
    return machine
