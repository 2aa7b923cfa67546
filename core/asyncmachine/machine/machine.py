"""The machine: what its owner calls.

A mutation call drains the queue on the caller's thread before it returns (`drain`). One that is made while the queue is
being drained, by a handler or by another thread, is appended and returns *queued*. So transitions never nest, and
mutations never overtake each other; only auto mutations, dry runs and errors raised by handlers go to the front.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar, Unpack, overload

from asyncmachine.machine import reasons
from asyncmachine.machine.args import ArgsLike, ErrorArgs, raw_args
from asyncmachine.machine.drain import Drain, Source, source_of
from asyncmachine.machine.errors import SchemaError
from asyncmachine.machine.evaluation import Evaluation
from asyncmachine.machine.export import Export
from asyncmachine.machine.growth import grown, schema_from, take_over
from asyncmachine.machine.mutation import ADD, REMOVE, SET, Kind, Mutation, called_names, kind_number
from asyncmachine.machine.options import DEFAULTS, Options, check_options, resolver_of
from asyncmachine.machine.plan import configuration
from asyncmachine.machine.queue import Position, Queued, find_queued
from asyncmachine.machine.reading import N
from asyncmachine.machine.recovery import Catching, error_states
from asyncmachine.machine.result import Result
from asyncmachine.machine.rules import rules_of
from asyncmachine.machine.schema import EXCEPTION, State, StatesMeta
from asyncmachine.machine.tracer import ChangeTracer, ErrorTracer
from asyncmachine.machine.transition import Transition
from asyncmachine.machine.view import View
from asyncmachine.machine.watchdog import WATCHDOG, Busy

D = TypeVar("D", bound=str)
T = TypeVar("T")


class Machine(Drain[N]):
    """A state machine in this process. All methods may be called from any thread.

    `states` is a class of states, a schema, or a plain mapping; `handlers` an object or a dict, bound at once.
    The other keywords are told in `Options`.
    """

    is_local = True

    __slots__ = (
        "_busy",
        "_catches",
        "_groups",
        "_interrupted",
        "_loop",
        "_reported",
        "eval_timeout",
        "handler_backoff",
        "handler_deadline",
        "handler_timeout",
    )

    @overload
    def __init__(self: Machine[D], states: type[D], handlers: object = None, **options: Unpack[Options]) -> None: ...

    @overload
    def __init__(
        self: Machine[str],
        states: Mapping[str, State | Mapping[str, Any]],
        handlers: object = None,
        **options: Unpack[Options],
    ) -> None: ...

    def __init__(self, states: Any, handlers: object = None, **options: Unpack[Options]) -> None:
        check_options(options)
        parent, settings = options.get("parent"), options.get("settings", DEFAULTS)
        resolver = resolver_of(options.get("relations", "recorded"))
        schema = schema_from(states, options.get("names"))
        super().__init__(
            options.get("id", ""),
            rules_of(schema, resolver, options.get("unknown_names", "error")),
            tags=options.get("tags", ()),
            parent_id=parent.id if parent is not None else "",
            queue_limit=options.get("queue_limit", settings.queue_limit),
        )
        self.handler_timeout = options.get("handler_timeout", settings.handler_timeout)
        self.handler_deadline = options.get("handler_deadline", settings.handler_deadline)
        self.handler_backoff = options.get("handler_backoff", settings.handler_backoff)
        self.eval_timeout = options.get("eval_timeout", settings.eval_timeout)
        self._catches = settings.catch_errors
        self._loop: asyncio.AbstractEventLoop | None = None
        self._busy: Busy | None = None
        self._reported: Busy | None = None
        self._interrupted: Busy | None = None
        self._groups: Mapping[str, tuple[str, ...]] = states.groups if isinstance(states, StatesMeta) else {}
        self._set_tracers(tuple(options.get("tracers", ())))
        if parent is not None:
            for tracer in parent.tracers:
                parent._guarded(tracer.new_submachine, parent, self)
            life = parent._root_scope()
            life.on_end(self.dispose)
            self.on_dispose(lambda _: life.forget(self.dispose))
        for tracer in self._tracers:
            self._guarded(tracer.machine_init, self)
        if handlers is not None:
            self.bind(handlers)

    def __repr__(self) -> str:
        return f"<Machine {self.id} {self}>"

    def __reduce__(self) -> str:
        raise TypeError(f"machine {self.id!r} cannot be pickled: send its export() and restore() it elsewhere")

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
        if isinstance(err, asyncio.CancelledError):
            return Result.refused(reasons.CANCELLED)
        if self._refuses and self._is_refusing():
            return self._refused()
        called = error_states(err, self._index, state or "")
        found = raw_args(args)
        found[ErrorArgs.key] = ErrorArgs(err=err, trace="".join(traceback.format_exception(err)))
        self._indexes(called)
        self._err = err
        return self._mutate(ADD, called, found, e, {})

    def catch(self, state: N | None = None, *, e: Source = None) -> Catching:
        """`with machine.catch("ErrNetwork"):` adds what the block raises as an error, and goes on after it."""
        return Catching(partial(self.add_err, state=state, e=e))

    # Queue

    @property
    def queue_len(self) -> int:
        """Mutations that wait in the queue."""
        return len(self._queue)

    @property
    def queue_limit(self) -> int:
        """Above this many waiting mutations further ones are canceled."""
        return self._queue_limit

    def queue(self) -> tuple[Mutation, ...]:
        """The mutations that wait, in the order they will run."""
        return tuple(item for item in tuple(self._queue) if isinstance(item, Mutation))

    def prepend(self, kind: Kind, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None) -> Result:
        """A mutation that runs before all that waits. It takes no queue tick."""
        names = called_names(states)
        return self._put_first(Mutation(kind_number(kind), self._indexes(names), names, raw_args(args), source_of(e)))

    def is_queued(
        self,
        kind: Kind,
        states: N | Iterable[N],
        *,
        without_args: bool = False,
        strict: bool = False,
        min_tick: int = 0,
        is_check: bool = False,
        position: Position = "any",
    ) -> Queued | None:
        """Where a mutation of this kind that calls these states waits, None if there is none.

        `strict` ones call no other states. `min_tick` leaves out earlier ones and those without a queue tick.
        `position` looks only at the `first` or the `last` in the queue.
        """
        called = set(self._indexes(called_names(states)))
        return find_queued(self.queue(), kind_number(kind), called, without_args, strict, min_tick, is_check, position)

    def is_queued_above(self, threshold: int, kind: Kind, states: N | Iterable[N]) -> bool:
        """True if at least `threshold` such mutations wait, dry runs left out."""
        called, number = set(self._indexes(called_names(states))), kind_number(kind)
        waiting = [m for m in self.queue() if not m.is_check and m.kind_id == number and called <= set(m.indexes)]
        return len(waiting) >= threshold

    def will_be(self, states: N | Iterable[N], position: Position = "any") -> bool:
        """True if the adding of these states waits."""
        return self.is_queued("add", states, position=position) is not None

    def will_be_removed(self, states: N | Iterable[N], position: Position = "any") -> bool:
        """True if the removal of these states waits."""
        return self.is_queued("remove", states, position=position) is not None

    def eval(self, function: Callable[[], T]) -> T:
        """Calls a function between transitions and returns what it returns.

        While another thread drains, waits for up to `eval_timeout` seconds, then raises `WaitTimeout`. Raises
        `HandlerError` inside of a handler, where it would wait for itself, and `Disposed` if the machine is gone.
        """
        item: Evaluation[T] = self._evaluate(function)
        return item.value() if item.done() else item.block(self.eval_timeout)

    async def eval_async(self, function: Callable[[], T]) -> T:
        """`eval` for a coroutine: waits its turn without blocking the loop."""
        return await self._evaluate(function)

    @property
    def backoff(self) -> bool:
        """True while mutations are refused because a handler has missed its deadline."""
        return self._refuses and self._is_refusing() and not self._closing

    @property
    def transition(self) -> Transition | None:
        """The transition that runs now; within a drain also the last one that ran."""
        return self._tx

    # Callbacks

    def on_change(self, callback: Callable[[View[Any], tuple[int, ...], tuple[int, ...]], object]) -> str:
        """Calls `callback(machine, ticks before, ticks after)` at the end of each transition, canceled ones too.

        Returns an id for `untrace`.
        """
        return self.trace(ChangeTracer(callback))

    def on_error(self, callback: Callable[[View[Any], BaseException], object]) -> str:
        """Calls `callback(machine, error)` for each error that activates `Exception`. Returns an id for `untrace`."""
        return self.trace(ErrorTracer(callback))

    # Handlers

    def bind(self, handlers: object, *, id: str = "", prefix: str = "") -> str:
        """Binds an object's handlers, or a dict of them by name. Returns the binding's id.

        The first binding of a machine that is in `Exception` adds the error again, so that the new handlers see it.
        Raises `SchemaError` if a name looks like a handler and is none.
        """
        first = self._table is None
        found = super().bind(handlers, id=id, prefix=prefix)
        if first:
            WATCHDOG.watch(self)
            if self._err is not None and EXCEPTION in self:
                self.add_err(self._err)
        return found

    # Schema

    def set_schema(self, states: Any, names: Iterable[str] | None = None) -> None:
        """Takes a larger schema: new states start inactive, known ones keep their ticks and may be redefined.

        Raises `SchemaError`, and changes nothing, if the new schema has a mistake, is not larger, lacks a known state,
        or if a transition runs.
        """
        old, rules = self._schema, grown(self, schema_from(states, names))
        with self._guard:
            if not self._claim():
                raise SchemaError("cannot set the schema during a transition: wait with when_queue_ends()")
        try:
            take_over(self, rules)
            if isinstance(states, StatesMeta):
                self._groups = states.groups
            for tracer in self._tracers:
                self._guarded(tracer.schema_change, self, old)
        finally:
            self._end_drain()

    @property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """Named groups of states, from the class of states or `set_groups`."""
        return self._groups

    def set_groups(self, groups: Mapping[str, Iterable[N]]) -> None:
        """Replaces the groups. Raises `StateMissing` for a name that the machine does not have."""
        found: dict[str, tuple[str, ...]] = {name: tuple(members) for name, members in groups.items()}
        for members in found.values():
            self._indexes(members)
        self._groups = found

    # Export and import

    def export(self) -> Export:
        """The machine's time as plain data; `restore` takes it."""
        if self._observer is not None:
            self._observer.exported()
        return Export(self.id, self._names, self.time(), self._queue_tick, self._machine_tick)

    def restore(self, data: Export) -> None:
        """Takes over an exported time. Meant for a fresh machine: no handlers are called, the queue tick stays.

        Raises `SchemaError` if id or states differ, or during a transition; nothing has changed then. Afterwards
        `MachineRestored` is added, if the schema has it.
        """
        if data.id != self.id:
            raise SchemaError(f"the export is of machine {data.id!r}, this one is {self.id!r}")
        if set(data.state_names) != set(self._names) or len(data.time) != len(self._names):
            raise SchemaError(f"the export has other states than {self.id!r}; make the machine from the same schema")
        ticks = dict(zip(data.state_names, data.time, strict=True))
        with self._guard:
            if not self._claim():
                raise SchemaError("cannot restore during a transition: wait with when_queue_ends()")
        try:
            before = self._ticks.copy()
            self._ticks[:] = [ticks[name] for name in self._names]
            active = [self._index[name] for name in data.state_names if ticks[name] & 1]
            self._config = configuration(self._rules, active)
            self._machine_tick = data.machine_tick + 1
            touched = [i for i, tick in enumerate(self._ticks) if tick != before[i]]
            if self._observer is not None:
                self._observer.imported()
            for tracer in self._tracers:
                self._guarded(tracer.machine_restore, self)
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
            if self._observer is not None:
                self._observer.disposing("Start")
            # Within a drain the removal waits its turn, and disposal with it.
            self._mutate(REMOVE, "Start", None, None, {}).then(self._close)
        else:
            self._close()

    def _close(self) -> None:
        """Refuses mutations from now on. If a drain runs, it disposes of the machine at its end."""
        with self._guard:
            closes, self._closing = not self._closing, True
            self._refuses = True
            closes = closes and not self._draining
        if closes:
            self._dispose_now()
