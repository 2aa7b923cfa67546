"""What cannot be sent is told of, and what stands between records keeps its place."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.machine.levels import LogEntry, LogLevel
from asyncmachine.machine.schema import Schema
from asyncmachine.rpc.clock import Clock
from asyncmachine.rpc.netmach import NetworkMachine
from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.feed import distinct
from asyncmachine.telemetry.dbg.notes import Record
from asyncmachine.telemetry.dbg.outbox import OutboxLimits
from tests.telemetry.hearing import Plain, Watch, heard


def test_machines_have_numbers_and_give_them_back() -> None:
    machines = [am.Machine({"A": {}}, id=f"m{number}") for number in range(3)]
    watch = Watch(*machines)
    watch.flush()
    machines[1].dispose()
    late = am.Machine({"A": {}}, id="late")
    watch.attach(late)
    listener = watch.flush()
    assert {number: track.id for number, track in listener.stream.tracks.items()} == {0: "m0", 1: "late", 2: "m2"}


def test_a_machine_that_no_frame_can_hold_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    huge = am.Machine({f"S{number}": {} for number in range(m.MOST_STATES)}, id="huge")
    fine = am.Machine({"A": {}}, id="fine")
    watch = Watch(huge, fine)
    with caplog.at_level(logging.ERROR, "asyncmachine.telemetry"):
        for machine, state in ((huge, "S1"), (fine, "A")):
            machine.add(state)
        watch.flush()
        huge.remove("S1")
        listener = watch.flush()
    assert [message.id for message in listener.of(m.Machine)] == ["fine"]
    assert [record.machine for record in listener.records] == ["fine"]
    assert "huge" in caplog.text
    assert huge.err is None


def test_a_record_that_no_frame_can_hold_is_a_gap(caplog: pytest.LogCaptureFixture) -> None:
    machine = am.Machine({"A": {}, "B": {}}, id="m")
    watch = Watch(machine)
    machine.add("A")
    tracer = watch.tracers[0]
    lines = [LogEntry(LogLevel.OPS, "\N{GRINNING FACE}" * 16_000)] * 20
    huge = Record(8, (1,), machine.time(), machine.time(), id="huge", log=lines)
    watch.outbox.put((tracer, 0, huge, 0, None))
    machine.add("B")
    listener = watch.flush()
    (gap,) = listener.of(m.Gap)
    assert (gap.lost, watch.packer.unsendable) == (3, 3)
    machine.remove("B")
    (last,) = [record for record in watch.flush().records if record.kind == "remove"]
    assert (last.number, last.after) == (4, machine.time())


def test_many_records_are_many_messages() -> None:
    machine = am.Machine({"A": {}}, id="m")
    watch = Watch(machine)
    for _ in range(m.MOST_RECORDS // 2 + 10):
        machine.add("A")
        machine.remove("A")
    listener = watch.flush()
    assert [len(batch.which) for batch in listener.of(m.Transitions)] == [m.MOST_RECORDS - 1, 21]
    assert tuple(listener.stream.tracks[0].ticks) == machine.time()


def test_machines_with_many_states_send_smaller_messages() -> None:
    machine = am.Machine({f"S{number}": {} for number in range(2000)}, id="m")
    watch = Watch(machine)
    for _ in range(300):
        machine.add("S1")
        machine.remove("S1")
    assert {len(batch.which) for batch in watch.flush().of(m.Transitions)} == {m.MOST_CHANGES // 2001 - 1, 77}


def test_long_texts_are_spread_over_messages() -> None:
    machine = am.Machine({"A": {"multi": True}}, id="m")
    machine.log.keep(1)
    watch = Watch(machine)
    for _ in range(30):
        machine.log("x" * 16_000)
        machine.add("A")
    listener = watch.flush()
    assert 4 <= len(listener.of(m.Transitions)) <= 6
    assert sum(len(record.pre) for record in listener.records) == 30


def test_what_log_entries_say_comes_beside_their_text() -> None:
    """So nobody has to read texts again; names are cut, and numbers are those that the wire can hold."""
    machine = am.Machine({"A": {}, "B": {"require": ["A"]}}, id="m")
    machine.log.keep(am.LogLevel.OPS)
    machine.log.when = machine.log.state_ctx = True
    watch = Watch(machine)
    machine.when_time(["A"], [1])
    machine.when_time(["A"], [2**70])
    machine.when_args("A", {"x" * 300: 1})
    machine.add("B")
    machine.add("A")
    machine.remove("A")  # takes along what came after the last
    records = watch.flush().records
    said = [line.sem for record in records for line in (*record.pre, *record.log) if line.sem is not None]
    assert m.Sem("whenTime", "new", ("A",), (1,)) in said
    assert m.Sem("whenTime", "match", ("A",), (1,)) in said
    assert m.Sem("whenTime", "new", ("A",), (m.MOST_NUMBER,)) in said
    assert m.Sem("whenArgs", "new", ("A",), (), ("x" * (m.ID_LENGTH - 1) + "…",)) in said
    assert m.Sem("reject", "called", ("B",), (1,), ("A",)) in said
    assert m.Sem("cancel", "reject", ("B",)) in said
    assert all(line.sem is None for record in records for line in record.log if line.text.startswith("[state]"))


def test_steps_of_a_machine_that_has_a_state_called_any() -> None:
    machine = am.Machine({"Any": {}, "A": {"require": ["Any"]}}, {"AnyEnter": lambda e: None}, id="m")
    machine.log.steps = True
    watch = Watch(machine)
    machine.add("Any")
    (record,) = watch.flush().records
    assert {step.to_state for step in record.steps} >= {"Any"}


def test_names_that_are_cut_to_the_same_text_stay_apart() -> None:
    long = "x" * 300
    machine = am.Machine({f"{long}A": {}, f"{long}B": {}}, id="m")
    watch = Watch(machine)
    machine.add(f"{long}B")
    (record, *_) = watch.flush().records
    assert record.called[0] in watch.listener.of(m.Machine)[0].names
    assert distinct(("a", "b")) == ("a", "b")


@pytest.mark.parametrize("tick", [2**64 - 2, 2**64, 2**70])
def test_a_machine_whose_ticks_the_wire_cannot_hold_is_left_out(tick: int, caplog: pytest.LogCaptureFixture) -> None:
    machine = am.Machine({"A": {"multi": True}}, id="m")
    watch = Watch(machine)
    machine.restore(am.Export("m", machine.names, (tick, 0), 1, 0))
    with caplog.at_level(logging.ERROR, "asyncmachine.telemetry"):
        for _ in range(3):
            machine.add("A")
            watch.flush()
    assert watch.listener.stream.tracks == {}
    assert type(watch.listener.messages[-1]) is m.Gone
    assert caplog.text.count("beyond") == 1
    assert machine.err is None


def test_a_filter_takes_text_out_of_stacks() -> None:
    from asyncmachine.telemetry.dbg.packing import Packer
    from tests.telemetry.hearing import HELLO

    def fails(e: am.Event) -> None:
        raise OSError("x")

    machine = am.Machine({"A": {}}, {"AState": fails}, id="m")
    machine.log.queued = True
    watch = Watch()
    watch.packer = Packer(HELLO, "test_dbg_")
    watch.reconnect()
    watch.attach(machine)
    machine.add("A")
    records = watch.flush().records
    assert "packing.py" in records[0].stack
    assert all("test_dbg_" not in record.stack for record in records)
    assert all("test_dbg_" not in record.failure.trace for record in records if record.failure)


@pytest.mark.parametrize("notes", [1, 2, 3])
def test_dropped_descriptions_are_caught_up(notes: int) -> None:
    """Of a machine that nobody had heard of, and of a schema that has grown."""
    machine, plain = am.Machine({"A": {}}, id="m"), Plain()
    watch = Watch(machine, limits=OutboxLimits(notes=notes))
    machine.trace(plain)
    for number in range(4):
        machine.add("A")
        machine.remove("A")
        if number == 1:
            watch.flush()
        machine.set_schema({f"N{number}": {}, **machine.schema})
    machine.add("A")
    listener = watch.flush()
    told = dict(enumerate(plain.seen, 1))
    assert heard(listener.records) == [told[record.number] for record in listener.records]
    assert tuple(listener.stream.tracks[0].ticks) == machine.time()
    assert listener.of(m.Machine)[-1].names == machine.names


def test_an_end_is_told_even_if_it_was_dropped() -> None:
    machine, other = am.Machine({"A": {}}, id="m"), am.Machine({"A": {}}, id="other")
    watch = Watch(machine, other, limits=OutboxLimits(notes=2))
    watch.flush()
    machine.add("A")
    machine.dispose()
    for _ in range(3):
        other.add("A")
        other.remove("A")
    listener = watch.flush()
    assert [track.id for track in listener.stream.tracks.values()] == ["other"]
    assert [type(message).__name__ for message in listener.messages if getattr(message, "machine", 1) == 0] == [
        "Machine",
        "Gap",
        "Gone",
    ]


class Nobody:
    """Carries nothing to a source."""

    room = 0
    is_full = False

    def call(self, *args: Any) -> am.Result:
        raise AssertionError

    notify = can = call

    def watch(self, *args: object) -> None:
        raise AssertionError

    def handler_failed(self, error: Exception) -> None:
        raise error

    @property
    def machine(self) -> am.View[Any]:
        raise AssertionError


def test_mirrors_are_watched_like_machines() -> None:
    """Also when they learn of states, and when their source begins anew."""
    mirror: NetworkMachine[str] = NetworkMachine(Nobody(), Schema({"Exception": {}, "A": {}}), id="rnm")
    mirror._install(("Exception", "A"), {})
    watch, plain = Watch(mirror), Plain()
    mirror.trace(plain)
    mirror._show(Clock((0, 1), 2, 0))
    mirror._show(Clock((0, 4), 3, 0))
    mirror._install(("Exception", "A", "B"), {})
    mirror._show(Clock((0, 4, 1), 4, 0))
    mirror._show(Clock((0, 0, 0), 1, 0))
    listener = watch.flush()
    assert heard(listener.records) == plain.seen
    assert [told.remote for told in listener.of(m.Machine)] == [True, True]
    assert listener.of(m.Machine)[-1].names == ("Exception", "A", "B")
    assert listener.stream.tracks[0].ticks == [0, 0, 0]
