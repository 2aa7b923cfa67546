"""The read half of a machine: ticks, queries, waits, scopes, handlers and tracers.

A local `Machine` and the network machine of aRPC answer these alike, from their own list of ticks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from secrets import token_hex
from typing import Any, Generic, TypeVar

from asyncmachine.machine.args import ArgsLike, raw_args
from asyncmachine.machine.decorators import On
from asyncmachine.machine.errors import Disposed, InvalidArgs, StateMissing
from asyncmachine.machine.handlers import HandlerTable, bound, clean_id
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
from asyncmachine.machine.tracer import Tracer
from asyncmachine.machine.wait import Wait

N = TypeVar("N", bound=str, contravariant=True)  # noqa: PLC0105 (one letter, as it is in every signature)
"""The names a machine takes: a class of states, or `str` for a machine made from a plain schema."""

_making = threading.Lock()


class View(Generic[N]):
    """What can be asked of a machine, here or across the network. Not made directly."""

    is_local = False

    __slots__ = (
        "__weakref__",
        "_disposed",
        "_err",
        "_id",
        "_index",
        "_machine_tick",
        "_names",
        "_on_dispose",
        "_parent_id",
        "_queue_tick",
        "_root",
        "_schema",
        "_scopes",
        "_subs",
        "_table",
        "_tags",
        "_ticks",
        "_tracers",
    )

    def __init__(self, id: str, schema: Schema, *, tags: Iterable[str] = (), parent_id: str = "") -> None:
        self._id = id or token_hex(8)
        self._schema = schema
        self._names = schema.names
        self._index: dict[str, int] = {name: i for i, name in enumerate(schema.names)}
        self._ticks: list[int] = [0] * len(schema.names)
        self._tags = tuple(dict.fromkeys(tags))
        self._parent_id = parent_id
        self._queue_tick = 1
        self._machine_tick = 0
        self._err: BaseException | None = None
        self._disposed = False
        self._table: HandlerTable | None = None
        self._tracers: tuple[Tracer, ...] = ()
        self._subs: Subscriptions | None = None
        self._scopes: dict[int, Scope] = {}
        self._on_dispose: list[Callable[[str], object]] = []
        self._root: Scope | None = None

    # Identity

    @property
    def id(self) -> str:
        """The machine's name, 16 random hex digits unless given."""
        return self._id

    @property
    def parent_id(self) -> str:
        """Id of the machine this one was made for, empty without one."""
        return self._parent_id

    @property
    def tags(self) -> tuple[str, ...]:
        """Free labels, `key` or `key:value`."""
        return self._tags

    @property
    def names(self) -> tuple[str, ...]:
        """All state names in their order."""
        return self._names

    @property
    def schema(self) -> Schema:
        """The schema, as given plus `Exception`."""
        return self._schema

    @property
    def is_disposed(self) -> bool:
        """True from the moment disposal begins."""
        return self._disposed

    # States

    def is_(self, *names: N) -> bool:
        """True if all of these are active (also when none are given). Unknown names are not active."""
        index, ticks = self._index, self._ticks
        for name in names:
            i = index.get(name)
            if i is None or not ticks[i] & 1:
                return False
        return not self._disposed

    def not_(self, *names: N) -> bool:
        """True if none of these is active. Raises `StateMissing` for unknown names."""
        if self._disposed:
            return False
        ticks = self._ticks
        return not any(ticks[i] & 1 for i in self._indexes(names))

    def any_(self, *names: N) -> bool:
        """True if at least one of these is active."""
        return any(self.is_(name) for name in names)

    def __contains__(self, name: object) -> bool:
        """`"Foo" in machine`: is Foo active?"""
        i = self._index.get(name)  # type: ignore[call-overload]
        return i is not None and bool(self._ticks[i] & 1)

    def has(self, *names: str) -> bool:
        """True if the machine has all of these states."""
        return not self._disposed and all(name in self._index for name in names)

    def is_err(self) -> bool:
        """True while `Exception` is active."""
        return EXCEPTION in self

    @property
    def err(self) -> BaseException | None:
        """The last error. It stays when `Exception` is removed."""
        return self._err

    def active_states(self, names: Iterable[N] | None = None) -> tuple[str, ...]:
        """Active states in the machine's order, or those among `names` in the given order."""
        if self._disposed:
            return ()
        if names is None:
            return self._active_names()
        return tuple(name for name in names if name in self)

    def switch(self, *groups: Iterable[N]) -> str | None:
        """The first active state of these groups, None if there is none."""
        return next((name for group in groups for name in group if name in self), None)

    def index(self, name: N) -> int:
        """Position of a state, -1 for an unknown name."""
        return self._index.get(name, -1)

    # Time

    def tick(self, name: N) -> int:
        """How often the state has changed; odd means active. 0 for an unknown name."""
        i = self._index.get(name)
        return 0 if i is None else self._ticks[i]

    def time(self, names: Iterable[N] | None = None) -> tuple[int, ...]:
        """Ticks of all states in their order, or of `names` in the given order."""
        if self._disposed:
            return ()
        return tuple(self._ticks) if names is None else tuple(self.tick(name) for name in names)

    def clock(self, names: Iterable[N] | None = None) -> dict[str, int]:
        """Ticks by name."""
        if self._disposed:
            return {}
        if names is None:
            return dict(zip(self._names, self._ticks, strict=True))
        return {name: self.tick(name) for name in names}

    def is_time(self, time: Sequence[int], names: Iterable[N] | None = None) -> bool:
        """True if the ticks are exactly these."""
        return self.time(names) == tuple(time)

    def was_time(self, time: Sequence[int], names: Iterable[N] | None = None) -> bool:
        """True if every tick has been reached."""
        now = self.time(names)
        return len(now) >= len(time) and all(tick >= past for tick, past in zip(now, time, strict=False))

    def is_clock(self, clock: Mapping[N, int]) -> bool:
        """True if the ticks are exactly these."""
        return all(self.tick(name) == tick for name, tick in clock.items())

    def was_clock(self, clock: Mapping[N, int]) -> bool:
        """True if every tick has been reached."""
        return all(self.tick(name) >= tick for name, tick in clock.items())

    @property
    def queue_tick(self) -> int:
        """Number of the last mutation taken from the queue, counted from 2; 1 for a fresh machine."""
        return self._queue_tick

    @property
    def machine_tick(self) -> int:
        """How often the machine has been restored from an export."""
        return self._machine_tick

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
        wait = TimeWait(self._indexes(names), tuple(ticks))
        self._subscriptions().add_states(wait, self._ticks)
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
        bind_to(wait, scope)
        return wait

    def when_args(self, name: N, args: ArgsLike = None, /, *, scope: Scope | None = None, **kw: Any) -> Wait:
        """Met when the state activates (or is called again) with arguments that hold all of these."""
        self._indexes((name,))
        wait = ArgsWait(name, raw_args(args, kw))
        self._subscriptions().add_args(wait)
        bind_to(wait, scope)
        return wait

    def when_queue(self, tick: int | Result, *, scope: Scope | None = None) -> Wait:
        """Met when the mutation with this queue tick (or this result) has finished, executed or not."""
        if isinstance(tick, Result):
            wait = Wait()
            tick.then(wait._end)
            bind_to(wait, scope)
            return wait
        queued = QueueWait(tick)
        self._subscriptions().add_queue(queued)
        if self._finished_queue_tick() >= tick:
            queued._end()
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
        self._root_scope().on_end(wait._end)
        return wait

    def _when_states(self, names: Iterable[str], odd: int, scope: Scope | None) -> Wait:
        wait = StatesWait(self._indexes(names), odd)
        self._subscriptions().add_states(wait, self._ticks)
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
        binding = bound(
            self._index, handlers, id=clean_id(id) or f"anon-{token_hex(2)}", prefix=prefix, kinds=self._bindable()
        )
        if self._table is None:
            self._table = HandlerTable(self._names, self._index)
        self._table.add(binding)
        return binding.id

    @property
    def on(self) -> On[N]:
        """Decorators that bind a function: ``@machine.on.state("Foo")``. The binding's id is the function's name."""
        return On(self)

    def detach(self, id: str) -> None:
        """Takes a binding away. Raises `SchemaError` if there is none with this id."""
        if self._table is None:
            self._table = HandlerTable(self._names, self._index)
        self._table.remove(id)

    def handlers(self) -> tuple[str, ...]:
        """Ids of the bindings."""
        return self._table.ids if self._table else ()

    def trace(self, tracer: Tracer) -> str:
        """Binds a tracer. Returns its id."""
        tracer.id = tracer.id or f"tracer-{token_hex(2)}"
        self._tracers = (*self._tracers, tracer)
        return tracer.id

    def untrace(self, id: str) -> None:
        """Takes a tracer away; does nothing if it is not bound."""
        self._tracers = tuple(tracer for tracer in self._tracers if tracer.id != id)

    @property
    def tracers(self) -> tuple[Tracer, ...]:
        """The bound tracers, in order."""
        return self._tracers

    # Text

    def __str__(self) -> str:
        """Active states with their ticks: ``(A:1 B:3)``."""
        return "" if self._disposed else f"({self._text(1)})"

    def string_all(self) -> str:
        """All states: ``(A:1 B:3) [C:2]``."""
        return "" if self._disposed else f"({self._text(1)}) [{self._text(0)}]"

    def _text(self, odd: int) -> str:
        return " ".join(f"{n}:{t}" for n, t in zip(self._names, self._ticks, strict=True) if t & 1 == odd)

    def inspect(self, names: Iterable[N] | None = None) -> str:
        """One block a state: active or not, tick, flags and relations."""
        if self._disposed:
            return ""
        lines = []
        for i in range(len(self._names)) if names is None else self._indexes(names):
            found, tick = self._schema[self._names[i]], self._ticks[i]
            lines += [f"{tick & 1} {self._names[i]}", f"    |Tick     {tick}"]
            lines += [f"    |{flag.capitalize():<8} true" for flag in ("auto", "multi") if getattr(found, flag)]
            lines += [
                f"    |{key.capitalize():<8} {' '.join(getattr(found, key))}"
                for key in ("add", "require", "remove", "after")
                if getattr(found, key) is not None
            ]
        return "\n".join(lines) + "\n" if lines else ""

    # Disposal

    def on_dispose(self, callback: Callable[[str], object]) -> None:
        """Calls `callback(machine_id)` when the machine is disposed, at once if it has been."""
        if self._disposed:
            callback(self._id)
        else:
            self._on_dispose.append(callback)

    def _dispose_view(self) -> None:
        """Ends waits and scopes and runs the callbacks; afterwards all queries are empty."""
        self._disposed = True
        for tracer in self._tracers:
            self._guarded(tracer.machine_dispose, self._id)
        for scope in tuple(self._scopes.values()):
            scope.end()
        if self._subs is not None:
            self._subs.close(self._gone)
        for callback in self._on_dispose:
            self._guarded(callback, self._id)
        self._on_dispose.clear()
        self._index = {}
        self._table = None
        if self._root is not None:
            self._root.end()

    def _gone(self) -> Disposed:
        return Disposed(f"machine {self._id!r} has been disposed")

    # For subclasses

    def _active_names(self) -> tuple[str, ...]:
        raise NotImplementedError

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
                scope = scopes.pop(i, None)
                if scope is not None:
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

    def _indexes(self, names: Iterable[str]) -> tuple[int, ...]:
        index = self._index
        try:
            return tuple([index[name] for name in names])
        except KeyError:
            if self._disposed:
                return ()
            raise StateMissing([name for name in names if name not in index], self._id, index) from None
