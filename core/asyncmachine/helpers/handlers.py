"""Ready-made handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncmachine.machine.names import HANDLER_SUFFIXES


def remove_multi(state: str) -> Callable[..., None]:
    """A final handler that takes a state away again, for one that stands for an action::

    class Handlers:
        ClickState = remove_multi("Click")
    """

    def removed(*args: Any) -> None:
        args[-1].remove(state)

    return removed


def handler_to_state(name: str) -> str:
    """`Foo` for `FooState`, `FooEnter`, `FooEnd` and `FooExit`. Any other name stays as it is."""
    for suffix in HANDLER_SUFFIXES:
        name = name.removesuffix(suffix)
    return name
