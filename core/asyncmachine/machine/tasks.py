"""Coroutine handlers: `async def FooState` becomes a task that lives as long as this activation of Foo."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from asyncmachine.machine.errors import HandlerError
from asyncmachine.machine.recovery import log_unheard
from asyncmachine.machine.scope import ENDED, Scope

if TYPE_CHECKING:
    from asyncmachine.machine.event import Event
    from asyncmachine.machine.handlers import Call, Turn
    from asyncmachine.machine.machine import Machine


def start_task(machine: Machine[Any], event: Event, turn: Turn, call: Call) -> None:
    """Starts the task on the running loop, or on the machine's loop if another thread drains.

    The `State` handler of a Multi state, `End` handlers and `AnyState` have no activation to live in: their tasks live
    as long as the machine, unless `@am.scoped` names a state. An error of the task is added to the machine, traced to
    the event. Raises `HandlerError` if there is no loop.
    """
    running = asyncio._get_running_loop()
    if running is not None:
        machine._loop = running
    loop = machine._loop
    if loop is None or loop.is_closed():
        raise HandlerError(f"{turn.name} is `async def` and needs an event loop: make the mutation from a running loop")
    scope = scope_of(machine, turn, call)

    async def body() -> None:
        try:
            if call.pool is None:
                await call.function(event)
            else:
                await call.pool.run(lambda: call.function(event))
        except asyncio.CancelledError:
            if not scope.expired:
                raise
        except Exception as error:  # noqa: BLE001 (becomes the machine's Exception state)
            log_unheard(machine, turn.name, error)
            machine.add_err(error, e=event)

    def start() -> None:
        scope.create_task(body(), name=f"{machine.id}.{turn.name}")

    if running is loop:
        start()
    else:
        loop.call_soon_threadsafe(start)


def scope_of(machine: Machine[Any], turn: Turn, call: Call) -> Scope:
    """The lifetime of a handler's task; one that is over if it is scoped to a state that is not active."""
    if call.scope:
        return machine.scope(call.scope) if call.scope in machine else ENDED
    lasting = turn.kind == "State" and not machine._rules.multi >> turn.state & 1
    return machine.scope(turn.about) if lasting else machine._root_scope()
