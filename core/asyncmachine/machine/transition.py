"""A transition: the carrying out of one mutation.

Its phases, in order, each a function below:

1. *relations* have decided already: the plan tells target, enters and exits, or that the mutation is rejected;
2. `negotiate`: Exit, Enter, self, state-state and AnyEnter handlers, any of which may veto;
3. `apply`: ticks change, scopes of changed states end;
4. `finish`: End handlers, State handlers, AnyState. A handler that raises breaks the transition: its state and those
   that come after it are taken back, and `Exception` runs next;
5. an auto mutation is put to the front of the queue if any tick has changed.

A dry run stops after the second phase. In an auto transition a veto of an Auto state takes out just that state.
"""

from __future__ import annotations

import traceback
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from asyncmachine.machine.args import ErrorArgs
from asyncmachine.machine.errors import HandlerError
from asyncmachine.machine.event import Event
from asyncmachine.machine.handlers import ANY_ENTER, ANY_STATE, Call, HandlerTable, Step
from asyncmachine.machine.mutation import ADD, Kind, Mutation
from asyncmachine.machine.plan import Configuration, Plan, configuration, settled_plan
from asyncmachine.machine.result import Outcome
from asyncmachine.machine.rules import mask_of
from asyncmachine.machine.schema import EXCEPTION
from asyncmachine.machine.subscriptions import Subscriptions

if TYPE_CHECKING:
    from asyncmachine.machine.machine import Machine


class Transition:
    """What handlers and tracers see of it. Names and ticks are made from the plan when they are asked for.

    `accepted` turns False when relations reject it, a handler vetoes or a handler raises; `completed` turns True at its
    end. `before` are all ticks at its start.
    """

    __slots__ = (
        "_after",
        "_id",
        "accepted",
        "before",
        "broken",
        "completed",
        "machine",
        "mutation",
        "plan",
        "queue_len",
    )

    def __init__(self, machine: Any, mutation: Mutation, plan: Plan, before: list[int]) -> None:
        self.machine = machine
        self.mutation = mutation
        self.plan = plan
        self.before = before
        self.accepted = plan.accepted
        self.completed = False
        self.broken = False
        self.queue_len = 0
        self._id = ""
        self._after: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        return f"<Transition {self.id} {self.mutation!r}>"

    @property
    def id(self) -> str:
        """16 random hex digits."""
        if not self._id:
            self._id = token_hex(8)
        return self._id

    @property
    def kind(self) -> Kind:
        return self.mutation.kind

    @property
    def is_auto(self) -> bool:
        return self.mutation.is_auto

    @property
    def is_check(self) -> bool:
        return self.mutation.is_check

    @property
    def called(self) -> tuple[str, ...]:
        """States named by the mutation."""
        return self.mutation.called

    @property
    def active_before(self) -> tuple[str, ...]:
        """Active states at its start, in order."""
        return self.plan.start.names

    @property
    def target(self) -> tuple[str, ...]:
        """States that are active if it is accepted, in order."""
        return self.plan.leads_to.names

    @property
    def enters(self) -> tuple[str, ...]:
        """States that activate, and Multi states called again."""
        return self._names(self.plan.enters)

    @property
    def exits(self) -> tuple[str, ...]:
        """States that deactivate."""
        return self._names(self.plan.exits)

    @property
    def after(self) -> tuple[int, ...]:
        """Ticks at its end; while it runs, the ticks it is about to lead to."""
        if self._after is not None:
            return self._after
        ticks = list(self.before)
        if self.accepted and not self.mutation.is_check:
            advance(ticks, self.plan)
        return tuple(ticks)

    def _names(self, indexes: tuple[int, ...]) -> tuple[str, ...]:
        names = self.machine.names
        return tuple([names[i] for i in indexes])


def advance(ticks: list[int], plan: Plan) -> None:
    """The rule of ticks: one for each state that changes, two for a Multi state that is called again."""
    for i in plan.rises:
        ticks[i] += 1
    for i in plan.again:
        ticks[i] += 2


def run(machine: Machine[Any], mutation: Mutation, plan: Plan) -> Outcome:
    """Carries out a mutation on the draining thread. Returns executed or canceled."""
    tx = Transition(machine, mutation, plan, machine._ticks.copy())
    machine._tx = tx
    tracers, table = machine._tracers, machine._table
    for tracer in tracers:
        machine._guarded(tracer.transition_init, tx)
    for tracer in tracers:
        machine._guarded(tracer.transition_start, tx)
    touched: tuple[int, ...] = ()
    try:
        if tx.accepted and table is not None:
            negotiate(tx, table)
        if mutation.is_auto:
            tx.plan = tx.plan.settled
        if tx.accepted and not mutation.is_check:
            touched = apply(tx)
            for tracer in tracers:
                machine._guarded(tracer.transition_finals, tx)
            touched += finish(tx, table)
            if touched and not tx.broken and not mutation.is_auto and not plan.quiet:
                queue_auto(machine)
    except BaseException:
        tx.accepted = False
        raise
    finally:
        tx.queue_len = len(machine._queue)
        tx._after = tuple(machine._ticks)
        tx.completed = True
        for tracer in tracers:
            machine._guarded(tracer.transition_end, tx)
        if touched:
            machine._resolve(touched)
    if not tx.accepted:
        return Outcome.CANCELED
    return Outcome.EXECUTED if tx.plan.met else Outcome.CANCELED


def negotiate(tx: Transition, table: HandlerTable) -> None:
    """Asks the negotiation handlers. A veto cancels, or in an auto transition takes out the Auto state it is about."""
    plan, machine = tx.plan, tx.machine
    there = mask_of(plan.target) if tx.mutation.is_auto else 0
    vetoed = 0
    for step in table.calls(plan).negotiation:
        if vetoed and not there & ~vetoed:
            break
        if vetoed and step.kind in ("Pair", "Enter") and vetoed >> step.state & 1:
            continue
        if asks(tx, step):
            continue
        if tx.broken or not may_leave(tx, step):
            tx.accepted = False
            break
        vetoed |= 1 << step.state
    if vetoed:
        if not there & ~vetoed:
            tx.accepted = False
        tx.plan = settled_plan(machine._rules, plan.start, plan.called_mask & there & ~vetoed, plan.called)


def may_leave(tx: Transition, step: Step) -> bool:
    """True if a veto takes out just the state: an Auto state that enters, or is second in a pair, when all is auto."""
    return tx.mutation.is_auto and step.kind in ("Enter", "Pair") and step.state in tx.machine._rules.auto


def asks(tx: Transition, step: Step) -> bool:
    """Calls the handlers of one name. False if one vetoes, or raises (then `tx.broken`)."""
    for call in step.calls:
        try:
            verdict = invoke(tx, step, call)
            if verdict is not None and not isinstance(verdict, bool):
                raise HandlerError(
                    f"{step.name} returned {type(verdict).__name__}: a negotiation handler returns False to veto, "
                    "True or None to accept"
                )
        except Exception as error:  # noqa: BLE001 (becomes the machine's Exception state)
            failed(tx, step, error)
            return False
        if verdict is False:
            return False
    return True


def apply(tx: Transition) -> tuple[int, ...]:
    """Changes the ticks. Returns the states whose tick has changed."""
    machine, plan = tx.machine, tx.plan
    advance(machine._ticks, plan)
    machine._config = plan.leads_to
    machine._end_scopes(plan.touched)
    return plan.touched


def finish(tx: Transition, table: HandlerTable | None) -> tuple[int, ...]:
    """Calls the final handlers. Returns the states that were taken back because a handler raised."""
    machine = tx.machine
    subs: Subscriptions | None = machine._subs
    if table is None:
        if subs is not None:
            for name in tx.enters:
                subs.activated(name, tx.mutation.args)
        return ()
    plan = tx.plan
    awaited = subs is not None and any(subs.reads_args(name) for name in tx.enters)
    steps = with_awaited(tx, table.calls(plan).final) if awaited else table.calls(plan).final
    for step in (*steps, *table.any_state()):
        for call in step.calls:
            try:
                invoke(tx, step, call)
            except BaseException as error:
                taken = take_back(tx, step)
                if isinstance(error, Exception):
                    failed(tx, step, error)
                    return taken
                raise
        if awaited and subs is not None and step.kind == "State":
            subs.activated(machine.names[step.state], tx.mutation.args)
    return ()


def with_awaited(tx: Transition, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The final steps plus an empty one for each entering state without handlers, so that waits for arguments match."""
    handled = {step.state: step for step in steps if step.kind == "State"}
    names = tx.machine.names
    ends = tuple(step for step in steps if step.kind == "End")
    return ends + tuple(handled.get(i) or Step(names[i] + "State", "State", i, ()) for i in tx.plan.enters)


def take_back(tx: Transition, step: Step) -> tuple[int, ...]:
    """Deactivates the state whose `State` handler raised, and those that would have come after it."""
    machine, plan = tx.machine, tx.plan
    if step.kind != "State":
        return ()
    taken = plan.enters[plan.enters.index(step.state) :]
    for i in taken:
        machine._ticks[i] += 1
    gone = mask_of(taken)
    machine._config = configuration(machine._rules, [i for i in plan.target if not gone >> i & 1])
    machine._end_scopes(taken)
    return taken


def failed(tx: Transition, step: Step, error: Exception) -> None:
    """A handler raised: the transition is canceled and `Exception` is next, with the error in its arguments."""
    machine = tx.machine
    tx.accepted = False
    tx.broken = True
    machine._err = error
    exception = machine._index[EXCEPTION]
    if exception in tx.mutation.indexes:
        # An error handler that fails must not call itself again.
        machine._log_error(f"{step.name} raised while an error was handled", error)
        return
    args = ErrorArgs(
        err=error,
        trace="".join(traceback.format_exception(error)),
        handler=step.name,
        called=tx.called,
        before=tx.active_before,
    )
    detail = getattr(error, "state", "")
    called = (detail, EXCEPTION) if detail and detail in machine._index else (EXCEPTION,)
    event = Event(step.name, "", tx)
    machine._prepend(
        Mutation(ADD, tuple(machine._index[n] for n in called), called, {ErrorArgs.key: args}, event.source)
    )


def invoke(tx: Transition, step: Step, call: Call) -> Any:
    """Calls one handler, or starts its task if it is a coroutine function."""
    machine = tx.machine
    name = step.kind if step.kind in (ANY_ENTER, ANY_STATE) else machine.names[step.state]
    event = Event(step.name, name, tx)
    tracers = machine._tracers
    if not tracers:
        return machine._start_task(event, step, call) if call.is_async else call.function(event)
    for tracer in tracers:
        machine._guarded(tracer.handler_start, tx, call.binding, step.name)
    try:
        return machine._start_task(event, step, call) if call.is_async else call.function(event)
    finally:
        for tracer in tracers:
            machine._guarded(tracer.handler_end, tx, call.binding, step.name)


def queue_auto(machine: Machine[Any]) -> None:
    """Puts the auto mutation that is due now, if any, to the front of the queue."""
    due: Configuration = machine._config
    if due.auto_called:
        names = machine._names
        machine._prepend(Mutation(ADD, due.auto_called, tuple([names[i] for i in due.auto_called]), {}, is_auto=True))
