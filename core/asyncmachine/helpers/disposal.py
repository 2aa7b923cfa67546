"""Disposing a machine the way its states want it."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import Any

from asyncmachine.machine.api import Api, Origin
from asyncmachine.machine.errors import SchemaError
from asyncmachine.machine.result import EXECUTED, Result
from asyncmachine.machine.scope import ENDED
from asyncmachine.states.disposed import DISPOSAL, DisposalCallback

DISPOSING, REGISTER = "Disposing", "RegisterDisposal"


def dispose(machine: Api[Any], *, e: Origin = None) -> Result:
    """Adds `Disposing` if the machine has it, so that it cleans up first; else disposes it at once."""
    if machine.has(DISPOSING):
        return machine.add(DISPOSING, e=e)
    machine.dispose()
    return EXECUTED


def dispose_bind(machine: Api[Any], callback: DisposalCallback) -> Result:
    """Calls `callback(machine_id, scope)` when the machine is disposed.

    With the states of `states.Disposed` it is registered there: it may then be a coroutine function, and the scope is
    that of `Disposing`. Without them it is called at the end, with a scope that is over.
    """
    if machine.is_local and machine.has(REGISTER):
        return machine.add(REGISTER, {DISPOSAL: callback})
    if iscoroutinefunction(callback):
        raise SchemaError(
            f"machine {machine.id!r} lacks the states of states.Disposed, so nothing would await the callback"
        )
    machine.on_dispose(lambda machine_id: callback(machine_id, ENDED))
    return EXECUTED
