"""The network machine: a mirror of a machine elsewhere.

Reads, waits and scopes are answered here and now, from the ticks that the source has sent. Mutations go to the source
in the order of the calls and return a *pending* result at once; awaited, it tells the final outcome when the mirror
shows it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from asyncmachine.machine.args import ArgsLike, ErrorArgs, raw_args
from asyncmachine.machine.drain import Source, source_of
from asyncmachine.machine.event import Event
from asyncmachine.machine.export import Export
from asyncmachine.machine.handlers import ANY_STATE, Call, Slot, Turn
from asyncmachine.machine.mutation import Kind, Mutation, called_names
from asyncmachine.machine.reading import N
from asyncmachine.machine.result import CANCELED, EXECUTED, Result
from asyncmachine.machine.schema import EXCEPTION, Schema, State
from asyncmachine.machine.scope import Scope
from asyncmachine.machine.transition import Transition
from asyncmachine.machine.view import View
from asyncmachine.machine.wait import Wait
from asyncmachine.rpc.caller import Caller
from asyncmachine.rpc.clock import Clock
from asyncmachine.rpc.errors import RpcError
from asyncmachine.rpc.events import CanKind
from asyncmachine.rpc.mirrored import MirrorTransition
from asyncmachine.rpc.reasoning import implied, permits
from asyncmachine.rpc.values import pack_args
from asyncmachine.rpc.watching import Watch
from asyncmachine.rpc.within import MirrorKind, Within

logger = logging.getLogger("asyncmachine.rpc")

ERR_ON_CLIENT = "ErrOnClient"


class SourceRestarted(RpcError):
    """The source has begun anew, so the queue tick that was waited for means nothing any more."""

    state = "ErrNetwork"


class NetworkMachine(View[N]):
    """A mirror. Made by a client, which keeps it up to date; while there is no connection it shows the last it knew.

    Only final handlers can be bound (`FooState`, `FooEnd`, `AnyState`): they run here, when the mirror has changed.
    """

    def __init__(
        self,
        caller: Caller,
        schema: Schema,
        *,
        id: str,
        tags: Iterable[str] = (),
        parent_id: str = "",
        groups: Mapping[str, tuple[str, ...]] | None = None,
        infers: bool = False,
        filters: bool = False,
    ) -> None:
        super().__init__(id, schema, tags=tags, parent_id=parent_id)
        self._caller = caller
        self._groups = groups or {}
        self._infers = infers
        self._filters = filters
        self._tx: MirrorTransition | None = None
        # Where each of the session's states is here; None when both orders are the same.
        self._places: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        return f"<NetworkMachine {self._id} {self}>"

    # Mutations

    def add(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Activates states of the source. Raises `Unsendable` for arguments that would not arrive equal."""
        return self._mutate("add", states, raw_args(args, kw), e)

    def remove(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Deactivates states of the source."""
        return self._mutate("remove", states, raw_args(args, kw), e)

    def set(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Activates exactly these states of the source."""
        return self._mutate("set", states, raw_args(args, kw), e)

    def add_ns(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Activates states of the source without hearing of it (no sync): the mirror learns of it by a push or `sync`.

        Costs no answer, and is executed once, in its order, as all calls are. The result only tells that it was sent.
        """
        names = called_names(states)
        if self._disposed:
            return CANCELED
        self._indexes(names)
        return self._caller.notify(names, raw_args(args, kw), source_of(e))

    def within(self, seconds: float) -> Within[N]:
        """`mirror.within(2.0).add("A")`: fails if there is no answer in that time, and is not run later than that."""
        return Within(self._mutate, seconds)

    def toggle(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Deactivates the states if all are active here, activates them otherwise."""
        names = called_names(states)
        return self._mutate("toggle", names, raw_args(args, kw), e)

    def add_err(
        self, err: BaseException, args: ArgsLike = None, /, *, state: N | None = None, e: Source = None
    ) -> Result:
        """Adds `Exception` to the source, with this error, `state` (or that of the error's class) and `ErrOnClient`.

        The error object stays here; its class name and text travel.
        """
        if self._disposed or isinstance(err, asyncio.CancelledError):
            return CANCELED
        self._err = err
        detail = getattr(err, "state", "") if state is None else state
        wanted = (detail, ERR_ON_CLIENT, EXCEPTION)
        names = tuple(dict.fromkeys(name for name in wanted if name in self._index))
        return self._mutate("add", names, {**raw_args(args), ErrorArgs.key: ErrorArgs(err)}, e)

    def _mutate(
        self,
        kind: MirrorKind,
        states: str | Iterable[str],
        args: dict[str, Any],
        e: Source,
        within: float | None = None,
    ) -> Result:
        if self._disposed:
            return CANCELED
        names = called_names(states)
        self._indexes(names)
        if kind == "toggle":
            kind = "remove" if all(name in self for name in names) else "add"
        if self._filters and not permits(self, kind, names):
            return CANCELED
        return self._caller.call(kind, names, args, source_of(e), within)

    # Questions

    def can_add(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Whether the relations let these states be added, as far as the mirror knows: no handler is asked."""
        return self._can("add", states)

    def can_remove(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Whether the relations let these states be removed, as far as the mirror knows: no handler is asked."""
        return self._can("remove", states)

    def can_add_remote(
        self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any
    ) -> Result:
        """Asks the source, with its negotiation handlers; nothing changes there. Await the result.

        Raises `Unsendable`. It fails with `CallRefused` if this client may not mutate the states, with `NotConnected`
        without a connection, and with `Misuse` if the server is too old to be asked.
        """
        return self._can_remotely("add", states, raw_args(args, kw))

    def can_remove_remote(
        self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any
    ) -> Result:
        """As `can_add_remote`, for removing."""
        return self._can_remotely("remove", states, raw_args(args, kw))

    def _can_remotely(self, kind: CanKind, states: str | Iterable[str], args: dict[str, Any]) -> Result:
        if self._disposed:
            return CANCELED
        names = called_names(states)
        self._indexes(names)
        return self._caller.can(kind, names, args)

    def _can(self, kind: Kind, states: str | Iterable[str]) -> Result:
        names = called_names(states)
        self._indexes(names)
        return EXECUTED if not self._disposed and permits(self, kind, names) else CANCELED

    @property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """Named groups of states, from the class of states that the client was given."""
        return self._groups

    def export(self) -> Export:
        """The time that is shown, as plain data."""
        return Export(self._id, self._names, self.time(), self._queue_tick, self._machine_tick)

    # Waits

    def when_args(self, name: N, args: ArgsLike = None, /, *, scope: Scope | None = None, **kw: Any) -> Wait:
        """Met when the state of the source activates (or is called again) with arguments that hold all of these.

        Typed records are compared by value. Raises `Unsendable` for arguments that would not arrive equal.
        """
        packed = pack_args(raw_args(args, kw))
        wait = super().when_args(name, args, scope=scope, **kw)
        self._caller.watch(Watch(name, packed, wait))
        return wait

    # The source's counters

    @property
    def queue_len(self) -> int:
        """A mirror has no queue of its own: 0."""
        return 0

    @property
    def transition(self) -> Transition | None:
        """The update that is being shown, or the last one."""
        return self._tx

    # Lifetime

    def dispose(self) -> None:
        """Ends the mirror: waits end with `Disposed`. The source does not notice."""
        if not self._disposed:
            self._dispose_view()

    # For the client

    def _install(self, names: tuple[str, ...], states: Mapping[str, State]) -> None:
        """Fits the session's list of names to the names here, and what the source tells of its states.

        States new here are appended; positions never move.
        """
        fresh = [name for name in dict.fromkeys((*names, *states)) if name not in self._index]
        if fresh:
            self._index = {name: i for i, name in enumerate((*self._index, *fresh))}
            self._ticks += [0] * len(fresh)
            self._names = (*self._names, *fresh)
            if self._table is not None:
                self._table.renamed(self._names)
        self._places = None if names == self._names else tuple(self._index[name] for name in names)
        other = {name: state for name, state in states.items() if self._schema.get(name) != state}
        if fresh or other:
            old, self._schema = self._schema, self._schema.merge(dict.fromkeys(fresh, State()), other)
            if self._subs is not None:
                self._subs.move({i: i for i in range(len(old))}, self._names)
            for tracer in self._tracers:
                self._guarded(tracer.schema_change, self, old)

    def _numbers(self) -> Mapping[str, int]:
        """The number of each state in the session."""
        if self._places is None:
            return self._index
        return {self._names[place]: number for number, place in enumerate(self._places)}

    def _called(self, kind: int, numbers: tuple[int, ...]) -> Mutation:
        """A mutation as the session tells it, by the numbers of its states."""
        indexes = numbers if self._places is None else tuple([self._places[number] for number in numbers])
        return Mutation(kind, indexes, tuple([self._names[i] for i in indexes]), {})

    def _show(
        self, clock: Clock, *, restarted: bool = False, mutation: Mutation | None = None, accepted: bool = True
    ) -> None:
        """Shows a clock of the source: ticks, scopes, handlers, then waits, in this order.

        `restarted` tells that the source is not the one that was shown before: waits for its queue ticks then fail.
        `mutation` led there, if that is known; it was `accepted` or canceled.
        """
        if self._disposed:
            return
        before, after = self._ticks, self._placed(clock.ticks)
        touched = tuple([i for i, (old, new) in enumerate(zip(before, after, strict=True)) if old != new])
        backwards = clock.queue_tick < self._queue_tick
        if self._tracers or self._table is not None:
            tx = self._tx = MirrorTransition(self, before, after, mutation, accepted=accepted)
            for tracer in self._tracers:
                self._guarded(tracer.transition_init, tx)
            for tracer in self._tracers:
                self._guarded(tracer.transition_start, tx)
        else:
            tx = None
        self._ticks = list(after)
        self._queue_tick, self._machine_tick = clock.queue_tick, clock.machine_tick
        self._end_scopes(touched)
        if tx is not None:
            self._finish(tx)
        self._resolve(touched)
        if self._subs is not None:
            if restarted or backwards:
                self._flush_queue_waits()
            self._subs.queue_ticked(clock.queue_tick)

    def _placed(self, ticks: tuple[int, ...]) -> tuple[int, ...]:
        if self._places is None:
            return ticks
        placed = [tick + (tick & 1) for tick in self._ticks]  # a state the session does not have is inactive
        for place, tick in zip(self._places, ticks, strict=True):
            placed[place] = tick
        if self._infers:
            for place in implied(self, set(self._places), placed):
                placed[place] = self._ticks[place] | 1
        return tuple(placed)

    def _finish(self, tx: MirrorTransition) -> None:
        if tx.accepted:
            for tracer in self._tracers:
                self._guarded(tracer.transition_finals, tx)
        if self._table is not None and (tx.enters or tx.exits):
            for name in tx.enters:
                self._run(tx, Slot("State", self._index[name]))
            for name in tx.exits:
                self._run(tx, Slot("End", self._index[name]))
            self._run(tx, Slot(ANY_STATE))
        tx.completed = True
        for tracer in self._tracers:
            self._guarded(tracer.transition_end, tx)

    def _run(self, tx: MirrorTransition, slot: Slot) -> None:
        if self._table is not None:  # a handler may dispose the mirror
            turn = self._table.turn(slot)
            if turn is not None:
                self._invoke(tx, turn)

    def _invoke(self, tx: MirrorTransition, turn: Turn) -> None:
        event = Event(turn.name, self._names[turn.state] if turn.state >= 0 else ANY_STATE, tx)
        for call in turn.calls:
            for tracer in self._tracers:
                self._guarded(tracer.handler_start, tx, call.binding, turn.name)
            try:
                if call.is_async:
                    self._start_task(event, turn, call)
                else:
                    call.function(event)
            except Exception as error:  # noqa: BLE001 (the source is told)
                self._handler_failed(error, tx)
            for tracer in self._tracers:
                self._guarded(tracer.handler_end, tx, call.binding, turn.name)

    def _start_task(self, event: Event, turn: Turn, call: Call) -> None:
        scope = self.scope(self._names[turn.state]) if turn.kind == "State" else self._root_scope()  # type: ignore[arg-type]

        async def body() -> None:
            try:
                await call.function(event)
            except asyncio.CancelledError:
                if not scope.expired:
                    raise
            except Exception as error:  # noqa: BLE001 (the source is told)
                self._handler_failed(error)

        scope.create_task(body(), name=f"{self._id}.{turn.name}")

    def _handler_failed(self, error: Exception, tx: MirrorTransition | None = None) -> None:
        self._err = error
        place = self._index.get(EXCEPTION)
        if tx is not None and place is not None and tx.before[place] != tx.after[place]:
            # Telling the source of an error that happened while its error was shown would go round for ever.
            logger.error("%s: a handler raised while an error was shown: %r", self._id, error)
        else:
            self._caller.handler_failed(error)

    def _observer_failed(self, error: Exception) -> None:
        self._handler_failed(error)

    def _flush_queue_waits(self) -> None:
        assert self._subs is not None
        for wait in tuple(self._subs.queue):
            wait._end(lambda: SourceRestarted("the source has begun anew, and its queue with it"))

    # For View

    def _active_names(self) -> tuple[str, ...]:
        return tuple([name for name, tick in zip(self._names, self._ticks, strict=True) if tick & 1])

    def _bindable(self) -> Collection[str]:
        return ("State", "End", "AnyState")
