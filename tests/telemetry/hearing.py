"""A listener at the far end of a stream, and what a plain tracer sees of the same machine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import asyncmachine as am
from asyncmachine.machine.plan import Plan
from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.codec import decode
from asyncmachine.telemetry.dbg.outbox import Outbox, OutboxLimits
from asyncmachine.telemetry.dbg.packing import Packer
from asyncmachine.telemetry.dbg.records import Record, records_of
from asyncmachine.telemetry.dbg.stream import Stream
from asyncmachine.telemetry.dbg.tracer import DbgTracer, tracer_for

HELLO = m.Hello(m.MAGIC, m.VERSION, "session")


class Listener:
    """Takes frames as a receiver does, and keeps all it was told."""

    def __init__(self) -> None:
        self.stream = Stream()
        self.messages: list[m.AnyMessage] = []
        self.records: list[Record] = []

    def hear(self, *frames: bytes) -> Listener:
        for frame in frames:
            message = decode(frame)
            before: tuple[int, ...] = ()
            if isinstance(message, m.Transitions):
                before = tuple(self.stream.tracks[message.machine].ticks)
            track = self.stream.take(message, frame)
            self.messages.append(message)
            if isinstance(message, m.Transitions):
                assert track is not None
                self.records += records_of(message, track.about, before, received=1)
        return self

    def of(self, kind: type[Any]) -> list[Any]:
        """The messages of one kind."""
        return [message for message in self.messages if isinstance(message, kind)]

    def of_machine(self, machine: str) -> list[Record]:
        """The records of one machine."""
        return [record for record in self.records if record.machine == machine]


class Watch:
    """A stream without a transport: machines, an outbox, a packer and a listener."""

    def __init__(self, *machines: am.View[Any], limits: OutboxLimits | None = None) -> None:
        self.outbox = Outbox(limits)
        self.packer = Packer(HELLO)
        self.listener = Listener()
        self.tracers: list[DbgTracer] = []
        self.listener.hear(*self.packer.opening())
        for machine in machines:
            self.attach(machine)

    def attach(self, machine: am.View[Any]) -> DbgTracer:
        tracer = tracer_for(machine, self.outbox, self.attach)
        machine.trace(tracer)
        self.tracers.append(tracer)
        return tracer

    def flush(self) -> Listener:
        """Sends what there is."""
        return self.listener.hear(*self.packer.frames(*self.outbox.take()))

    def reconnect(self) -> Listener:
        """A new connection, with a listener that knows nothing."""
        self.listener = Listener()
        return self.listener.hear(*self.packer.opening())


Seen = tuple[str, tuple[str, ...], tuple[int, ...], tuple[int, ...], bool, bool, bool, bool, int]
"""Kind, called states, ticks before and after, auto, check, accepted, broken, queue tick."""


class Plain(am.Tracer):
    """What a tracer sees, in the form of `heard`. It lets plans be told as plans."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.ids: list[str] = []

    def transition_end(self, tx: am.Transition) -> None:
        self.ids.append(tx.id)
        self.seen.append(
            (
                tx.kind,
                tx.called,
                tx.before,
                tx.after,
                tx.is_auto,
                tx.is_check,
                tx.accepted,
                tx.broken,
                tx.machine.queue_tick,
            )
        )

    def transition_plain(self, machine: am.View[Any], plan: Plan, auto: Plan | None, queue_tick: int) -> None:
        after = machine.time()
        between = after if auto is None else self.before(auto, after)
        self.see(machine, plan, self.before(plan, between), between, queue_tick)
        if auto is not None:
            self.see(machine, auto, between, after, queue_tick)

    def before(self, plan: Plan, after: tuple[int, ...]) -> tuple[int, ...]:
        ticks = list(after)
        for state in plan.settled.rises if plan.accepted else ():
            ticks[state] -= 1
        for state in plan.settled.again if plan.accepted else ():
            ticks[state] -= 2
        return tuple(ticks)

    def see(
        self,
        machine: am.View[Any],
        plan: Plan,
        before: tuple[int, ...],
        after: tuple[int, ...],
        queue_tick: int,
    ) -> None:
        called = tuple(machine.names[state] for state in plan.called)
        kind = ("add", "remove", "set")[plan.kind]
        self.ids.append("")
        self.seen.append((kind, called, before, after, plan.is_auto, False, plan.accepted, False, queue_tick))


def heard(records: Iterable[Record]) -> list[Seen]:
    """Records in the form of `Plain.seen`, those of queued mutations left out."""
    return [
        (
            record.kind,
            record.called,
            record.before,
            record.after,
            record.is_auto,
            record.is_check,
            record.is_accepted,
            record.is_broken,
            record.queue_tick,
        )
        for record in records
        if not record.is_queued
    ]
