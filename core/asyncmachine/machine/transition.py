"""A transition: the carrying out of one mutation.

Its phases, in order, each a function below:

1. *relations* have decided already: the plan tells target, enters and exits, or that the mutation is rejected;
2. `negotiate`: Exit, Enter, self, state-state and AnyEnter handlers, any of which may veto;
3. `apply`: ticks change, scopes of changed states end;
4. `finish`: End handlers, State handlers, AnyState. A handler that raises breaks the transition (`recovery`);
5. an auto mutation is put to the front of the queue if any tick has changed.

A dry run stops after the second phase. In an auto transition a veto of an Auto state takes out just that state.
"""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex
from time import perf_counter
from typing import TYPE_CHECKING, Any

from asyncmachine.machine import reasons
from asyncmachine.machine.errors import HandlerError
from asyncmachine.machine.event import Event
from asyncmachine.machine.handlers import NO_CALLS, Call, Turn
from asyncmachine.machine.levels import LogEntry
from asyncmachine.machine.mutation import ADD, KINDS, Kind, Mutation, MutationSource
from asyncmachine.machine.plan import Plan, settled_plan
from asyncmachine.machine.recovery import failed, take_back
from asyncmachine.machine.result import Outcome
from asyncmachine.machine.rules import mask_of
from asyncmachine.machine.steps import Step, transition_text
from asyncmachine.machine.subscriptions import Subscriptions
from asyncmachine.machine.tasks import start_task
from asyncmachine.machine.watchdog import overrun

if TYPE_CHECKING:
    from asyncmachine.machine.machine import Machine


class Transition:
    """What handlers and tracers see of it. Names and ticks are made from the plan when they are asked for.

    `accepted` turns False when relations reject it, a handler vetoes or a handler raises (then `broken` turns True);
    `completed` turns True at its end. `args` are the mutation's arguments, shared by all handlers; `source` is what the
    mutation is traced to; `queue_tick` its number in the queue; `queue_len` how many mutations wait at the end.
    `steps` and `log_entries` tell how it went, `pre_log_entries` what was logged before it, as far as `machine.log` is
    switched on.
    """

    steps: Sequence[Step] = ()
    log_entries: Sequence[LogEntry] = ()
    pre_log_entries: Sequence[LogEntry] = ()
    broken = False
    completed = False
    is_check = False
    queue_len = 0
    _refusal = ""
    _after: tuple[int, ...] | None = None
    _id = ""
    _mutation: Mutation | None = None

    def __init__(
        self, machine: Any, plan: Plan, args: dict[str, Any], source: MutationSource | None = None, queue_tick: int = 0
    ) -> None:
        self.machine = machine
        self.plan = plan
        self.accepted = plan.accepted
        self.args = args
        self.source = source
        self.queue_tick = queue_tick
        self._before: list[int] = machine._ticks.copy()

    @classmethod
    def of(cls, machine: Any, plan: Plan, mutation: Mutation) -> Transition:
        """The transition of a mutation that waited in the queue."""
        tx = cls(machine, plan, mutation.args, mutation.source, mutation.queue_tick)
        tx._mutation = mutation
        tx.is_check = mutation.is_check
        return tx

    def __repr__(self) -> str:
        return f"<Transition {self.id} {self.mutation!r}>"

    @property
    def id(self) -> str:
        """16 random hex digits."""
        if not self._id:
            self._id = token_hex(8)
        return self._id

    @property
    def mutation(self) -> Mutation:
        """The request that is carried out."""
        found = self._mutation
        if found is None:
            plan = self.plan
            found = Mutation(plan.kind, plan.called, self._names(plan.called), self.args, self.source)
            found.queue_tick = self.queue_tick
            self._mutation = found
        return found

    @property
    def kind(self) -> Kind:
        """add, remove or set."""
        return KINDS[self.plan.kind]

    @property
    def is_auto(self) -> bool:
        """True if the machine started it on its own, for its Auto states."""
        return self._mutation is not None and self._mutation.is_auto

    @property
    def called(self) -> tuple[str, ...]:
        """States named by the mutation."""
        return self.mutation.called

    @property
    def before(self) -> tuple[int, ...]:
        """Ticks at its start."""
        return tuple(self._before)

    @property
    def after(self) -> tuple[int, ...]:
        """Ticks at its end; while it runs, the ticks it is about to lead to."""
        if self._after is not None:
            return self._after
        ticks = self._before.copy()
        if self.accepted and not self.is_check:
            advance(ticks, self.plan)
        return tuple(ticks)

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
    def reason(self) -> str:
        """Why it was canceled, for a person to read; empty unless it was."""
        if self.accepted:
            return ""
        return self._refusal or reasons.rejected(self.machine._rules, self.plan)

    def text(self) -> str:
        """Id, mutation, source and steps, a line each."""
        return transition_text(self)

    def _names(self, indexes: tuple[int, ...]) -> tuple[str, ...]:
        names = self.machine.names
        return tuple([names[i] for i in indexes])


def advance(ticks: list[int], plan: Plan) -> None:
    """The rule of ticks: one for each state that changes, two for a Multi state that is called again."""
    for i in plan.rises:
        ticks[i] += 1
    for i in plan.again:
        ticks[i] += 2


def run(tx: Transition) -> Outcome:
    """Carries out a mutation on the draining thread. Returns executed or canceled."""
    machine, plan = tx.machine, tx.plan
    # None without tracers: then nothing is asked for.
    hooks = machine._hooks if machine._tracers else None
    table = machine._table
    machine._tx = tx
    calls = NO_CALLS if table is None else table.known.get(plan) or table.calls(plan)
    touched: tuple[int, ...] = ()
    if hooks is not None:
        for hook in hooks.transition_init:
            machine._guarded(hook, tx)
        for hook in hooks.transition_start:
            machine._guarded(hook, tx)
    try:
        if tx.accepted and calls.negotiation:
            negotiate(tx, calls.negotiation)
        if plan.is_auto:
            tx.plan = tx.plan.settled
        if tx.accepted and not tx.is_check:
            touched = apply(tx)
            if hooks is not None:
                for hook in hooks.transition_finals:
                    machine._guarded(hook, tx)
            final = calls.final if tx.plan is plan or table is None else table.calls(tx.plan).final
            if final or machine._subs is not None:
                touched += finish(tx, final)
            due = machine._config.auto_called or machine._observer is not None
            if due and touched and not tx.broken and not plan.is_auto and not plan.quiet:
                queue_auto(machine)
    except BaseException as error:
        tx.accepted = False
        tx._refusal = reasons.broken("a handler", error)
        machine._busy = None
        raise
    finally:
        tx.completed = True
        ended = () if hooks is None else hooks.transition_end
        if tx.broken or ended:
            tx._after = tuple(machine._ticks)
            tx.queue_len = len(machine._queue)
        for hook in ended:
            machine._guarded(hook, tx)
        if touched and machine._subs is not None:
            machine._subs.changed(machine._ticks, touched)
    return Outcome.EXECUTED if tx.accepted else Outcome.CANCELED


def negotiate(tx: Transition, turns: tuple[Turn, ...]) -> None:
    """Asks the negotiation handlers. A veto cancels, or in an auto transition takes out the Auto state it is about."""
    plan = tx.plan
    there = mask_of(plan.target) if plan.is_auto else 0
    vetoed = 0
    for turn in turns:
        if vetoed:
            if not there & ~vetoed:
                break
            if turn.kind in ("Pair", "Enter") and vetoed >> turn.state & 1:
                continue
        if asks(tx, turn):
            continue
        if tx.broken or not may_leave(tx, turn):
            tx.accepted = False
            break
        vetoed |= 1 << turn.state
    if vetoed:
        if not there & ~vetoed:
            tx.accepted = False
        left = plan.called_mask & there & ~vetoed
        tx.plan = settled_plan(tx.machine._rules, plan.start, left, vetoed)


def may_leave(tx: Transition, turn: Turn) -> bool:
    """True if a veto takes out just the state: an Auto state that enters, or is second in a pair, when all is auto."""
    return tx.plan.is_auto and turn.kind in ("Enter", "Pair") and turn.state in tx.machine._rules.auto


def asks(tx: Transition, turn: Turn) -> bool:
    """Calls the handlers of one name. False if one vetoes, or raises (then `tx.broken`)."""
    for call in turn.calls:
        try:
            verdict = traced(tx, turn, call) if tx.machine._tracers else invoke(tx, turn, call)
            if verdict is not None and not isinstance(verdict, bool):
                raise HandlerError(
                    f"{turn.name} returned {type(verdict).__name__}: a negotiation handler returns False to veto, "
                    "True or None to accept"
                )
        except Exception as error:
            if not tx.machine._catches:
                raise
            failed(tx, turn, error)
            return False
        if verdict is False:
            tx._refusal = reasons.vetoed(turn.name)
            if tx.machine._observer is not None:
                tx.machine._observer.vetoed(tx, turn)
            return False
    return True


def apply(tx: Transition) -> tuple[int, ...]:
    """Changes the ticks. Returns the states whose tick has changed."""
    machine, plan = tx.machine, tx.plan
    advance(machine._ticks, plan)
    machine._config = plan.leads_to
    if machine._observer is not None:
        machine._observer.applied(tx)
    if machine._scopes:
        machine._end_scopes(plan.touched)
    return plan.touched


def finish(tx: Transition, turns: tuple[Turn, ...]) -> tuple[int, ...]:
    """Calls the final handlers. Returns the states that were taken back because a handler raised."""
    machine = tx.machine
    subs: Subscriptions | None = machine._subs
    awaited = subs is not None and bool(subs.args)
    for turn in with_awaited(tx, turns) if awaited else turns:
        for call in turn.calls:
            try:
                if machine._tracers:
                    traced(tx, turn, call)
                else:
                    invoke(tx, turn, call)
            except Exception as error:
                if not machine._catches:
                    take_back(tx, turn)
                    raise
                failed(tx, turn, error)
                return take_back(tx, turn)
            except BaseException:
                take_back(tx, turn)
                raise
        if awaited and subs is not None and turn.kind == "State":
            subs.activated(turn.about, tx.args)
    return ()


def with_awaited(tx: Transition, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The final turns plus an empty one for each entering state without handlers, so that waits for arguments match."""
    handled = {turn.state: turn for turn in turns if turn.kind == "State"}
    names = tx.machine.names
    entering = [handled.get(i) or Turn(names[i] + "State", "State", i, names[i], ()) for i in tx.plan.enters]
    ends = [turn for turn in turns if turn.kind == "End"]
    return (*ends, *entering, *(turn for turn in turns if turn.kind not in ("End", "State")))


def invoke(tx: Transition, turn: Turn, call: Call) -> object:
    """Calls one handler and measures it, or starts its task if it is a coroutine function.

    Raises what the handler raises, and `HandlerTimeout` if it took too long.
    """
    machine = tx.machine
    event = Event(turn.name, turn.about, tx)
    if call.is_async:
        start_task(machine, event, turn, call)
        return None
    started = perf_counter()
    machine._busy = (started, turn.name, machine._drainer)
    verdict: object = call.function(event)
    machine._busy = None
    lasted = perf_counter() - started
    if lasted > machine.handler_timeout:
        raise overrun(turn.name, call.binding, lasted, machine.handler_timeout, machine.handler_deadline)
    return verdict


def traced(tx: Transition, turn: Turn, call: Call) -> object:
    """Calls one handler between the tracers' hooks."""
    machine = tx.machine
    observer = machine._observer
    if observer is not None:
        observer.handler_started(tx, turn, call)
    for hook in machine._hooks.handler_start:
        machine._guarded(hook, tx, call.binding, turn.name)
    try:
        return invoke(tx, turn, call)
    finally:
        if observer is not None:
            observer.handler_ended(tx, turn, call)
        for hook in machine._hooks.handler_end:
            machine._guarded(hook, tx, call.binding, turn.name)


def queue_auto(machine: Machine[Any]) -> None:
    """Puts the auto mutation that is due now, if any, to the front of the queue."""
    called = machine._config.auto_called
    if machine._observer is not None:
        machine._observer.auto_due()
    if called:
        names = machine._names
        machine._prepend(Mutation(ADD, called, tuple([names[i] for i in called]), {}, is_auto=True))
