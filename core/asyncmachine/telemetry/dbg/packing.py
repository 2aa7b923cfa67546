"""Packing: what tracers have noted becomes frames, late and in batches, for one connection after the other."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import chain
from time import monotonic_ns, time_ns
from typing import Final
from weakref import WeakSet

from asyncmachine.machine.plan import Plan
from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.codec import decode, encode
from asyncmachine.telemetry.dbg.errors import StreamFault, Unsendable
from asyncmachine.telemetry.dbg.feed import Feed, lines_of, note_of, tracer_of
from asyncmachine.telemetry.dbg.notes import Clock, Described, Ended, Item, Lines, Loss, Record
from asyncmachine.telemetry.dbg.stream import Stream
from asyncmachine.telemetry.dbg.texts import clipped
from asyncmachine.telemetry.dbg.tracer import DbgTracer

PLANS: Final = frozenset({Plan})

logger = logging.getLogger("asyncmachine.telemetry")


class Packer:
    """Makes frames. `hello` opens each connection; `trace_filter` is a text that is taken out of stacks."""

    def __init__(self, hello: m.Hello, trace_filter: str = "") -> None:
        self._hello = hello
        self._trace_filter = trace_filter
        self._feeds: dict[DbgTracer, Feed] = {}
        # Machines that no frame can hold.
        self._muted: WeakSet[DbgTracer] = WeakSet()
        self._free: list[int] = []
        self._numbers = 0
        self._offset = 0
        self.unsendable = 0
        """Records that did not fit into a frame."""

    @property
    def has_begun(self) -> bool:
        """True once a machine was there."""
        return self._numbers > 0

    def opening(self) -> Iterator[bytes]:
        """The first frames of a new connection: who speaks, and all machines with their present clocks."""
        # What tracers note is monotonic; the epoch moves under it when a host sleeps or its clock is set.
        self._offset = time_ns() - monotonic_ns()
        yield encode(self._hello)
        for tracer, feed in tuple(self._feeds.items()):
            feed.pipes = ()
            yield from self._encoded(tracer, feed.machine(time_ns()))
            yield from self._encoded(tracer, self._pipes(tracer, feed))

    def frames(self, losses: Mapping[DbgTracer, Loss], items: Sequence[Item]) -> Iterator[bytes]:
        """What was taken from the outbox, machine by machine."""
        for tracer, own in by_tracer(losses, items).items():
            for message in self._messages(tracer, losses.get(tracer), own):
                yield from self._encoded(tracer, message)

    def _messages(self, tracer: DbgTracer, loss: Loss | None, items: Sequence[Item]) -> Iterator[m.Message | None]:
        if tracer in self._muted:
            return
        if loss is not None:
            yield from self._after(tracer, loss)
        if tracer in self._feeds:
            yield self._pipes(tracer, self._feeds[tracer])
        kinds = {*map(type, map(note_of, items))}
        if kinds == PLANS and tracer in self._feeds:
            yield from self._feeds[tracer].plans(items, self._offset)
            return
        begin = 0
        for at, (_, time, note, _, _) in enumerate(items):
            if not isinstance(note, Plan | Record):
                yield from self._records(tracer, items[begin:at])
                yield from self._other(tracer, note, time + self._offset)
                begin = at + 1
        yield from self._records(tracer, items[begin:])

    def _records(self, tracer: DbgTracer, items: Sequence[Item]) -> Iterator[m.Message]:
        feed = self._feeds.get(tracer)
        if feed is not None and items:
            yield from feed.records(items, self._offset)

    def _other(self, tracer: DbgTracer, note: Described | Clock | Lines | Ended, now: int) -> Iterator[m.Message]:
        feed = self._feeds.get(tracer)
        match note:
            case Described():
                yield self._described(tracer, note).machine(now)
            case Clock() if feed is not None:
                feed.set_clock(note)
                yield feed.gap(now)
            case Lines() if feed is not None:
                yield m.Log(feed.number, now, lines_of(note.entries))
            case Ended() if feed is not None:
                yield self._ended(tracer, now)

    def _after(self, tracer: DbgTracer, loss: Loss) -> Iterator[m.Message]:
        """Where the machine is after what was dropped."""
        now = time_ns()
        if loss.described is not None:
            self._described(tracer, loss.described)
        feed = self._feeds.get(tracer)
        if feed is None:
            return
        feed.ticks = loss.ticks(feed.ticks)
        feed.queue_tick = loss.queue_tick or feed.queue_tick
        if loss.machine_tick is not None:
            feed.machine_tick = loss.machine_tick
        if loss.described is not None:
            yield feed.machine(now)
        feed.next += loss.records
        yield feed.gap(now, loss.records, loss.lines)
        if loss.ended:
            yield self._ended(tracer, now)

    def _described(self, tracer: DbgTracer, described: Described) -> Feed:
        feed = self._feeds.get(tracer)
        if feed is None:
            if self._free:
                number = heappop(self._free)
            else:
                number, self._numbers = self._numbers, self._numbers + 1
            feed = self._feeds[tracer] = Feed(number, described, self._trace_filter)
        else:
            feed.describe(described)
        return feed

    def _ended(self, tracer: DbgTracer, now: int) -> m.Gone:
        feed = self._feeds.pop(tracer)
        heappush(self._free, feed.number)
        return m.Gone(feed.number, now)

    def _pipes(self, tracer: DbgTracer, feed: Feed) -> m.Pipes | None:
        """The machine's pipes if they are not those that were sent last."""
        machine = tracer.machine()
        if machine is None:
            return None
        found = tuple(
            m.Pipe(
                (m.OUT_PIPE if pipe.is_out else 0) | (m.ADD_PIPE if pipe.is_add else 0),
                clipped(pipe.state, m.ID_LENGTH),
                clipped(pipe.machine_id, m.ID_LENGTH),
            )
            for pipe in machine.log.pipes
        )[: m.MOST_STATES]
        if found == feed.pipes:
            return None
        feed.pipes = found
        return m.Pipes(feed.number, time_ns(), found)

    def _encoded(self, tracer: DbgTracer, message: m.Message | None) -> Iterator[bytes]:
        """The frame of a message, or what has to be said in its place."""
        feed = self._feeds.get(tracer)
        if message is None or (feed is None and not isinstance(message, m.Gone)):
            return
        try:
            if feed is not None and feed.is_beyond:
                raise Unsendable("ticks go beyond 2**64-1")
            frame = encode(message)
            if isinstance(message, m.Machine):
                # A schema can be anything. The receiver would close the connection for one that it does not take.
                Stream(hello=self._hello).take(decode(frame), frame)
        except (Unsendable, StreamFault) as error:
            logger.error("%s: not sent: %s", tracer.machine_id, error)  # noqa: TRY400 (it tells all)
            yield from self._instead(tracer, feed, message)
        else:
            yield frame

    def _instead(self, tracer: DbgTracer, feed: Feed | None, message: m.Message) -> Iterator[bytes]:
        """A gap for records. A machine without any sound description or clock is not told of any more."""
        if feed is None:
            return
        if isinstance(message, m.Transitions) and not feed.is_beyond:
            self.unsendable += len(message.which)
            yield encode(feed.gap(time_ns(), len(message.which)))
        elif isinstance(message, m.Machine | m.Gap | m.Transitions):
            self._muted.add(tracer)
            gone = self._ended(tracer, time_ns())
            if not isinstance(message, m.Machine):
                yield encode(gone)


def by_tracer(losses: Iterable[DbgTracer], items: Sequence[Item]) -> dict[DbgTracer, Sequence[Item]]:
    """Items by tracer, those with a loss first."""
    tracers = dict.fromkeys(chain(losses, map(tracer_of, items)))
    if len(tracers) == 1:
        # Mostly one machine is the busy one.
        return dict.fromkeys(tracers, items)
    found: dict[DbgTracer, list[Item]] = {tracer: [] for tracer in tracers}
    for item in items:
        found[item[0]].append(item)
    return {**found}
