"""Waits for states, ticks, times, arguments and the queue.

Each kind is a `Wait` that knows its own condition over the ticks. They are filed under the states they read, so that a
transition looks only at those whose ticks it changed; a machine that nobody waits on has no `Subscriptions` at all.
Conditions are checked when the wait is made and after each transition that changed a tick they read (`WhenArgs`: while
the state's handlers run; `WhenQueue`: when the mutation of that tick has finished).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from asyncmachine.machine.args import Args
from asyncmachine.machine.errors import AmError, QueryFailed, ScopeEnded
from asyncmachine.machine.scope import Scope
from asyncmachine.machine.wait import Shelf, Wait, held

Ticks = Sequence[int]


class StatesWait(Wait):
    """Ends when all of its states are active at once (`odd`), or all inactive."""

    __slots__ = ("names", "odd", "reads")

    def __init__(self, names: tuple[str, ...], reads: tuple[int, ...], odd: int) -> None:
        # `Once.__init__`, written out: many are made.
        self._ended = False
        self._error = None
        self._callbacks = None
        self.names = names
        self.reads = reads
        self.odd = odd

    def __str__(self) -> str:
        return f"{' and '.join(self.names)} {'active' if self.odd else 'inactive'}"

    def met(self, ticks: Ticks) -> bool:
        odd = self.odd
        for i in self.reads:  # noqa: SIM110 (a loop is twice as fast as all() here)
            if ticks[i] & 1 != odd:
                return False
        return True


class TimeWait(Wait):
    """Ends when each of its states has reached its tick, at whatever time each did."""

    __slots__ = ("names", "reads", "times")

    def __init__(self, names: tuple[str, ...], reads: tuple[int, ...], times: tuple[int, ...]) -> None:
        super().__init__()
        self.names = names
        self.reads = reads
        self.times = times

    def __str__(self) -> str:
        return " and ".join(f"{name} at tick {time}" for name, time in zip(self.names, self.times, strict=True))

    def met(self, ticks: Ticks) -> bool:
        return all(ticks[i] >= time for i, time in zip(self.reads, self.times, strict=True))


class QueryWait(Wait):
    """Ends when a function of the clock says so."""

    __slots__ = ("names", "query")

    def __init__(self, names: tuple[str, ...], query: Callable[[Mapping[str, int]], bool]) -> None:
        super().__init__()
        self.names = names
        self.query = query

    def __str__(self) -> str:
        return f"the query {getattr(self.query, '__qualname__', repr(self.query))}"

    def met(self, ticks: Ticks) -> bool:
        try:
            return bool(self.query(dict(zip(self.names, ticks, strict=True))))
        except Exception as error:  # noqa: BLE001 (the caller's function; told to who waits)
            failure = QueryFailed(f"when_query: {error!r}")
            failure.__cause__ = error
            self._end(lambda: failure)
            return False


def _fields(record: Args) -> Iterable[str]:
    found: Iterable[str] = getattr(record, "__dataclass_fields__", ())
    return found


class ArgsWait(Wait):
    """Ends when its state's `State` handlers have run with arguments that hold all of the given ones."""

    __slots__ = ("args", "state")

    def __init__(self, state: str, args: Mapping[str, Any]) -> None:
        super().__init__()
        self.state = state
        self.args = args

    def __str__(self) -> str:
        return f"{self.state} called with these values of {', '.join(self.args) or 'nothing'}"

    def matches(self, args: Mapping[str, Any]) -> bool:
        return all(self._holds(args, key, value) for key, value in self.args.items())

    def _holds(self, args: Mapping[str, Any], key: str, value: object) -> bool:
        """Whether an argument of this name, or the field of a typed record of the state, has the value."""
        if key in args:
            return bool(args[key] == value)
        records = [record for record in args.values() if isinstance(record, Args) and record.state == self.state]
        return any(getattr(record, key) == value for record in records if key in _fields(record))


class QueueWait(Wait):
    """Ends when the mutation with this queue tick has finished."""

    __slots__ = ("tick",)

    def __init__(self, tick: int) -> None:
        super().__init__()
        self.tick = tick

    def __str__(self) -> str:
        return f"queue tick {self.tick}"


NOBODY: Final[dict[Wait, None]] = {}
"""The shelf of a kind that nobody has waited for yet. It stays empty."""

_filing = threading.Lock()


class Subscriptions:
    """The open waits of one machine. Safe to use from several threads: each step is one operation on a dict."""

    __slots__ = ("_closed", "args", "ends", "queries", "queue", "states")

    def __init__(self) -> None:
        self.states: dict[int, dict[Wait, None]] = {}
        self.queries = self.args = self.queue = self.ends = NOBODY
        self._closed: Callable[[], AmError] | None = None

    def add_states(self, wait: StatesWait | TimeWait, ticks: Ticks) -> None:
        """Files a wait under the states it reads; ends it at once if it is met."""
        # Filed first, looked at second: a change in between is seen by one of the two.
        shelves: list[Shelf] = []
        wait._shelves = shelves
        for i in wait.reads:
            shelf = self.states.get(i)
            if shelf is None:
                shelf = self.states.setdefault(i, {})
            shelf[wait] = None
            shelves.append(shelf)
        if self._closed is not None:
            wait._end(self._closed)
        elif wait.met(ticks):
            wait._end()

    def add_query(self, wait: QueryWait, ticks: Ticks) -> None:
        """Files a query; ends it at once if it holds."""
        self._file(wait, self._shelf("queries"))
        if wait.met(ticks):
            wait._end()

    def add_args(self, wait: ArgsWait) -> None:
        """Files a wait for arguments of a state."""
        self._file(wait, self._shelf("args"))

    def add_queue(self, wait: QueueWait) -> None:
        """Files a wait for a queue tick."""
        self._file(wait, self._shelf("queue"))

    def add_queue_end(self, wait: Wait) -> None:
        """Files a wait for the end of the running drain."""
        self._file(wait, self._shelf("ends"))

    def changed(self, ticks: Ticks, touched: Iterable[int]) -> None:
        """Ends the waits that are met now. `touched` are the states whose tick has changed."""
        states = self.states
        if states:
            for i in touched:
                shelf = states.get(i)
                if shelf:
                    for wait in tuple(shelf):
                        if wait.met(ticks):  # type: ignore[attr-defined]
                            wait._end()
        if self.queries:
            for query in tuple(self.queries):
                if query.met(ticks):  # type: ignore[attr-defined]
                    query._end()

    def activated(self, state: str, args: Mapping[str, Any]) -> None:
        """Ends the waits for these arguments of a state."""
        for wait in held(self.args):
            if wait.state == state and wait.matches(args):
                wait._end()

    def queue_ticked(self, tick: int) -> None:
        """Ends the waits for this queue tick or an earlier one."""
        for wait in held(self.queue):
            if wait.tick <= tick:
                wait._end()

    def queue_ended(self) -> None:
        """Ends the waits for the end of the drain."""
        for wait in tuple(self.ends):
            wait._end()

    def turned_back(self, touched: Iterable[int], error: Callable[[], AmError]) -> None:
        """Ends the waits for ticks of these states with an error: they count anew."""
        for i in touched:
            for wait in held(self.states.get(i, ())):
                if isinstance(wait, TimeWait):
                    wait._end(error)

    def move(self, places: Mapping[int, int], names: tuple[str, ...]) -> None:
        """Files the waits anew after a schema change; `places` maps old indexes to new ones."""
        before = tuple(self.states.values())
        waits: set[StatesWait | TimeWait] = {wait for shelf in before for wait in held(shelf)}
        self.states.clear()
        for wait in waits:
            wait.reads = tuple(places[i] for i in wait.reads)
            wait._refile(before, [self.states.setdefault(i, {}) for i in wait.reads])
        for query in held(self.queries):
            query.names = names

    def close(self, error: Callable[[], AmError]) -> None:
        """Ends all open waits, and each later one, with an error."""
        self._closed = error
        shelves = [self.queries, self.args, self.queue, self.ends, *self.states.values()]
        for wait in {wait for shelf in shelves for wait in held(shelf)}:
            wait._end(error)

    def _shelf(self, kind: str) -> dict[Wait, None]:
        found: dict[Wait, None] = getattr(self, kind)
        if found is NOBODY:
            with _filing:
                found = getattr(self, kind)
                if found is NOBODY:
                    found = {}
                    setattr(self, kind, found)
        return found

    def _file(self, wait: Wait, *shelves: dict[Wait, None]) -> None:
        wait._shelves = shelves
        for shelf in shelves:
            shelf[wait] = None
        if self._closed is not None:
            wait._end(self._closed)


def bind_to(wait: Wait, scope: Scope | None) -> None:
    """Ends an open wait with `ScopeEnded` when the scope ends."""
    if scope is not None and not wait.done():
        scope.bind(wait, lambda: ScopeEnded(f"the scope of {scope.state or 'this wait'} ended before it was met"))
