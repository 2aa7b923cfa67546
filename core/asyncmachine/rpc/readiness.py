"""When a client or a mux is ready, how whoever waits for that learns that it never will be, and when it has ended."""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

from asyncmachine.machine.errors import AmError
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.wait import Once, Wait
from asyncmachine.rpc.errors import ForeignSource, ListenerFailed, NotConnected
from asyncmachine.rpc.outages import why
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import MuxStates as M
from asyncmachine.rpc.transport import NotOpened, TransportClosed

logger = logging.getLogger(__name__)

_awaited: Final[weakref.WeakKeyDictionary[Wait, weakref.ref[Machine[C]]]] = weakref.WeakKeyDictionary()
"""What waits for clients to be ready, and for which. A wait for their errors would cost each client more."""
_lock: Final = threading.Lock()

SOON: Final = 1.0
"""Seconds in which `start` may follow `when_ready`."""


def ready_or_over(machine: Machine[C], last_end: Callable[[], TransportClosed | None], *, was_started: bool) -> Wait:
    """Met with Ready, through drops and new attempts; ends with `NotConnected` when the client has stopped trying.

    It ends with `ForeignSource` at once: that source may be replaced, and is tried again, but hardly while one waits.
    """

    def given_up() -> NotConnected:
        last = machine.err or last_end()
        failure = NotConnected(f"{machine.id} has stopped connecting" + (f": {last}" if last is not None else ""))
        failure.__cause__ = last
        return failure

    ready = machine.when(C.Ready)
    _end_with_start(ready, machine, given_up, was_started=was_started)
    with _lock:
        _awaited[ready] = weakref.ref(machine)
    return ready


def end_foreign(machine: Machine[C], error: ForeignSource) -> None:
    """Ends the waits for this client with the error."""
    with _lock:
        awaited = tuple(_awaited.items())
    for ready, of in awaited:
        if of() is machine:
            ready._end(lambda: error)


def listening_or_failed(machine: Machine[M], where: str, *, was_started: bool) -> Wait:
    """Met with Ready; ends with `ListenerFailed` when the mux cannot listen (it goes on trying) or has stopped."""

    def failed(error: BaseException | None) -> AmError:
        told = "" if error is None else f": {why(error)}"
        failure = ListenerFailed(f"{machine.id} cannot take connections{where}{told}")
        failure.__cause__ = error.__cause__ if isinstance(error, NotOpened) else error
        return failure

    ready = machine.when(M.Ready)
    _end_with_start(ready, machine, lambda: ListenerFailed(f"{machine.id} has stopped"), was_started=was_started)
    held = weakref.ref(ready)

    def end() -> None:
        waiting = held()
        if waiting is not None:
            error = failed(machine.err)
            waiting._end(lambda: error)

    next_error = machine.when_next_active(M.Exception)
    next_error.then(end)
    next_error._loosen()
    ready._file(_Along(next_error))
    return ready


def _end_with_start(ready: Wait, machine: Machine[Any], given_up: Callable[[], AmError], *, was_started: bool) -> None:
    """Ends a wait with the machine's Start, as `given_up` says."""
    # Before the first start its end is the second change of Start; afterwards a machine that is not started is over.
    over = machine.when_not("Start") if was_started else machine.when_time(["Start"], [2])
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
