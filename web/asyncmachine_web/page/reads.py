"""Which states an expression reads, so that it is evaluated again only when one of them ticked.

An expression is a function of a `Source`, a machine seen by the page. While it runs, each of its reads is noted: a pair
of what was read (a `Source` or a `Value`) and a key in it (the index of a state). What is read tells its reader that
something changed, and which keys did when the reader asks, once a frame. Nothing here knows the document.
"""

from __future__ import annotations

import asyncio
import builtins
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import compress
from operator import ne
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from asyncmachine import Tracer

if TYPE_CHECKING:
    from asyncmachine import Transition
    from asyncmachine.machine.plan import Plan
    from asyncmachine.machine.view import View

T = TypeVar("T")
Reads = set[tuple["Readable", int]]
Touched: TypeAlias = "Callable[[Readable], None]"
"""How a reader, a page, is told of a change. Of what is read there may be several."""

EVERY = -1
"""The key of a read that depends on all states."""


class Readable(Protocol):
    """What expressions read. Compared by identity."""

    def start(self, touched: Touched) -> None:
        """Begin to call `touched` after each change."""

    def stop(self, touched: Touched) -> None:
        """End the calls."""

    def changes(self, touched: Touched) -> set[int]:
        """Keys that changed since the last call for that reader, which was told that some did."""


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


class Single:
    """Something with one key, which has changed whenever its readers are told so."""

    def __init__(self) -> None:
        self._readers: dict[Touched, None] = {}

    def start(self, touched: Touched) -> None:
        self._readers[touched] = None

    def stop(self, touched: Touched) -> None:
        del self._readers[touched]

    def changes(self, touched: Touched) -> builtins.set[int]:
        return {0}

    def _tell(self) -> None:
        for touched in tuple(self._readers):
            touched(self)


class Value(Single, Generic[T]):
    """A plain value that expressions read, for figures that are not states, such as those of a payload."""

    def __init__(self, value: T) -> None:
        super().__init__()
        self._value = value

    def get(self) -> T:
        note(self, (0,))
        return self._value

    def set(self, value: T) -> None:
        self._value = value
        self._tell()

    def update(self, change: Callable[[T], T]) -> None:
        """Set the value to `change(value)`, which should make a new object: an equal one is not shown anew."""
        self.set(change(self._value))


class Clock(Single):
    """The time of day, in seconds, for texts such as "3 s ago": changes every `every` seconds while it is read."""

    def __init__(self, every: float = 1.0, now: Callable[[], float] = time.time) -> None:
        super().__init__()
        self.every = every
        self._now = now
        self._alarm: asyncio.TimerHandle | None = None

    def get(self) -> float:
        note(self, (0,))
        return self._now()

    def start(self, touched: Touched) -> None:
        if not self._readers:
            self._set_alarm()
        super().start(touched)

    def stop(self, touched: Touched) -> None:
        super().stop(touched)
        if self._alarm is not None and not self._readers:
            self._alarm.cancel()

    def _set_alarm(self) -> None:
        # At full seconds: all clocks of a page change in the same frame.
        left = self.every - self._now() % self.every
        self._alarm = asyncio.get_running_loop().call_later(left, self._strike)

    def _strike(self) -> None:
        self._set_alarm()
        self._tell()


@dataclass(frozen=True)
class Mark:
    """How it was when a state was last activated, as far as the page was there to see."""

    tick: int
    """Of that state."""
    ticks: tuple[int, ...]
    """Of all states."""
    at: float
    """Seconds, monotonic."""


class Source(Tracer):
    """The read half of a machine, local or mirrored, that notes which states were read.

    `machine` is the machine itself, whose reads are not noted. `stale` is the question whether what a mirror shows may
    have changed without its knowledge.
    """

    def __init__(self, machine: View[Any], *, stale: Callable[[], bool] = lambda: False) -> None:
        self.machine = machine
        self._stale = stale
        self._trace = ""
        self._seen: dict[Touched, tuple[int, ...]] = {}
        """By reader, the ticks that it knows."""
        self._marks: dict[int, Mark] = {}
        self._seconds = Clock()
        self._elapsed: dict[str, float] = {}
        """What `elapsed` said last, while there was a connection."""

    @property
    def stale(self) -> bool:
        """True while a mirror, or one that it mirrors, has no connection to its source. A machine is never stale."""
        return self._stale()

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
        index = self.machine.index(state)
        if index == EVERY:
            self._note((state,))
        elif _noted is not None:  # as `_note` does, without its detours: the read that pages make most
            _noted.add((self, index))
        return self.machine.tick(state)

    def count(self, state: str) -> int:
        """How often the state was activated; calls of an active Multi state count."""
        return (self.tick(state) + 1) // 2

    def time(self, states: Iterable[str] | None = None) -> tuple[int, ...]:
        """Ticks of the states, or of all."""
        names = None if states is None else tuple(states)
        self._note(names)
        return self.machine.time(names)

    def clock(self, states: Iterable[str] | None = None) -> Mapping[str, int]:
        """Ticks by name."""
        names = None if states is None else tuple(states)
        self._note(names)
        return self.machine.clock(names)

    def since(self, mark: str, state: str) -> int:
        """How often `state` was activated after the last activation of `mark`, or after the page began to look."""
        self.not_(mark, state)  # raises StateMissing, with the nearest name
        if self.machine.is_disposed:
            return 0
        before = self._mark(mark).ticks[self.machine.index(state)]
        return (self.machine.tick(state) + 1) // 2 - (before + 1) // 2

    def elapsed(self, state: str) -> float | None:
        """Seconds since the state became active, or since the page began to look; None when it is not active.

        Evaluated again each second. Of a mirror without a connection it is what it was when that was cut.
        """
        if not self.is_(state):
            return None
        if not self.stale:
            self._seconds.get()
            self._elapsed[state] = time.monotonic() - self._mark(state).at
        return self._elapsed.get(state)

    def active_states(self, states: Iterable[str] | None = None) -> tuple[str, ...]:
        names = None if states is None else tuple(states)
        self._note(names)
        return self.machine.active_states(names)

    def switch(self, group: Iterable[str]) -> str | None:
        """The first active state of the group."""
        active = self.active_states(group)
        return active[0] if active else None

    def _note(self, states: tuple[str, ...] | None) -> None:
        """Raises `StateMissing` for an unknown name, which would never be active: a slip that nothing else shows."""
        keys = [EVERY] if states is None else [self.machine.index(state) for state in states]
        note(self, keys)  # also an unknown one: all may change with the schema
        if states is not None and EVERY in keys and self.machine.names:  # a mirror may have to learn them first
            self.machine.not_(*states)

    def start(self, touched: Touched) -> None:
        if not self._seen:
            self._trace = self.machine.trace(self)
        self._seen[touched] = self.machine.time()

    def stop(self, touched: Touched) -> None:
        del self._seen[touched]
        if not self._seen:
            self.machine.untrace(self._trace)
            self._marks.clear()

    def changes(self, touched: Touched) -> set[int]:
        before, after = self._seen[touched], self.machine.time()
        self._seen[touched] = after
        if len(before) != len(after):  # disposed, or the schema changed and indexes mean other states
            return {EVERY, *range(len(before))}
        changed = {*compress(range(len(after)), map(ne, before, after))}
        return changed | {EVERY} if changed else changed

    def transition_end(self, tx: Transition) -> None:
        self._changed()

    def transition_plain(self, machine: View[Any], plan: Plan, auto: Plan | None, queue_tick: int) -> None:
        self._changed()

    def schema_change(self, machine: View[Any], old: object) -> None:
        self._marks.clear()  # indexes mean other states
        self._changed()

    def machine_restore(self, machine: View[Any]) -> None:
        self._marks.clear()
        self._changed()

    def machine_dispose(self, machine_id: str) -> None:
        self._changed()

    def _changed(self) -> None:
        if self._marks:
            self._move_marks()
        for touched in tuple(self._seen):
            touched(self)

    def _mark(self, state: str) -> Mark:
        index = self.machine.index(state)
        mark = self._marks.get(index)
        if mark is None:
            mark = self._marks[index] = self._now(index)
        return mark

    def _now(self, index: int) -> Mark:
        ticks = self.machine.time()
        return Mark(ticks[index], ticks, time.monotonic())

    def _move_marks(self) -> None:
        """Not once a frame but with each transition: what follows a mark within the same frame counts too."""
        ticks = self.machine.time()
        for index, mark in self._marks.items():
            if index < len(ticks) and ticks[index] & 1 and ticks[index] != mark.tick:
                self._marks[index] = self._now(index)
