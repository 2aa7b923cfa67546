"""What becomes of a person's doing: a state is added, a value set, a state switched, or a field put right again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from asyncmachine_web.page.bindings import Plain, as_text
from asyncmachine_web.page.reads import Value
from asyncmachine_web.page.surface import UiEvent

Use: TypeAlias = Callable[[Plain], Plain]
"""Takes what was typed (a text, or whether it is checked); what the field shows from then on."""


def sets(value: Value[Any]) -> Use:
    """Numbers stay numbers: a text that is none leaves the value as it was. What the field shows is not touched."""

    def use(typed: Plain) -> Plain:
        kind = type(value.get())
        try:
            value.set(kind(typed) if kind in {int, float} else typed)
        except ValueError:
            return typed
        return typed if isinstance(typed, bool) else as_text(value.get())

    return use


def switches(state: str, machine: Any, again: Callable[[], None]) -> Use:
    """The outcome decides what is shown: a mutation that was canceled puts the field back."""

    def use(typed: Plain) -> Plain:
        result = machine.add(state) if typed else machine.remove(state)
        result.then(again)
        return typed

    return use


def puts_right(again: Callable[[], None]) -> Use:
    """What is computed cannot be set: the field shows it again."""

    def use(typed: Plain) -> Plain:
        again()
        return typed

    return use


def adds(state: str, machine: Any, args: Callable[[UiEvent], object] | None) -> Callable[[UiEvent], object]:
    """A handler that adds the state, with the arguments that `args` makes of the event. Raises StateMissing."""
    machine.not_(state)  # raises StateMissing, with the nearest name

    def add(event: UiEvent) -> None:
        # Not awaited: a call that fails becomes an error state of the machine, as any other that nobody waits for.
        if not event.reset:
            machine.add(state, args(event) if args else None)

    return add
