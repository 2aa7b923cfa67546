"""The machines that clients, servers and muxes are themselves."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from asyncmachine.machine.machine import Machine
from asyncmachine.machine.options import DEFAULTS
from asyncmachine.machine.schema import StatesDef
from asyncmachine.machine.view import View
from asyncmachine.rpc.own_log import own_log

D = TypeVar("D", bound=StatesDef)

STANDSTILL: Final = 60.0
"""Seconds that a handler may take, also one that an application binds. Ours wait for nothing: one that seems to take
long was under way while the computer stood still, and to break it off would leave a connection half made or half ended.
"""


def own_machine(
    states: type[D], handlers: object, id: str, tag: str, parent: View[Any] | None, *more: str
) -> Machine[D]:
    """One of them, with its handlers and its tags. Its log is set up as the environment says (`own_log`)."""
    patience = max(STANDSTILL, DEFAULTS.handler_deadline)
    machine = Machine(
        states,
        handlers,
        id=id,
        tags=(tag, *more),
        parent=parent,
        handler_timeout=patience,
        handler_deadline=patience,
    )
    own_log(machine, tag)
    return machine
