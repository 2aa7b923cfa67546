"""The outbox has an end, nobody waits for it, and nothing is dropped without being counted."""

from __future__ import annotations

import threading
from typing import Any

import asyncmachine as am
from asyncmachine.machine.levels import LogEntry, LogLevel
from asyncmachine.telemetry.dbg.notes import Clock, Described, Ended, Item, Lines, Loss, Note, Record
from asyncmachine.telemetry.dbg.outbox import Outbox, OutboxLimits
from asyncmachine.telemetry.dbg.tracer import DbgTracer


def tracer(id: str = "m") -> DbgTracer:
    """One with an outbox of its own, so that the one under test stays empty."""
    return DbgTracer(am.Machine({"A": {}}, id=id), Outbox())


def item(of: DbgTracer, note: Note | None = None) -> Item:
    return of, 0, note or record(), 7, None


def record(weight: int = 0) -> Record:
    return Record(8, (1,), (0, 0), (0, 1), weight=weight)


class Woken:
    """Keeps how often it was called, and with what."""

    def __init__(self) -> None:
        self.calls: list[bool] = []

    def __call__(self, urgent: bool) -> None:
        self.calls.append(urgent)


def test_the_newest_stay() -> None:
    one, outbox = tracer(), Outbox(OutboxLimits(notes=3))
    notes = [record() for _ in range(5)]
    for note in notes:
        outbox.put(item(one, note))
    losses, items = outbox.take()
    assert [found[2] for found in items] == notes[2:]
    assert {of: loss.records for of, loss in losses.items()} == {one: 2}
    assert outbox.dropped == 2
    assert outbox.take() == ({}, [])


def test_texts_count_by_their_bytes() -> None:
    one, outbox = tracer(), Outbox(OutboxLimits(bytes=100))
    for _ in range(4):
        outbox.put(item(one, record(weight=40)), 40)
    assert len(outbox) == 2
    outbox.put(item(one, record(weight=999)), 999)
    assert len(outbox) == 0
    assert outbox.take()[0][one].records == 5
    outbox.put(item(one, record(weight=90)), 90)
    assert len(outbox) == 1


def test_whoever_is_oldest_goes_whichever_machine_it_is_of() -> None:
    quiet, busy, outbox = tracer("quiet"), tracer("busy"), Outbox(OutboxLimits(notes=2))
    outbox.put(item(quiet))
    for _ in range(3):
        outbox.put(item(busy))
    losses, items = outbox.take()
    assert {of.machine_id: loss.records for of, loss in losses.items()} == {"quiet": 1, "busy": 1}
    assert [found[0].machine_id for found in items] == ["busy", "busy"]


def test_the_sender_is_woken_once_then_told_to_hurry() -> None:
    woken = Woken()
    one, outbox = tracer(), Outbox(OutboxLimits(notes=100, hurry=3), woken)
    for _ in range(3):
        outbox.put(item(one))
    assert woken.calls == [False]
    for _ in range(3):
        outbox.put(item(one))
    assert woken.calls == [False, True]
    outbox.take()
    outbox.put(item(one))
    assert woken.calls == [False, True, False]


def test_a_small_outbox_wakes_too() -> None:
    woken = Woken()
    one, outbox = tracer(), Outbox(OutboxLimits(notes=1, hurry=50), woken)
    for _ in range(3):
        outbox.put(item(one))
    assert woken.calls == [False]
    assert len(outbox) == 1


def test_a_loss_sums_up() -> None:
    machine = am.Machine({"Exception": {"multi": True}, "A": {}, "B": {}}, id="m")
    machine.add("A")
    plans: list[Any] = []

    class Keeps(am.Tracer):
        def transition_plain(self, machine: am.View[Any], plan: Any, auto: Any, queue_tick: int) -> None:
            plans.append(plan)

    machine.trace(Keeps())
    machine.add("B")
    machine.remove("A")
    loss = Loss()
    for note in plans:
        loss.add(note, 9)
    assert (loss.records, loss.queue_tick) == (2, 9)
    assert loss.ticks([0, 1, 0]) == [0, 2, 1]
    loss.add(Record(8, (1,), (0, 2, 1), (0, 3, 1), log=[LogEntry(LogLevel.OPS, "x")]), 10)
    assert (loss.records, loss.lines, loss.ticks([9, 9, 9])) == (3, 1, [0, 3, 1])
    loss.add(plans[1], 11)
    assert loss.ticks([]) == [0, 4, 1]
    loss.add(Clock((5, 5, 5), 3, 2), 0)
    assert (loss.ticks([]), loss.queue_tick, loss.machine_tick) == ([5, 5, 5], 3, 2)
    described = Described.of(machine)
    loss.add(described, 0)
    loss.add(Lines([LogEntry(LogLevel.OPS, "y")]), 0)
    loss.add(Ended(), 0)
    assert loss.described is described
    assert (loss.ticks([]), loss.records, loss.lines, loss.ended) == (list(machine.time()), 4, 2, True)


def test_a_queued_mutation_that_is_dropped_leaves_the_ticks() -> None:
    loss = Loss()
    loss.add(Record(32, (1,)), 4)
    assert loss.ticks([3, 3]) == [3, 3]


def test_many_threads_lose_nothing_uncounted() -> None:
    tracers = [tracer(str(number)) for number in range(4)]
    outbox = Outbox(OutboxLimits(notes=50))
    taken = dict.fromkeys(tracers, 0)
    each = 3000

    def fill(of: DbgTracer) -> None:
        for number in range(each):
            outbox.put(item(of, record(number % 3)), number % 3)

    def take() -> None:
        losses, items = outbox.take()
        for of, loss in losses.items():
            taken[of] += loss.records
        for found in items:
            taken[found[0]] += 1

    threads = [threading.Thread(target=fill, args=(of,)) for of in tracers]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        take()
    take()
    assert taken == dict.fromkeys(tracers, each)
