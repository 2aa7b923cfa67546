"""Handlers that answer each other for ever, found out.

A mutation made by a handler is one step deeper than the one that the handler belongs to. Mutations from outside start
at depth 0, so a busy machine is never mistaken for an endless one. Deep down, the pairs of configuration and mutation
are counted; one that comes back a thousand times is a cycle.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from asyncmachine.machine import reasons
from asyncmachine.machine.args import ErrorArgs
from asyncmachine.machine.errors import AmError
from asyncmachine.machine.mutation import ADD, Mutation
from asyncmachine.machine.plan import Configuration
from asyncmachine.machine.result import Outcome
from asyncmachine.machine.schema import EXCEPTION

if TYPE_CHECKING:
    from asyncmachine.machine.drain import Drain

WATCHED_DEPTH = 100
"""Chains shorter than this are not looked at."""

CYCLE_LIMIT = 1_000
"""How often a pair may come back in one chain."""

DEPTH_LIMIT = 10_000
"""How long a chain may be when there is no event loop to breathe on."""

YIELD_EVERY = 10_000
"""Transitions after which a drain lets the event loop run."""

Pair = tuple[Configuration, int, tuple[str, ...]]


class EndlessChain(AmError):
    """Handlers answer each other without end; the message names the cycle."""


class ChainWatch:
    """Counts what comes back in one drain. `has_broken` tells whether a chain has been broken in it."""

    __slots__ = ("_counts", "_recent", "has_broken")

    def __init__(self) -> None:
        self.has_broken = False
        self._counts: Counter[Pair] = Counter()
        self._recent: deque[Pair] = deque(maxlen=64)

    def endless(self, start: Configuration, mutation: Mutation, *, has_loop: bool) -> EndlessChain | None:
        """The error to stop with, None while all is well."""
        if mutation.depth < WATCHED_DEPTH:
            return None
        pair = (start, mutation.kind_id, mutation.called)
        self._counts[pair] += 1
        if self._counts[pair] >= CYCLE_LIMIT:
            return EndlessChain(f"handlers repeat a cycle without end: {self._cycle(pair)}")
        if mutation.depth >= DEPTH_LIMIT and not has_loop:
            return EndlessChain(f"handlers made {mutation.depth} mutations in a row, the last one {mutation!r}")
        self._recent.append(pair)
        return None

    def _cycle(self, pair: Pair) -> str:
        recent = list(self._recent)
        since = max((at for at, seen in enumerate(recent) if seen == pair), default=len(recent) - 1)
        kinds = ("add", "remove", "set")
        return ", ".join(f"[{kinds[kind]}] {' '.join(called)}" for _, kind, called in recent[max(since, 0) :])


def break_chain(machine: Drain[Any], mutation: Mutation, error: EndlessChain, *, tells: bool) -> None:
    """Drops what an endless chain has queued and adds the error; mutations from outside stay.

    Adding the error may set the chain going again, so only the first time in a drain it is told.
    """
    with machine._guard:
        dropped = [m for m in machine._queue if isinstance(m, Mutation) and m.depth]
        for item in dropped:
            machine._queue.remove(item)
    for item in (mutation, *dropped):
        if item.result is not None:
            item.result._settle(Outcome.CANCELED, reasons.ENDLESS)
    machine._err = error
    machine._log_error("handlers were stopped", error)
    if not tells:
        return
    exception = machine._index[EXCEPTION]
    args = {ErrorArgs.key: ErrorArgs(err=error, called=mutation.called, before=machine._config.names)}
    machine._depth = -1
    machine._prepend(Mutation(ADD, (exception,), (EXCEPTION,), args))
    machine._depth = 0
