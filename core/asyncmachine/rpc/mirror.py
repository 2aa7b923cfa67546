"""What a mirror is: it shows the clocks of a machine elsewhere, one after another, and runs handlers as they change it.

A clock is shown in the order of a machine's own transition: ticks, scopes, handlers, then waits. What comes from the
session has numbers for states; here they become places.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping

from asyncmachine.machine.event import Event
from asyncmachine.machine.handlers import ANY_STATE, Call, Slot, Turn
from asyncmachine.machine.mutation import Mutation
from asyncmachine.machine.reading import N
from asyncmachine.machine.schema import EXCEPTION, Schema, State
from asyncmachine.machine.transition import Transition
from asyncmachine.machine.view import View
from asyncmachine.machine.wait import held
from asyncmachine.rpc.clock import Clock
from asyncmachine.rpc.errors import SourceRestarted
from asyncmachine.rpc.mirror_transition import MirrorTransition
from asyncmachine.rpc.reasoning import implied

logger = logging.getLogger("asyncmachine.rpc")


class Mirror(View[N]):
    """Shows what it is told; see `NetworkMachine` for what it is asked.

    With `infers`, states that the session does not have count as active if an active one requires them.
    """

    def __init__(
        self, id: str, schema: Schema, *, tags: Iterable[str] = (), parent_id: str = "", infers: bool = False
    ) -> None:
        super().__init__(id, schema, tags=tags, parent_id=parent_id)
        self._infers = infers
        self._tx: MirrorTransition | None = None
        # Where each of the session's states is here; None when both orders are the same.
        self._places: tuple[int, ...] | None = None

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
        So do those for ticks of a state that counts anew; of a source that was restored they go on.
        `mutation` led there, if that is known; it was `accepted` or canceled.
        """
        if self._disposed:
            return
        before, after = self._ticks, self._placed(clock.ticks)
        touched = tuple([i for i, (old, new) in enumerate(zip(before, after, strict=True)) if old != new])
        backwards = clock.queue_tick < self._queue_tick
        if self._tracers or self._table is not None:
            tx = self._tx = MirrorTransition(self, before, after, mutation, accepted=accepted)
            tx.restarted = restarted
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
                self._source_restarted([i for i in touched if after[i] < before[i]])
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
            self._tell_source(error)

    def _observer_failed(self, error: Exception) -> None:
        self._handler_failed(error)

    def _source_restarted(self, anew: Iterable[int]) -> None:
        """Ends the waits that counted what the source before counted; `anew` are the states whose ticks went back."""
        assert self._subs is not None
        for wait in held(self._subs.queue):
            wait._end(lambda: SourceRestarted("the source has begun anew, and its queue with it"))
        self._subs.turned_back(anew, lambda: SourceRestarted("the source has begun anew, and its ticks with it"))

    def _tell_source(self, error: Exception) -> None:
        """A handler of the mirror has raised."""
        raise NotImplementedError

    # For View

    def _active_names(self) -> tuple[str, ...]:
        return tuple([name for name, tick in zip(self._names, self._ticks, strict=True) if tick & 1])

    def _bindable(self) -> Collection[str]:
        return ("State", "End", "AnyState")
