"""When a client is ready, how whoever waits for that learns that it never will be, and when it has ended."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

from asyncmachine.machine.machine import Machine
from asyncmachine.machine.wait import Once, Wait
from asyncmachine.rpc.errors import NotConnected
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.transport import TransportClosed

logger = logging.getLogger(__name__)

SOON: Final = 1.0
"""Seconds in which `start` may follow `when_ready`."""


def ready_or_over(machine: Machine[C], last_end: Callable[[], TransportClosed | None], *, was_started: bool) -> Wait:
    """Met with Ready, through drops and new attempts; ends with `NotConnected` when the client has stopped trying."""

    def given_up() -> NotConnected:
        last = machine.err or last_end()
        failure = NotConnected(f"{machine.id} has stopped connecting" + (f": {last}" if last is not None else ""))
        failure.__cause__ = last
        return failure

    ready = machine.when(C.Ready)
    # Before the first start its end is the second change of Start; afterwards a client that is not started is over.
    over = machine.when_not(C.Start) if was_started else machine.when_time([C.Start], [2])
    held = weakref.ref(ready)

    def is_over() -> None:
        waiting = held()
        if waiting is not None:
            waiting._end(given_up)

    over.then(is_over)
    # Whoever waits for the one has the other with it: a wait that is given up takes both along.
    over._loosen()
    ready._file(_Along(over))
    if not was_started:
        warn_unless_started(machine, ready)
    return ready


def warn_unless_started(machine: Machine[Any], wait: Wait) -> None:
    """Who waits for what nobody has started would wait for ever: the log says so, unless it is started soon."""
    held = weakref.ref(wait)

    def look() -> None:
        waiting = held()
        if waiting is not None and not waiting.done() and machine.tick("Start") == 0 and not machine.is_disposed:
            logger.warning("%s has not been started, and somebody waits for it to be ready: call start()", machine.id)

    loop = asyncio._get_running_loop()
    if loop is not None:
        loop.call_later(SOON, look)


def end_after(tasks: Iterable[asyncio.Task[None]], wait: Wait) -> None:
    """Ends a wait once all these have ended, however they do."""
    asyncio.gather(*tasks, return_exceptions=True).add_done_callback(lambda _: wait._end())


class _Along:
    """Where a wait is filed that another one ends with."""

    __slots__ = ("_other",)

    def __init__(self, other: Wait) -> None:
        self._other = other

    def pop(self, key: object, default: None, /) -> None:
        """It has ended, or is nobody's any more, and then the other is not either."""
        if isinstance(key, Once):
            self._other.cancel()
