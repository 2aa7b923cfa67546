"""Reading a dump: what `am dbg ls` shows, and that a file from a stranger does no harm."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import asyncmachine as am
from asyncmachine.telemetry import dbg
from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg import replay as replaying
from asyncmachine.telemetry.dbg.amdbg import DumpWriter
from asyncmachine.telemetry.dbg.codec import encode
from tests.telemetry.hearing import HELLO, Watch
from tests.telemetry.messages import a_batch, a_machine, messages


def write(path: Path, *told: tuple[int, m.Message] | m.Message) -> Path:
    with path.open("wb") as file:
        writer = DumpWriter(file, 42)
        for number, each in enumerate(told):
            connection, message = each if isinstance(each, tuple) else (1, each)
            writer.write(connection, 100 + number, encode(message))
        writer.finish()
    return path


def test_a_summary(tmp_path: Path) -> None:
    def fails(e: am.Event) -> None:
        raise OSError("disk full")

    class Files(am.StatesDef):
        ErrDisk = am.state(require="Exception")
        Start = am.state()
        Job = am.state(auto=True, require=Start)
        Blocked = am.state(require="ErrDisk")

    parent = am.Machine({}, id="parent")
    machine = am.Machine(Files, {"StartState": fails}, id="m", tags=("t",), parent=parent)
    machine.log.switch("queued", "can")
    machine.log.keep(2)
    watch = Watch(machine)
    machine.add(Files.Blocked)
    machine.can_add(Files.Start)
    machine.log("hello")
    watch.tracers[0].look()
    machine.add(Files.Start)
    machine.add(Files.ErrDisk, {"name": "x"})
    frames = [encode(HELLO), *watch.packer.frames(*watch.outbox.take())]
    path = tmp_path / "x.amdbg"
    with path.open("wb") as file:
        writer = DumpWriter(file, 42)
        for number, frame in enumerate(frames):
            writer.write(7, 100 + number, frame)
        writer.finish()
    found = dbg.summary(path)
    (told,) = found.machines
    assert (found.created, found.cut) == (42, "")
    assert (told.id, told.connection, told.session, told.parent, told.tags) == ("m", 7, "session", "parent", ("t",))
    assert (told.states, told.first, told.is_gone, told.is_remote) == (5, 101, False, False)
    assert (told.transitions, told.accepted, told.canceled) == (6, 2, 4)
    assert (told.checks, told.queued, told.auto, told.lost) == (1, 7, 2, 0)
    assert told.active == machine.active_states()
    assert told.log_entries > 3
    assert [(error.states, error.type, error.message, error.handler) for error in found.errors] == [
        (("Exception",), "OSError", "disk full", "StartState"),
        (("ErrDisk",), "", "", ""),
    ]
    assert told.errors == 2
    records = {item.id: item for item in dbg.transitions(path)}
    assert all(records[error.id].number == error.number for error in found.errors)
    json.dumps(found.to_dict())
    plain = json.loads(json.dumps([item.to_dict() for item in dbg.transitions(path)]))
    sems = [line["sem"] for item in plain for line in (*item["pre"], *item["log"]) if line["sem"]]
    assert {"kind": "error", "event": "add", "states": ["Start"], "numbers": [], "names": []} in sems


def test_machines_come_and_go(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.amdbg",
        (1, HELLO),
        (2, m.Hello(m.MAGIC, 1, "two")),
        (1, a_machine(0, "a")),
        (2, a_machine(0, "a")),
        (1, a_batch(count=2)),
        (2, a_batch()),
        (1, m.Gone(0, 1)),
        (1, a_machine(0, "b", states=3)),
        (1, m.Gap(0, 4, 3, (0, 1, 0), 1)),
        (1, m.Log(0, 1, (m.Line(1, "x"),))),
        (1, a_machine(0, "b", states=4, time=(0, 1, 0, 0), next=4)),
        (2, m.Bye()),
        (2, m.Hello(m.MAGIC, 1, "two")),
        (2, a_machine(5, "a", next=9, time=(0, 1))),
    )
    found = [
        (f.id, f.connection, f.transitions, f.lost, f.states, f.is_gone, f.active, f.first, f.last)
        for f in dbg.summary(path).machines
    ]
    assert found == [
        ("a", 1, 2, 0, 2, True, (), 102, 106),
        ("a", 2, 1, 0, 2, False, ("S1",), 103, 105),
        ("b", 1, 0, 3, 4, False, ("S1",), 107, 110),
        ("a", 2, 0, 7, 2, False, ("S1",), 113, 113),
    ]


def test_a_machine_is_there_from_the_earliest_to_the_latest_of_its_messages(tmp_path: Path) -> None:
    """A new file repeats its description, at a time after that of the batch with which the file begins."""
    path = tmp_path / "x.amdbg"
    with path.open("wb") as file:
        writer = DumpWriter(file, 42)
        for received, message in ((60, HELLO), (60, a_machine(0, "a")), (50, a_batch())):
            writer.write(1, received, encode(message))
        writer.finish()
    [told] = dbg.summary(path).machines
    assert (told.first, told.last) == (50, 60)


def test_records_of_one_machine(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.amdbg", HELLO, a_machine(0, "a"), a_machine(1, "b"), a_batch(0, count=2), a_batch(1), m.Gone(0, 1)
    )
    assert [(r.machine, r.number, r.id, r.before, r.after, r.sent, r.time_sum) for r in dbg.transitions(path, "a")] == [
        ("a", 1, "n1", (0, 0), (0, 1), 10, 1),
        ("a", 2, "n2", (0, 1), (0, 2), 17, 2),
    ]
    assert [r.machine for r in dbg.transitions(path)] == ["a", "a", "b"]
    with dbg.open_dump(path) as reader:
        told = list(dbg.Replay(reader))
    assert [len(list(each.records())) for each in told] == [0, 0, 0, 2, 1, 0]
    assert [each.machine and each.machine.id for each in told] == [None, "a", "b", "a", "b", "a"]


def test_a_message_that_does_not_fit_names_its_place(tmp_path: Path) -> None:
    path = write(tmp_path / "x.amdbg", (3, HELLO), (3, a_machine()), (3, a_batch(first=5)))
    with pytest.raises(dbg.DumpError, match=r"connection 3: machine 'm': record 1 comes next, not 5 \(at byte \d+\)"):
        dbg.summary(path)


def test_errors_are_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "MOST_ERRORS", 3)
    shapes = (m.Shape(m.Flag.ACCEPTED, (0,), (0, 1)), m.Shape(m.Flag.ACCEPTED | m.Flag.REMOVE, (0,), (0, 1)))
    machine = a_machine(names=("ErrNet", "S1"))
    batch = a_batch(count=20, which=[0, 1] * 10, shapes=shapes)
    found = dbg.summary(write(tmp_path / "x.amdbg", HELLO, machine, batch))
    assert [error.number for error in found.errors] == [15, 17, 19]
    assert found.machines[0].errors == 10


def test_a_file_of_very_many_machines_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "MOST_MACHINES", 3)
    many: list[Any] = [HELLO]
    for number in range(4):
        many += [a_machine(0, f"m{number}"), m.Gone(0, 1)]
    with pytest.raises(dbg.DumpError, match="more than 3 machines"):
        dbg.summary(write(tmp_path / "x.amdbg", *many))
    monkeypatch.setattr(replaying, "MOST_CONNECTIONS", 2)
    with pytest.raises(dbg.DumpError, match="more than 2 connections"):
        dbg.summary(write(tmp_path / "x.amdbg", *((number, HELLO) for number in range(3))))
    monkeypatch.setattr(replaying, "MOST_DESCRIBED", 30)
    one_after_the_other: list[Any] = [HELLO, a_machine(0, "m"), m.Gone(0, 1), a_machine(0, "m"), a_machine(0, "m")]
    dbg.summary(write(tmp_path / "x.amdbg", *one_after_the_other))
    with pytest.raises(dbg.DumpError, match="take more than 30 bytes"):
        dbg.summary(write(tmp_path / "x.amdbg", HELLO, a_machine(0, "m"), a_machine(1, "n")))


@given(st.lists(st.tuples(st.integers(0, 2), messages), max_size=8))
def test_any_messages_are_a_story_or_an_error(tmp_path_factory: pytest.TempPathFactory, told: Iterable[Any]) -> None:
    path = tmp_path_factory.mktemp("dump") / "x.amdbg"
    write(path, (0, HELLO), (0, a_machine()), *told)
    try:
        found = dbg.summary(path)
    except dbg.DumpError:
        return
    assert found.machines[0].id == "m"
