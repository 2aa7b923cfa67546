"""What happens when a handler raises: the transition is canceled, and `Exception` comes next with the error.

In a final phase ticks have changed already. Then the state whose `State` handler raised, and those whose handlers would
have come after it, are deactivated again; states before it stay, and an `End` or `AnyState` handler takes nothing back.

An error that nobody would hear of is logged, as asyncio does with those of tasks.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any

from asyncmachine.machine import reasons
from asyncmachine.machine.args import ErrorArgs
from asyncmachine.machine.errors import HandlerDeadline
from asyncmachine.machine.event import Event
from asyncmachine.machine.handlers import Slot, Turn
from asyncmachine.machine.levels import CHANGES
from asyncmachine.machine.mutation import ADD, Mutation
from asyncmachine.machine.plan import Plan, configuration
from asyncmachine.machine.rules import mask_of
from asyncmachine.machine.schema import EXCEPTION
from asyncmachine.machine.tracer import ErrorTracer

if TYPE_CHECKING:
    from asyncmachine.machine.drain import Drain
    from asyncmachine.machine.machine import Machine
    from asyncmachine.machine.transition import Transition

logger = logging.getLogger("asyncmachine")


class Catching:
    """A block whose errors become errors of a machine. Interrupts and cancellations go up."""

    __slots__ = ("_add_err",)

    def __init__(self, add_err: Callable[[Exception], object]) -> None:
        self._add_err = add_err

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._add_err(error)
        return True


def taken_back(plan: Plan, turn: Turn) -> tuple[int, ...]:
    """The states that are deactivated again when handlers of this name raise."""
    return plan.enters[plan.enters.index(turn.state) :] if turn.kind == "State" else ()


def take_back(tx: Transition, turn: Turn) -> tuple[int, ...]:
    """Deactivates the state whose `State` handler raised and those after it. Returns them."""
    machine, plan = tx.machine, tx.plan
    taken = taken_back(plan, turn)
    if not taken:
        return ()
    for i in taken:
        machine._ticks[i] += 1
    gone = mask_of(taken)
    machine._config = configuration(machine._rules, [i for i in plan.target if not gone >> i & 1])
    machine._end_scopes(taken)
    return taken


def error_states(error: BaseException, known: Container[str], state: str = "") -> tuple[str, ...]:
    """What an error adds: `Exception`, and the state it is given, or that its class names and the machine has."""
    named = getattr(error, "state", "")
    detail = state or (named if isinstance(named, str) and named in known else "")
    return (detail, EXCEPTION) if detail and detail != EXCEPTION else (EXCEPTION,)


def failed(tx: Transition, turn: Turn, error: Exception) -> None:
    """Cancels the transition and puts the adding of `Exception` to the front of the queue."""
    machine = tx.machine
    tx.accepted = False
    tx.broken = True
    machine._busy = None
    machine._err = error
    if isinstance(error, HandlerDeadline):
        machine._start_backoff(machine.handler_backoff)
        if not error.args:
            # Raised by the watchdog, which can only name the class.
            error.args = (f"{turn.name} still ran after {machine.handler_deadline} s and was interrupted",)
    tx._refusal = reasons.broken(turn.name, error)
    if machine._observer is not None:
        machine._observer.broke(tx, turn, error)
    if machine._index[EXCEPTION] in tx.plan.called:
        # An error handler that fails must not call itself again.
        machine._log_error(f"{turn.name} raised while an error was handled", error)
        return
    args = ErrorArgs(
        err=error,
        trace="".join(traceback.format_exception(error)),
        handler=turn.name,
        kind=tx.kind,
        called=tx.called,
        before=tx.active_before,
    )
    called = error_states(error, machine._index)
    log_unheard(machine, turn.name, error)
    source = Event(turn.name, turn.about, tx).source
    machine._prepend(Mutation(ADD, tuple(machine._index[n] for n in called), called, {ErrorArgs.key: args}, source))


def log_unheard(machine: Machine[Any], handler: str, error: Exception) -> None:
    """Logs what a handler raised, if nobody hears of it: a mistake would show as a canceled mutation only."""
    if not is_heard(machine, error):
        logger.error("%s: %s raised, and nothing handles %s", machine.id, handler, EXCEPTION, exc_info=error)


def is_heard(machine: Machine[Any], error: Exception, *others: str) -> bool:
    """Whether somebody hears of an error: a handler of its states or of `others`, an `on_error`, the machine's log."""
    table, index = machine._table, machine._index
    states = (*error_states(error, index), *others)
    handled = table is not None and any(table.turn(Slot("State", index[name])) for name in states)
    return handled or machine.log.level >= CHANGES or any(isinstance(one, ErrorTracer) for one in machine._tracers)


def add_plain_error(machine: Drain[Any], mutation: Mutation) -> None:
    """An error whose detailed state was rejected by relations is added without it."""
    exception = machine._index.get(EXCEPTION)
    if exception is None or exception not in mutation.indexes or len(mutation.called) == 1:
        return
    logger.warning("%s: %r was rejected, adding %s alone", machine.id, mutation, EXCEPTION)
    if machine._observer is not None:
        machine._observer.error(f"{mutation!r} was rejected, adding {EXCEPTION} alone")
    machine._prepend(Mutation(ADD, (exception,), (EXCEPTION,), mutation.args, mutation.source))
