"""Which states an expression reads, so that it is evaluated again only when one of them ticked.

An expression is a function of a `Source`, a machine seen by the page. While it runs, each of its reads is noted: a pair
of what was read (a `Source` or a `Value`) and a key in it (the index of a state). What is read tells its reader that
something changed, and which keys did when the reader asks, once a frame. Nothing here knows the document.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from asyncmachine import Tracer

if TYPE_CHECKING:
    from asyncmachine import Transition
    from asyncmachine.machine.view import View

T = TypeVar("T")
Reads = set[tuple["Readable", int]]

EVERY = -1
"""The key of a read that depends on all states."""


class Readable(Protocol):
    """What expressions read. Compared by identity."""

    def start(self, touched: Callable[[Readable], None]) -> None:
        """Begin to call `touched` after each change."""

    def stop(self) -> None:
        """End the calls."""

    def changes(self) -> set[int]:
        """Keys that changed since the last call."""


_noted: Reads | None = None


def note(readable: Readable, keys: Iterable[int]) -> None:
    """Record a read in the expression that runs now, if one does."""
    if _noted is not None:
        _noted.update((readable, key) for key in keys)


def evaluate(expression: Callable[[], T], reads: Reads) -> T:
    """The value of the expression; what it read is added to `reads`, also when it raises."""
    global _noted
    outer, _noted = _noted, reads
    try:
        return expression()
    finally:
        _noted = outer


class Value(Generic[T]):
    """A plain value that expressions read, for figures that are not states, such as those of a payload."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._touched: Callable[[Readable], None] | None = None
        self._changed = False

    def get(self) -> T:
        note(self, (0,))
        return self._value

    def set(self, value: T) -> None:
        self._value = value
        self._changed = True
        if self._touched:
            self._touched(self)

    def update(self, change: Callable[[T], T]) -> None:
        """Set the value to `change(value)`, which should make a new object: an equal one is not shown anew."""
        self.set(change(self._value))

    def start(self, touched: Callable[[Readable], None]) -> None:
        self._touched = touched

    def stop(self) -> None:
        self._touched = None

    def changes(self) -> builtins.set[int]:
        changed, self._changed = self._changed, False
        return {0} if changed else set()


class Source(Tracer):
    """The read half of a machine, local or mirrored, that notes which states were read.

    `machine` is the machine itself, whose reads are not noted.
    """

    def __init__(self, machine: View[Any], *, on_stop: Callable[[], object] = lambda: None) -> None:
        self.machine = machine
        self._on_stop = on_stop
        self._touched: Callable[[Readable], None] | None = None
        self._trace = ""
        self._seen: tuple[int, ...] = ()

    def is_(self, *states: str) -> bool:
        self._note(states)
        return self.machine.is_(*states)

    def not_(self, *states: str) -> bool:
        self._note(states)
        return self.machine.not_(*states)

    def any_(self, *states: str) -> bool:
        self._note(states)
        return self.machine.any_(*states)

    def __contains__(self, state: str) -> bool:
        return self.is_(state)

    def tick(self, state: str) -> int:
        self._note((state,))
        return self.machine.tick(state)

    def active_states(self, states: Iterable[str] | None = None) -> tuple[str, ...]:
        names = None if states is None else tuple(states)
        self._note(names)
        return self.machine.active_states(names)

    def switch(self, group: Iterable[str]) -> str | None:
        """The first active state of the group."""
        active = self.active_states(group)
        return active[0] if active else None

    def _note(self, states: tuple[str, ...] | None) -> None:
        note(self, (EVERY,) if states is None else map(self.machine.index, states))

    def start(self, touched: Callable[[Readable], None]) -> None:
        self._touched = touched
        self._seen = self.machine.time()
        self._trace = self.machine.trace(self)

    def stop(self) -> None:
        self.machine.untrace(self._trace)
        self._touched = None
        self._on_stop()

    def changes(self) -> set[int]:
        before, self._seen = self._seen, self.machine.time()
        if len(before) != len(self._seen):  # disposed, or the schema changed and indexes mean other states
            return {EVERY, *range(len(before))}
        changed = {index for index, (was, now) in enumerate(zip(before, self._seen, strict=True)) if was != now}
        return changed | {EVERY} if changed else changed

    def transition_end(self, tx: Transition) -> None:
        if self._touched:
            self._touched(self)

    def machine_dispose(self, machine_id: str) -> None:
        if self._touched:
            self._touched(self)
