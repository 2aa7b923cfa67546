"""A machine as most programs want it: set up by the environment, its log included."""

from __future__ import annotations

from typing import Any

from asyncmachine.helpers.logs import log_env
from asyncmachine.machine.log_args import new_log_args_mapper
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.settings import Settings
from asyncmachine.machine.view import View


def new_common(
    states: Any,
    handlers: object = None,
    *,
    id: str = "",
    parent: View[Any] | None = None,
    settings: Settings | None = None,
) -> Machine[Any]:
    """A machine with the `AM_*` variables (or the given settings) applied: time-outs, log, arguments in the log.

    In debug mode (`AM_DEBUG`) errors of handlers end the call that ran the handler, and time-outs are long.
    """
    settings = Settings.from_env() if settings is None else settings
    machine: Machine[Any] = Machine(states, id=id, parent=parent, settings=settings)
    log_env(machine, settings)
    machine.log.args_mapper = machine.log.args_mapper or new_log_args_mapper()
    if handlers is not None:
        machine.bind(handlers, id=f"comm-{machine.id.capitalize()}")
    return machine
