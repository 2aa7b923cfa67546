"""Waits for states, ticks, times, arguments and the queue.

Each kind is a `Wait` that knows its own condition over the ticks. They are filed under the states they read, so that a
transition looks only at those whose ticks it changed; a machine that nobody waits on has no `Subscriptions` at all.
Conditions are checked when the wait is made and after each transition that changed a tick they read (`WhenArgs`: while
the state's handlers run; `WhenQueue`: when the mutation of that tick has finished).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from asyncmachine.machine.errors import AmError, QueryFailed, ScopeEnded
from asyncmachine.machine.scope import Scope
from asyncmachine.machine.wait import Wait

Ticks = Sequence[int]


class StatesWait(Wait):
    """Ends when all of its states are active at once (`odd`), or all inactive."""

    __slots__ = ("odd", "reads")

    def __init__(self, reads: tuple[int, ...], odd: int) -> None:
        super().__init__()
        self.reads = reads
        self.odd = odd

    def met(self, ticks: Ticks) -> bool:
        odd = self.odd
        return all(ticks[i] & 1 == odd for i in self.reads)


class TimeWait(Wait):
    """Ends when each of its states has reached its tick, at whatever time each did."""

    __slots__ = ("reads", "times")

    def __init__(self, reads: tuple[int, ...], times: tuple[int, ...]) -> None:
        super().__init__()
        self.reads = reads
        self.times = times

    def met(self, ticks: Ticks) -> bool:
        return all(ticks[i] >= time for i, time in zip(self.reads, self.times, strict=True))


class QueryWait(Wait):
    """Ends when a function of the clock says so."""

    __slots__ = ("names", "query")

    def __init__(self, names: tuple[str, ...], query: Callable[[Mapping[str, int]], bool]) -> None:
        super().__init__()
        self.names = names
        self.query = query

    def met(self, ticks: Ticks) -> bool:
        try:
            return bool(self.query(dict(zip(self.names, ticks, strict=True))))
        except Exception as error:  # noqa: BLE001 (the caller's function; told to who waits)
            failure = QueryFailed(f"when_query: {error!r}")
            failure.__cause__ = error
            self._end(lambda: failure)
            return False


class ArgsWait(Wait):
    """Ends when its state's `State` handlers have run with arguments that hold all of the given ones."""

    __slots__ = ("args",)

    def __init__(self, args: Mapping[str, Any]) -> None:
        super().__init__()
        self.args = args

    def matches(self, args: Mapping[str, Any]) -> bool:
        missing = object()
        return all(args.get(key, missing) == value for key, value in self.args.items())


class QueueWait(Wait):
    """Ends when the mutation with this queue tick has finished."""

    __slots__ = ("tick",)

    def __init__(self, tick: int) -> None:
        super().__init__()
        self.tick = tick


class Subscriptions:
    """The open waits of one machine. Safe to use from several threads."""

    __slots__ = ("_args", "_closed", "_ends", "_lock", "_queries", "_queue", "_states")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[int, dict[StatesWait | TimeWait, None]] = {}
        self._queries: dict[QueryWait, None] = {}
        self._args: dict[str, dict[ArgsWait, None]] = {}
        self._queue: dict[QueueWait, None] = {}
        self._ends: dict[Wait, None] = {}
        self._closed: Callable[[], AmError] | None = None

    def add_states(self, wait: StatesWait | TimeWait, ticks: Ticks) -> None:
        """Files a wait under the states it reads; ends it at once if it is met."""

        def drop() -> None:
            with self._lock:
                for i in wait.reads:
                    self._states.get(i, {}).pop(wait, None)

        with self._lock:
            for i in wait.reads:
                self._states.setdefault(i, {})[wait] = None
        self._open(wait, drop)
        # Filed first, looked at second: a change in between is seen by one of the two.
        if wait.met(ticks):
            wait._end()

    def add_query(self, wait: QueryWait, ticks: Ticks) -> None:
        """Files a query; ends it at once if it holds."""
        self._file(self._queries, wait)
        if wait.met(ticks):
            wait._end()

    def add_args(self, state: str, wait: ArgsWait) -> None:
        """Files a wait for arguments of a state."""
        self._file(self._args.setdefault(state, {}), wait)

    def add_queue(self, wait: QueueWait) -> None:
        """Files a wait for a queue tick."""
        self._file(self._queue, wait)

    def add_queue_end(self, wait: Wait) -> None:
        """Files a wait for the end of the running drain."""
        self._file(self._ends, wait)

    def changed(self, ticks: Ticks, touched: Iterable[int]) -> None:
        """Ends the waits that are met now. `touched` are the states whose tick has changed."""
        if self._states:
            for i in touched:
                for wait in tuple(self._states.get(i, ())):
                    if not wait.done() and wait.met(ticks):
                        wait._end()
        for query in tuple(self._queries):
            if query.met(ticks):
                query._end()

    def activated(self, state: str, args: Mapping[str, Any]) -> None:
        """Ends the waits for these arguments of a state."""
        for wait in tuple(self._args.get(state, ())):
            if wait.matches(args):
                wait._end()

    def queue_ticked(self, tick: int) -> None:
        """Ends the waits for this queue tick or an earlier one."""
        for wait in tuple(self._queue):
            if wait.tick <= tick:
                wait._end()

    def queue_ended(self) -> None:
        """Ends the waits for the end of the drain."""
        for wait in tuple(self._ends):
            wait._end()

    def close(self, error: Callable[[], AmError]) -> None:
        """Ends all open waits, and each later one, with an error."""
        self._closed = error
        with self._lock:
            found: set[Wait] = {*self._queries, *self._queue, *self._ends}
            for states in self._states.values():
                found.update(states)
            for args in self._args.values():
                found.update(args)
        for wait in found:
            wait._end(error)

    def reads_args(self, state: str) -> bool:
        """True if somebody waits for arguments of this state."""
        return bool(self._args.get(state))

    def _file(self, shelf: dict[Any, None], wait: Wait) -> None:
        def drop() -> None:
            shelf.pop(wait, None)

        shelf[wait] = None
        self._open(wait, drop)

    def _open(self, wait: Wait, drop: Callable[[], None]) -> None:
        wait._drop = drop
        if self._closed is not None:
            wait._end(self._closed)


def bind_to(wait: Wait, scope: Scope | None) -> None:
    """Ends an open wait with `ScopeEnded` when the scope ends."""
    if scope is None or wait.done():
        return

    def ended() -> None:
        wait._end(lambda: ScopeEnded(f"the scope of {scope.state or 'this wait'} ended before it was met"))

    scope.on_end(ended)
    wait.then(lambda: scope.forget(ended))
