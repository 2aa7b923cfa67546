"""The life of one connection."""

from __future__ import annotations

from typing import Any

from asyncmachine.machine.api import Api, Origin
from asyncmachine.machine.args import ArgsLike
from asyncmachine.machine.errors import AmError
from asyncmachine.machine.result import EXECUTED, Result
from asyncmachine.machine.schema import StatesDef, group, state

_PHASES = ("Connecting", "Connected", "Disconnecting", "Disconnected")


class Connected(StatesDef):
    """Four states of which one is active; `Disconnected` comes by itself when no other one is. Needs `Start`."""

    ErrConnecting = state(require="Exception")
    Connecting = state(require="Start", remove=_PHASES)
    Connected = state(require="Start", remove=_PHASES)
    Disconnecting = state(remove=_PHASES)
    Disconnected = state(auto=True, remove=_PHASES)

    Connection = group(_PHASES)


class ConnectingError(AmError):
    """A connection could not be made; the reason is chained as its cause."""

    state = "ErrConnecting"


def add_err_connecting(
    machine: Api[Any], error: BaseException | None, args: ArgsLike = None, *, e: Origin = None
) -> Result:
    """Adds `ErrConnecting` with the reason why a connection could not be made. Without a reason nothing is added."""
    if error is None:
        return EXECUTED
    wrapped = ConnectingError(f"error connecting: {error}")
    wrapped.__cause__ = error
    return machine.add_err(wrapped, args, e=e)
