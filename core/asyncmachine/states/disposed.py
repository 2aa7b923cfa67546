"""Cleaning up before a machine goes.

A machine with these states is disposed by adding `Disposing`. Its `DisposedHandlers` then run what was registered, one
after another, add `Disposed`, and dispose the machine for good::

    class Handlers(DisposedHandlers):
        def StartState(self, e: Event) -> None:
            e.add("RegisterDisposal", {DISPOSAL: close_the_files})
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Final

from asyncmachine.machine.errors import InvalidArgs
from asyncmachine.machine.event import Event
from asyncmachine.machine.schema import StatesDef, state
from asyncmachine.machine.scope import Scope

DISPOSAL: Final = "DisposedArgHandler"
"""Key of the callback in the arguments of `RegisterDisposal`."""

DisposalCallback = Callable[[str, Scope], Awaitable[object] | object]
"""Called with the machine's id and the scope of `Disposing`. May be a coroutine function."""


class Disposed(StatesDef):
    """An ending in two steps. Needs `Start`, which both of them remove."""

    RegisterDisposal = state(multi=True)
    Disposing = state(remove=("Start", "Exception"))
    Disposed = state(remove=("Start", "Exception", Disposing))


class DisposedHandlers:
    """Handlers for `Disposed`. An overridden `DisposingState` awaits this one at its end."""

    def __init__(self) -> None:
        self._disposals: list[DisposalCallback] = []

    def RegisterDisposalEnter(self, e: Event) -> bool:
        """Refuses anything but a callable, and says so."""
        if callable(e.raw_args.get(DISPOSAL)):
            return True
        if not e.is_check:
            e.machine.add_err(InvalidArgs(f"RegisterDisposal needs a callable under the key {DISPOSAL!r}"), e=e)
        return False

    def RegisterDisposalState(self, e: Event) -> None:
        self._disposals.append(e.raw_args[DISPOSAL])

    async def DisposingState(self, e: Event) -> None:
        """Runs the callbacks in order. One that raises becomes an error of the machine and does not stop the others."""
        for callback in self._disposals:
            try:
                outcome = callback(e.machine.id, e.scope)
                if isawaitable(outcome):
                    await outcome
            except Exception as error:  # noqa: BLE001 (whatever it is, the other callbacks have to run)
                e.machine.add_err(error, e=e)
        e.add("Disposed")

    async def DisposedState(self, e: Event) -> None:
        # A coroutine, so that it runs after the transition: a machine cannot go in the middle of one.
        e.machine.dispose()
