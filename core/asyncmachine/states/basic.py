"""The states that nearly every machine has."""

from __future__ import annotations

from asyncmachine.machine.errors import AmError
from asyncmachine.machine.schema import StatesDef, state


class Basic(StatesDef):
    """Start and Ready, two kinds of errors, and two periodic signs of life.

    `Start` means that the machine should work, and is added from outside; `Ready` that it can, and is added by itself.
    The signs of life never trigger auto states.
    """

    ErrNetwork = state(multi=True, require="Exception", add="Exception")
    ErrHandlerTimeout = state(multi=True, require="Exception", add="Exception")
    Start = state()
    Ready = state(require=Start)
    Healthcheck = state(multi=True)
    Heartbeat = state()


class NetworkError(AmError):
    """Something failed between machines: ``machine.add_err(NetworkError("no route"))`` adds `ErrNetwork`."""

    state = "ErrNetwork"
