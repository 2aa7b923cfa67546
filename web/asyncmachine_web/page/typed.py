"""What a person's change of a bound field does: it sets a value, switches a state, or is put right again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from asyncmachine_web.page.bindings import Plain, as_text
from asyncmachine_web.page.reads import Value

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
