"""When a client is ready, and how whoever waits for that learns that it never will be."""

from __future__ import annotations

from collections.abc import Callable

from asyncmachine.machine.machine import Machine
from asyncmachine.machine.wait import Wait
from asyncmachine.rpc.errors import NotConnected
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.transport import TransportClosed


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
    over.then(lambda: ready._end(given_up))
    ready.then(over.cancel)
    return ready
