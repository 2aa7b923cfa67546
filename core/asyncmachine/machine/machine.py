"""The machine: a queue of mutations, and the loop that drains it.

A mutation call drains the queue on the caller's thread before it returns. One that is made while the queue is being
drained (by a handler, or by another thread) is appended and returns *queued*. So transitions never nest, and mutations
never overtake each other; only auto mutations, dry runs and errors raised by handlers go to the front.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, overload

from asyncmachine.machine.args import ArgsLike, ErrorArgs, raw_args
from asyncmachine.machine.errors import HandlerError, SchemaError
from asyncmachine.machine.event import Event
from asyncmachine.machine.export import Export
from asyncmachine.machine.handlers import Call, Step
from asyncmachine.machine.mutation import ADD, REMOVE, SET, Mutation, MutationSource, called_names
from asyncmachine.machine.plan import Plan, auto_plan, configuration, plan_for
from asyncmachine.machine.queue import is_duplicate, lets_in
from asyncmachine.machine.relations import RECORDED
from asyncmachine.machine.result import CANCELED, EXECUTED, Outcome, Result
from asyncmachine.machine.rules import Resolver, rules_of
from asyncmachine.machine.schema import EXCEPTION, Schema, State, StatesMeta
from asyncmachine.machine.strict import STRICT
from asyncmachine.machine.tracer import Tracer
from asyncmachine.machine.transition import Transition, run
from asyncmachine.machine.verify import UnknownNames
from asyncmachine.machine.view import N, View

Source = Event | MutationSource | None
"""What a mutation can be traced to."""

Relations = Literal["recorded", "strict"] | Resolver
"""A shipped resolver by name, or one of your own."""

D = TypeVar("D", bound=str)

logger = logging.getLogger("asyncmachine")


class Machine(View[N]):
    """A state machine in this process. All methods may be called from any thread.

    `states` is a class of states, a schema, or a plain mapping; `handlers` an object or a dict, bound at once.
    `parent` is the machine this one belongs to: it is disposed with it. `names` fixes the order of the states.
    `unknown_names="keep"` drops relations to states that do not exist instead of raising `SchemaError`.
    `relations` picks the resolver: `recorded` (the default) or `strict`.
    """

    is_local = True

    @overload
    def __init__(
        self: Machine[D],
        states: type[D],
        handlers: object = None,
        *,
        id: str = "",
        tags: Iterable[str] = (),
        parent: View[Any] | None = None,
        names: Iterable[str] | None = None,
        queue_limit: int = 1000,
        tracers: Iterable[Tracer] = (),
        relations: Relations = "recorded",
        unknown_names: UnknownNames = "error",
    ) -> None: ...

    @overload
    def __init__(
        self: Machine[str],
        states: Mapping[str, State] | Mapping[str, Mapping[str, Any]],
        handlers: object = None,
        *,
        id: str = "",
        tags: Iterable[str] = (),
        parent: View[Any] | None = None,
        names: Iterable[str] | None = None,
        queue_limit: int = 1000,
        tracers: Iterable[Tracer] = (),
        relations: Relations = "recorded",
        unknown_names: UnknownNames = "error",
    ) -> None: ...

    def __init__(
        self,
        states: Any,
        handlers: object = None,
        *,
        id: str = "",
        tags: Iterable[str] = (),
        parent: View[Any] | None = None,
        names: Iterable[str] | None = None,
        queue_limit: int = 1000,
        tracers: Iterable[Tracer] = (),
        relations: Relations = "recorded",
        unknown_names: UnknownNames = "error",
    ) -> None:
        schema = states.schema if isinstance(states, StatesMeta) else states
        if not isinstance(schema, Schema):
            schema = Schema(schema)
        if names is not None:
            if EXCEPTION not in schema:
                schema = schema.merge({EXCEPTION: State(multi=True)})
            schema = schema.ordered(names)
        self._rules = rules_of(schema, resolver_of(relations), unknown_names)
        super().__init__(id, self._rules.schema, tags=tags, parent_id=parent.id if parent is not None else "")
        self._config = configuration(self._rules, ())
        self._queue: deque[Mutation] = deque()
        self._queue_limit = queue_limit
        self._guard = threading.Lock()
        self._draining = False
        # The last queue tick given out; queue_tick is the one that runs or has run.
        self._issued = 1
        self._finished = 1
        self._closing = False
        self._tx: Transition | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tracers = tuple(tracers)
        if parent is not None:
            for tracer in parent.tracers:
                parent._guarded(tracer.new_submachine, parent, self)
            parent.on_dispose(lambda _: self.dispose())
        for tracer in self._tracers:
            self._guarded(tracer.machine_init, self)
        if handlers is not None:
            self.bind(handlers)

    def __repr__(self) -> str:
        return f"<Machine {self._id} {self}>"

    def __reduce__(self) -> str:
        raise TypeError(f"machine {self._id!r} cannot be pickled: send its export() and restore() it elsewhere")

    # Mutations

    def add(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Activates states. Extra keywords become arguments of the mutation; `e` is the event it is traced to."""
        return self._mutate(ADD, states, args, e, kw)

    def remove(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Deactivates states."""
        return self._mutate(REMOVE, states, args, e, kw)

    def set(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Activates exactly these states, and what they imply."""
        return self._mutate(SET, states, args, e, kw)

    def toggle(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Deactivates the states if all are active, activates them otherwise; decided now, not when it runs."""
        names = called_names(states)
        kind = REMOVE if all(name in self for name in names) else ADD
        return self._mutate(kind, names, args, e, kw)

    def can_add(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """A dry run of `add`: relations and negotiation handlers are asked, nothing changes."""
        return self._check(ADD, states, args, e, kw)

    def can_remove(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """A dry run of `remove`."""
        return self._check(REMOVE, states, args, e, kw)

    def add_err(
        self, err: BaseException, args: ArgsLike = None, /, *, state: N | None = None, e: Source = None
    ) -> Result:
        """Adds `Exception` with this error, and with it `state` (or the state that the error's class names).

        Should relations reject the detailed state, `Exception` is added alone. A handler may still veto the whole; the
        error is then in `err` only.
        """
        if self._closing or isinstance(err, asyncio.CancelledError):
            return CANCELED
        self._err = err
        detail: Any = state or getattr(err, "state", "")
        if state is None and detail not in self._index:
            detail = ""
        found = raw_args(args)
        found[ErrorArgs.key] = ErrorArgs(err=err, trace="".join(traceback.format_exception(err)))
        called = (detail, EXCEPTION) if detail and detail != EXCEPTION else (EXCEPTION,)
        return self._mutate(ADD, called, found, e, {})

    # Queue

    @property
    def queue_len(self) -> int:
        """Mutations that wait in the queue."""
        return len(self._queue)

    @property
    def queue_limit(self) -> int:
        """Above this many waiting mutations further ones are canceled."""
        return self._queue_limit

    @property
    def transition(self) -> Transition | None:
        """The transition that runs now; within a drain also the last one that ran."""
        return self._tx

    # Export and import

    def export(self) -> Export:
        """The machine's time as plain data; `restore` takes it."""
        return Export(self._id, self._names, self.time(), self._queue_tick, self._machine_tick)

    def restore(self, data: Export) -> None:
        """Takes over an exported time. Meant for a fresh machine: no handlers are called, the queue tick stays.

        Raises `SchemaError` if id or states differ, or during a transition; nothing has changed then. Afterwards
        `MachineRestored` is added, if the schema has it.
        """
        if data.id != self._id:
            raise SchemaError(f"the export is of machine {data.id!r}, this one is {self._id!r}")
        if set(data.state_names) != set(self._names) or len(data.time) != len(self._names):
            raise SchemaError(f"the export has other states than {self._id!r}; make the machine from the same schema")
        ticks = dict(zip(data.state_names, data.time, strict=True))
        with self._guard:
            if self._draining:
                raise SchemaError("cannot restore during a transition: wait with when_queue_ends()")
            self._draining = True
        try:
            before = self._ticks.copy()
            self._ticks[:] = [ticks[name] for name in self._names]
            active = [self._index[name] for name in data.state_names if ticks[name] & 1]
            self._config = configuration(self._rules, active)
            self._machine_tick = data.machine_tick + 1
            touched = [i for i, tick in enumerate(self._ticks) if tick != before[i]]
            self._end_scopes(touched)
            self._resolve(touched)
        finally:
            self._end_drain()
        if "MachineRestored" in self._index:
            self._mutate(ADD, "MachineRestored", None, None, {})

    # Disposal

    def dispose(self) -> None:
        """Ends the machine: `Start` is removed, the running transition finishes, waits end with `Disposed`.

        Called from a handler or another thread during a drain, the drain does the rest. Calling it again does nothing.
        """
        if self._closing:
            return
        if "Start" in self:
            self._mutate(REMOVE, "Start", None, None, {})
        with self._guard:
            closes, self._closing = not self._closing, True
            closes = closes and not self._draining
        if closes:
            self._dispose_now()

    def _dispose_now(self) -> None:
        for mutation in self._queue:
            if mutation.result is not None:
                mutation.result._settle(Outcome.CANCELED)
        self._queue.clear()
        self._dispose_view()

    # The queue's inside

    def _mutate(self, kind: int, states: str | Iterable[str], args: ArgsLike, e: Source, kw: dict[str, Any]) -> Result:
        if self._closing:
            return CANCELED
        key = states if states.__class__ is str else called_names(states)
        guard = self._guard
        guard.acquire()
        if self._draining or self._queue:
            guard.release()
            return self._enqueue(kind, called_names(key), args, e, kw)
        # Claimed: from here to _end_drain this thread is the one that changes states.
        self._draining = True
        plan = self._config.plans[kind].get(key)
        if plan is not None:
            self._issued = tick = self._issued + 1
            guard.release()
        else:
            guard.release()
            try:
                plan = self._new_plan(kind, key)
            except BaseException:
                self._end_drain()
                raise
            with guard:
                self._issued = tick = self._issued + 1
        try:
            self._queue_tick = tick
            if self._table is None and not self._tracers and (self._subs is None or self._subs.only_states()):
                outcome = self._run_quietly(plan)
            else:
                found = {} if args is None and not kw else raw_args(args, kw)
                tx = Transition(self, plan, found, source_of(e), tick)
                for tracer in self._tracers:
                    self._guarded(tracer.mutation_queued, self, tx.mutation)
                outcome = self._carry_out(tx)
            if self._queue:
                self._drain()
        finally:
            self._end_drain()
        return EXECUTED if outcome is Outcome.EXECUTED else CANCELED

    def _new_plan(self, kind: int, key: str | Iterable[str]) -> Plan:
        names = called_names(key)
        return plan_for(self._rules, self._config, kind, self._indexes(names), key)

    def _run_quietly(self, plan: Plan) -> Outcome:
        """A transition that nobody observes: no handlers, no tracers, at most waits for states."""
        if not plan.accepted:
            self._finished = self._queue_tick
            return Outcome.CANCELED
        touched = plan.touched
        if touched:
            self._advance(plan, touched)
            due = plan.leads_to
            if due.auto_called and not plan.quiet:
                auto = auto_plan(self._rules, due)
                if auto.accepted:
                    self._advance(auto.settled, auto.settled.touched)
        self._finished = self._queue_tick
        return Outcome.EXECUTED if plan.met else Outcome.CANCELED

    def _advance(self, plan: Plan, touched: tuple[int, ...]) -> None:
        ticks = self._ticks
        for i in plan.rises:
            ticks[i] += 1
        for i in plan.again:
            ticks[i] += 2
        self._config = plan.leads_to
        if self._scopes:
            self._end_scopes(touched)
        if self._subs is not None:
            self._subs.changed(ticks, touched)

    def _carry_out(self, tx: Transition) -> Outcome:
        """Runs a transition in full and tells those who wait for its end."""
        outcome = run(tx)
        if tx.queue_tick:
            self._finished = tx.queue_tick
            if self._subs is not None:
                self._subs.queue_ticked(tx.queue_tick)
        if not tx.plan.accepted and ErrorArgs.key in tx.args:
            self._add_plain_error(tx.mutation)
        return outcome

    def _enqueue(self, kind: int, names: tuple[str, ...], args: ArgsLike, e: Source, kw: dict[str, Any]) -> Result:
        """Appends behind a running drain, unless the queue is full or the mutation would change nothing."""
        indexes = self._indexes(names)
        found = raw_args(args, kw)
        mutation = Mutation(kind, indexes, names, found, source_of(e))
        called = set(indexes)
        exception = self._index[EXCEPTION]
        with self._guard:
            queue = self._queue
            if not lets_in(self._queue_limit, len(queue), kind, exception in called, bool(self._ticks[exception] & 1)):
                return CANCELED
            if kind == REMOVE and not queue and not any(self._ticks[i] & 1 for i in indexes):
                return EXECUTED
            multi = any(self._rules.multi >> i & 1 for i in indexes)
            if not found and not multi and is_duplicate(queue, kind, indexes):
                return EXECUTED
            self._issued += 1
            mutation.queue_tick = self._issued
            mutation.result = result = Result(Outcome.QUEUED, self._issued)
            queue.append(mutation)
            drains = not self._draining
            self._draining = True
        for tracer in self._tracers:
            self._guarded(tracer.mutation_queued, self, mutation)
        if not drains:
            return result
        # The drain has ended meanwhile (or an interrupt left it unfinished): this thread goes on with it.
        try:
            self._drain()
        finally:
            self._end_drain()
        return EXECUTED if result.executed else CANCELED

    def _check(self, kind: int, states: str | Iterable[str], args: ArgsLike, e: Source, kw: dict[str, Any]) -> Result:
        if self._closing:
            return CANCELED
        names = called_names(states)
        mutation = Mutation(kind, self._indexes(names), names, raw_args(args, kw), source_of(e), is_check=True)
        mutation.result = result = Result(Outcome.QUEUED)
        with self._guard:
            drains = not self._draining
            self._draining = True
            self._queue.appendleft(mutation)
        for tracer in self._tracers:
            self._guarded(tracer.mutation_queued, self, mutation)
        if not drains:
            return result
        try:
            self._drain()
        finally:
            self._end_drain()
        return EXECUTED if result.executed else CANCELED

    def _prepend(self, mutation: Mutation) -> None:
        """Puts a mutation to the front, from within the drain. It takes no queue tick."""
        with self._guard:
            self._queue.appendleft(mutation)
        for tracer in self._tracers:
            self._guarded(tracer.mutation_queued, self, mutation)

    def _drain(self) -> None:
        """Runs what waits, until nothing does. Only the thread that set `_draining` may call it."""
        queue = self._queue
        while queue and not self._closing:
            with self._guard:
                mutation = queue.popleft()
            if mutation.queue_tick:
                self._queue_tick = mutation.queue_tick
            config = self._config
            if mutation.is_auto:
                plan = auto_plan(self._rules, config)
            else:
                key = mutation.called[0] if len(mutation.called) == 1 else mutation.called
                plan = config.plans[mutation.kind_id].get(key) or self._new_plan(mutation.kind_id, key)
            outcome = self._carry_out(Transition.of(self, plan, mutation))
            if mutation.result is not None:
                mutation.result._settle(outcome)

    def _end_drain(self) -> None:
        """Gives the drain up. What other threads have queued in the last moment is run first."""
        while True:
            self._tx = None
            with self._guard:
                if not self._queue or self._closing:
                    self._draining = False
                    break
            self._drain()
        if self._subs is not None:
            self._subs.queue_ended()
        for tracer in self._tracers:
            self._guarded(tracer.queue_end, self)
        if self._closing and not self._disposed:
            self._dispose_now()

    def _add_plain_error(self, mutation: Mutation) -> None:
        """An error whose detailed state was rejected by relations is added without it."""
        exception = self._index.get(EXCEPTION)
        if exception is None or exception not in mutation.indexes or len(mutation.called) == 1:
            return
        logger.warning("%s: %r was rejected, adding %s alone", self._id, mutation, EXCEPTION)
        self._prepend(Mutation(ADD, (exception,), (EXCEPTION,), mutation.args, mutation.source))

    # Coroutine handlers

    def _start_task(self, event: Event, step: Step, call: Call) -> None:
        """Starts an async handler as a task that lives as long as its state's activation, or as the machine."""
        try:
            loop = self._loop = asyncio.get_running_loop()
        except RuntimeError:
            if self._loop is None or self._loop.is_closed():
                raise HandlerError(
                    f"{step.name} is `async def` and needs an event loop: make the mutation from a running loop"
                ) from None
            loop = self._loop
        lasting = step.kind == "State" and not self._rules.multi >> step.state & 1
        scope = self.scope(self._names[step.state]) if lasting else self._root_scope()  # type: ignore[arg-type]

        async def body() -> None:
            try:
                await call.function(event)
            except asyncio.CancelledError:
                if not scope.expired:
                    raise
            except Exception as error:  # noqa: BLE001 (becomes the machine's Exception state)
                self.add_err(error, e=event)

        def start() -> None:
            scope.create_task(body(), name=f"{self._id}.{step.name}")

        if asyncio._get_running_loop() is loop:
            start()
        else:
            loop.call_soon_threadsafe(start)

    # For View

    def _active_names(self) -> tuple[str, ...]:
        return self._config.names

    def _is_draining(self) -> bool:
        return self._draining

    def _finished_queue_tick(self) -> int:
        return self._finished

    def _observer_failed(self, error: Exception) -> None:
        self._log_error("an observer raised", error)
        self._err = error
        if not self._closing:
            self._mutate(ADD, EXCEPTION, {ErrorArgs.key: ErrorArgs(err=error)}, None, {})

    def _log_error(self, what: str, error: BaseException) -> None:
        logger.error("%s: %s: %r", self._id, what, error)


def resolver_of(relations: Relations) -> Resolver:
    """The resolver that a name stands for. Raises `SchemaError` for an unknown name."""
    if not isinstance(relations, str):
        return relations
    found: dict[str, Resolver] = {"recorded": RECORDED, "strict": STRICT}
    if relations not in found:
        raise SchemaError(f"relations must be 'recorded', 'strict' or a resolver, got {relations!r}")
    return found[relations]


def source_of(e: Source) -> MutationSource | None:
    """The trace of origin that an event stands for."""
    return e.source if isinstance(e, Event) else e
