"""What local and network machines have in common: reading, waits, scopes, handlers and tracers.

A local `Machine` and the network machine of aRPC answer these alike, each from its own list of ticks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeVar

from asyncmachine.machine.args import ArgsLike, raw_args
from asyncmachine.machine.binding import bound, clean_id
from asyncmachine.machine.breakpoints import Breakpoint
from asyncmachine.machine.decorators import On
from asyncmachine.machine.errors import Disposed, InvalidArgs
from asyncmachine.machine.handlers import HandlerTable
from asyncmachine.machine.log import Log
from asyncmachine.machine.mutation import Mutation, called_names
from asyncmachine.machine.reading import N, Reading
from asyncmachine.machine.result import Result
from asyncmachine.machine.schema import EXCEPTION, Schema
from asyncmachine.machine.scope import Scope
from asyncmachine.machine.subscriptions import (
    ArgsWait,
    QueryWait,
    QueueWait,
    StatesWait,
    Subscriptions,
    TimeWait,
    bind_to,
)
from asyncmachine.machine.tracer import NO_HOOKS, Hooks, Tracer, hooks_of, hooks_with, hooks_without
from asyncmachine.machine.wait import Wait

if TYPE_CHECKING:
    from asyncmachine.machine.observer import Observer

T = TypeVar("T", bound=Tracer)

_making = threading.Lock()


class View(Reading[N]):
    """What can be asked of a machine, here or across the network. Not made directly."""

    is_local = False

    __slots__ = (
        "__weakref__",
        "_hooks",
        "_log",
        "_observer",
        "_on_dispose",
        "_root",
        "_scopes",
        "_subs",
        "_table",
        "_tracers",
    )

    def __init__(
        self,
        id: str,
        schema: Schema,
        *,
        tags: Iterable[str] = (),
        parent_id: str = "",
        index: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(id, schema, tags=tags, parent_id=parent_id, index=index)
        self._table: HandlerTable | None = None
        self._tracers: tuple[Tracer, ...] = ()
        self._hooks: Hooks = NO_HOOKS
        self._subs: Subscriptions | None = None
        self._scopes: dict[int, Scope] = {}
        self._on_dispose: list[Callable[[str], object]] = []
        self._root: Scope | None = None
        self._log: Log | None = None
        # Writes the log, while it is on.
        self._observer: Observer | None = None

    # Waits

    def when(self, *names: N, scope: Scope | None = None) -> Wait:
        """Met when all of these are active at once."""
        return self._when_states(names, 1, scope)

    def when_not(self, *names: N, scope: Scope | None = None) -> Wait:
        """Met when all of these are inactive at once."""
        return self._when_states(names, 0, scope)

    def when_time(self, names: Sequence[N], ticks: Sequence[int], *, scope: Scope | None = None) -> Wait:
        """Met when each state has reached its tick."""
        if isinstance(names, str) or len(names) != len(ticks) or not names:
            raise InvalidArgs(f"when_time needs as many ticks as states, at least one; got {names!r} and {ticks!r}")
        if not all(isinstance(tick, int) for tick in ticks):
            raise InvalidArgs(f"ticks are whole numbers, got {ticks!r}")
        wait = TimeWait(tuple(names), self._indexes(names), tuple(ticks))
        self._subscriptions().add_states(wait, self._ticks)
        if self._observer is not None:
            self._observer.waits("whenTime", wait, names, ticks)
        bind_to(wait, scope)
        return wait

    def when_ticks(self, name: N, ticks: int, *, scope: Scope | None = None) -> Wait:
        """Met when the state has ticked this many times from now."""
        return self.when_time([name], [self.tick(name) + ticks], scope=scope)

    def when_next_active(self, name: N, *, scope: Scope | None = None) -> Wait:
        """Met when the state activates the next time, also if it is active now."""
        return self.when_ticks(name, 2 if self.is_(name) else 1, scope=scope)

    def when_query(self, query: Callable[[Mapping[str, int]], bool], *, scope: Scope | None = None) -> Wait:
        """Met when a function of the clock returns True; asked now and after each change."""
        wait = QueryWait(self._names, query)
        self._subscriptions().add_query(wait, self._ticks)
        if self._observer is not None:
            self._observer.waits_for_query(wait)
        bind_to(wait, scope)
        return wait

    def when_args(self, name: N, args: ArgsLike = None, /, *, scope: Scope | None = None, **kw: Any) -> Wait:
        """Met when the state activates (or is called again) with arguments that hold all of these.

        A keyword is an argument of that name, or that field of the state's typed record.
        """
        self._indexes((name,))
        wait = ArgsWait(name, raw_args(args, kw))
        self._subscriptions().add_args(wait)
        if self._observer is not None:
            self._observer.waits("whenArgs", wait, (name,), names=tuple(wait.args))
        bind_to(wait, scope)
        return wait

    def when_queue(self, tick: int | Result, *, scope: Scope | None = None) -> Wait:
        """Met when the mutation with this queue tick (or this result) has finished, executed or not."""
        if isinstance(tick, Result):
            wait = Wait()
            tick.then(wait._end)
            if self._observer is not None:
                self._observer.waits("whenQueue", wait, numbers=(tick.tick,))
            bind_to(wait, scope)
            return wait
        if not isinstance(tick, int):
            raise InvalidArgs(f"when_queue takes a queue tick or a result, got {tick!r}")
        queued = QueueWait(tick)
        self._subscriptions().add_queue(queued)
        if self._finished_queue_tick() >= tick:
            queued._end()
        if self._observer is not None:
            self._observer.waits("whenQueue", queued, numbers=(tick,))
        bind_to(queued, scope)
        return queued

    def when_queue_ends(self, *, scope: Scope | None = None) -> Wait:
        """Met when the queue is empty and nothing runs."""
        wait = Wait()
        self._subscriptions().add_queue_end(wait)
        if not self._is_draining():
            wait._end()
        bind_to(wait, scope)
        return wait

    def when_err(self, *, scope: Scope | None = None) -> Wait:
        """Met when `Exception` is active."""
        return self._when_states((EXCEPTION,), 1, scope)

    def when_disposed(self) -> Wait:
        """Met when the machine has been disposed."""
        wait = Wait()
        self._root_scope().bind(wait, None)
        return wait

    def _when_states(self, names: tuple[str, ...], odd: int, scope: Scope | None) -> Wait:
        # One name is the usual case, and need not go through a list.
        found = self._index.get(names[0]) if len(names) == 1 and names[0].__class__ is str else None
        wait = StatesWait(names, self._indexes(names) if found is None else (found,), odd)
        (self._subs or self._subscriptions()).add_states(wait, self._ticks)
        if self._observer is not None:
            self._observer.waits("when" if odd else "whenNot", wait, names)
        if scope is not None:
            bind_to(wait, scope)
        return wait

    # Scopes

    def scope(self, name: N) -> Scope:
        """The lifetime that ends when the state's tick next changes. Shared by all who ask in the meantime."""
        i = self._index.get(name)
        if i is None:
            return self._missing_scope(name)
        found = self._scopes.get(i)
        if found is None:
            with _making:
                found = self._scopes.get(i)
                if found is None:
                    found = self._scopes[i] = Scope(name, self._ticks[i])
            # Filed first, looked at second: nobody else ends it if the state has changed in between.
            if found.tick != self._ticks[i]:
                self._end_scopes((i,))
            if self._observer is not None:
                self._observer.waits("ctx", found, (name,))
        return found

    def _missing_scope(self, name: str) -> Scope:
        self._indexes((name,))
        ended = Scope(name)
        ended.end()
        return ended

    # Handlers and tracers

    def bind(self, handlers: object, *, id: str = "", prefix: str = "") -> str:
        """Binds an object's handlers, or a dict of them by name. Returns the binding's id.

        Raises `SchemaError` if a name looks like a handler and is none.
        """
        binding_id = clean_id(id) or f"anon-{token_hex(4)}"
        if self._disposed:
            return binding_id
        binding = bound(self._index, handlers, id=binding_id, prefix=prefix, kinds=self._bindable())
        if self._table is None:
            self._table = HandlerTable(self._names)
        self._table.add(binding)
        if self._observer is not None:
            self._observer.bound(binding.id)
        return binding.id

    @property
    def on(self) -> On[N]:
        """Decorators that bind a function: ``@machine.on.state("Foo")``. The binding's id is the function's name."""
        return On(self)

    def detach(self, id: str) -> None:
        """Takes a binding away. Raises `SchemaError` if there is none with this id."""
        if self._disposed:
            return
        if self._table is None:
            self._table = HandlerTable(self._names)
        self._table.remove(id)
        if self._observer is not None:
            self._observer.detached(id)

    def handlers(self) -> tuple[str, ...]:
        """Ids of the bindings."""
        return self._table.ids if self._table else ()

    def trace(self, tracer: Tracer) -> str:
        """Binds a tracer. Returns its id."""
        tracer.id = tracer.id or f"tracer-{token_hex(4)}"
        self._hooks = hooks_with(self._hooks, tracer, len(self._tracers))
        self._tracers = (*self._tracers, tracer)
        if self._observer is not None:
            self._observer.tracer_bound(tracer.id)
        return tracer.id

    def untrace(self, id: str) -> None:
        """Takes a tracer away; does nothing if it is not bound."""
        kept = tuple(tracer for tracer in self._tracers if tracer.id != id or tracer is self._observer)
        if self._observer is not None and len(kept) != len(self._tracers):
            self._observer.tracer_detached(id)
        if len(kept) == len(self._tracers) - 1:
            gone = next(tracer for tracer in self._tracers if tracer.id == id and tracer is not self._observer)
            self._hooks, self._tracers = hooks_without(self._hooks, gone, kept), kept
        else:
            self._set_tracers(kept)

    @contextmanager
    def traced(self, tracer: T) -> Iterator[T]:
        """Binds a tracer for a while: ``with machine.traced(Recorder()) as recorder:``."""
        bound_as = self.trace(tracer)
        try:
            yield tracer
        finally:
            self.untrace(bound_as)

    @property
    def tracers(self) -> tuple[Tracer, ...]:
        """The bound tracers, in order."""
        return tuple(tracer for tracer in self._tracers if tracer is not self._observer)

    # Log

    @property
    def log(self) -> Log:
        """What the machine tells about itself. Call it to add a line: ``machine.log("got %d rows", n)``."""
        if self._log is None:
            with _making:
                if self._log is None:
                    self._log = Log(self)
        return self._log

    def add_breakpoint(
        self,
        added: N | Iterable[N] = (),
        removed: N | Iterable[N] = (),
        *,
        strict: bool = False,
        hit: Callable[[Mutation], object] | None = None,
    ) -> str:
        """Stops at mutations: logs each one that adds or removes exactly these states, and calls `hit` with it.

        `strict` ones pass over mutations that would change nothing. `hit=lambda m: breakpoint()` opens the debugger
        where the mutation was made. Returns an id for `untrace`.
        """
        return self.trace(Breakpoint(self, called_names(added), called_names(removed), strict, hit))

    def _is_unknown(self, name: str) -> bool:
        if self._observer is not None:
            self._observer.not_found(name)
        return False

    # Disposal

    def on_dispose(self, callback: Callable[[str], object]) -> None:
        """Calls `callback(machine_id)` when the machine is disposed, at once if it has been."""
        if self._disposed:
            callback(self.id)
        else:
            self._on_dispose.append(callback)

    def _dispose_view(self) -> None:
        """Ends waits and scopes and runs the callbacks; afterwards all queries are empty."""
        self._disposed = True
        for tracer in self._tracers:
            self._guarded(tracer.machine_dispose, self.id)
        for scope in tuple(self._scopes.values()):
            scope.end()
        if self._subs is not None:
            self._subs.close(self._gone)
        for callback in self._on_dispose:
            self._guarded(callback, self.id)
        self._on_dispose.clear()
        self._index = {}
        self._table = None
        if self._root is not None:
            self._root.end()

    def _gone(self) -> Disposed:
        return Disposed(f"machine {self.id!r} has been disposed")

    # For subclasses

    def _set_tracers(self, tracers: tuple[Tracer, ...]) -> None:
        self._tracers = tracers
        self._hooks = hooks_of(tracers)

    def _bindable(self) -> Collection[str] | None:
        """Kinds of handlers that may be bound; None for all."""
        return None

    def _is_draining(self) -> bool:
        return False

    def _finished_queue_tick(self) -> int:
        """Queue tick of the last mutation that has finished."""
        return self._queue_tick

    def _guarded(self, function: Callable[..., object], *args: object) -> None:
        """Calls an observer; what it raises is kept as the machine's error and stops nothing."""
        try:
            function(*args)
        except Exception as error:  # noqa: BLE001 (kept as the machine's error)
            self._observer_failed(error)

    def _observer_failed(self, error: Exception) -> None:
        self._err = error

    def _end_scopes(self, touched: Iterable[int]) -> None:
        """Ends the scopes of states whose tick has changed. Comes before their final handlers."""
        scopes = self._scopes
        if scopes:
            for i in touched:
                scope = scopes.get(i)
                if scope is not None and scope.tick != self._ticks[i]:
                    scopes.pop(i, None)
                    scope.end()

    def _resolve(self, touched: Iterable[int]) -> None:
        """Ends the waits that are met now that these states' ticks have changed."""
        if self._subs is not None:
            self._subs.changed(self._ticks, touched)

    def _subscriptions(self) -> Subscriptions:
        if self._subs is None:
            with _making:
                if self._subs is None:
                    subs = Subscriptions()
                    if self._disposed:
                        subs.close(self._gone)
                    self._subs = subs
        return self._subs

    def _root_scope(self) -> Scope:
        """The machine's own lifetime."""
        if self._root is None:
            with _making:
                if self._root is None:
                    self._root = Scope()
                    if self._disposed:
                        self._root.end()
        return self._root
