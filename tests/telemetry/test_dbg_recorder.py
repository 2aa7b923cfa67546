"""The recorder: many senders, some of them bad, one story on disk."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.rpc.transport import TransportClosed
from asyncmachine.rpc.transport.memory import pair
from asyncmachine.telemetry import dbg
from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.amdbg import SUFFIX
from asyncmachine.telemetry.dbg.codec import decode, encode
from asyncmachine.telemetry.dbg.dumps import Entry
from asyncmachine.telemetry.dbg.recorder import RETRY_OUTPUT, Inlet
from tests.telemetry.hearing import HELLO, Watch
from tests.telemetry.messages import a_batch, a_machine
from tests.virtual_time import in_virtual_time

SECOND = 1_000_000_000


class Memory:
    """An output that keeps its files as lists, and may fail."""

    def __init__(self, *, idle: bool = True, most: int = 1000) -> None:
        self.files: list[list[Entry]] = []
        self.finished: list[int] = []
        self.ends_when_idle = idle
        self.most = most
        self.records = 0
        self.flushes = 0
        self.is_open = False
        self.error: OSError | None = None

    def begin(self, now: int, known: Iterable[Entry]) -> None:
        self._fail()
        self.files.append(list(known))
        self.is_open, self.records = True, 0

    def write(self, entry: Entry, records: int) -> None:
        self._fail()
        self.files[-1].append(entry)
        self.records += records

    def is_full(self, now: int) -> bool:
        return self.records >= self.most

    def flush(self) -> None:
        self._fail()
        self.flushes += 1

    def finish(self, now: int) -> Path | None:
        self._fail()
        self.is_open = False
        self.finished.append(now)
        return Path(f"file {len(self.finished)}")

    def abandon(self) -> None:
        self.is_open = False

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


class Now:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 1000 * SECOND

    def __call__(self) -> int:
        return self.time


def feed(inlet: Inlet, *told: m.Message) -> Inlet:
    for message in told:
        inlet.receive(encode(message))
    return inlet


def kinds(entries: list[Entry]) -> list[str]:
    """Connection and kind of each message."""
    return [f"{connection} {type(decode(frame)).__name__}" for connection, _, frame in entries]


def test_a_file_is_begun_with_what_is_known() -> None:
    output = Memory(most=2)
    recorder = dbg.Recorder(output)
    inlet = feed(recorder.connect(), HELLO, a_machine(), m.Pipes(0, 1, (m.Pipe(1, "S1", "x"),)))
    assert output.files == []
    feed(inlet, a_batch(), a_batch(first=2), a_batch(first=3))
    assert [kinds(file) for file in output.files] == [
        ["1 Hello", "1 Machine", "1 Pipes", "1 Transitions", "1 Transitions"],
        ["1 Hello", "1 Machine", "1 Pipes", "1 Transitions"],
    ]
    assert recorder.files == [Path("file 1")]
    inlet.close()
    assert kinds(output.files[-1])[-1] == "1 Bye"
    assert recorder.files == [Path("file 1"), Path("file 2")]


def test_the_receiver_stamps() -> None:
    output, now = Memory(), Now()
    inlet = feed(dbg.Recorder(output, clock=now).connect(), HELLO, a_machine())
    now.time = 5
    feed(inlet, a_batch(now=77))
    assert output.files[0][-1][:2] == (1, 5)


def test_whoever_does_wrong_hurts_nobody_else() -> None:
    output = Memory()
    recorder = dbg.Recorder(output)
    good, bad = feed(recorder.connect(), HELLO, a_machine()), feed(recorder.connect(), HELLO, a_machine())
    feed(good, a_batch())
    for frame in (b"nonsense", encode(a_batch(7)), encode(HELLO), encode(a_batch(first=9))):
        with pytest.raises(dbg.StreamFault):
            bad.receive(frame)
    bad.close()
    feed(good, a_batch(first=2))
    assert kinds(output.files[0])[4:] == ["1 Transitions", "2 Bye", "1 Transitions"]
    assert recorder.statistics().faults == 4
    with pytest.raises(dbg.StreamFault, match="closed"):
        bad.receive(encode(m.Bye()))


def test_two_senders_may_call_their_machines_alike(tmp_path: Path) -> None:
    """Neither can write into the other's story."""
    recorder = dbg.Recorder(dbg.SingleDump(tmp_path / "x.amdbg"))
    one, two = (feed(recorder.connect(), HELLO, a_machine()) for _ in range(2))
    feed(one, a_batch(count=3))
    feed(two, a_batch())
    recorder.close()
    found = dbg.summary(tmp_path / "x.amdbg").machines
    assert [(machine.id, machine.connection, machine.transitions) for machine in found] == [("m", 1, 3), ("m", 2, 1)]


def test_strangers_have_limits() -> None:
    limits = dbg.RecorderLimits(connections=2, machines=3, machines_each=2, described_bytes=1000)
    recorder = dbg.Recorder(limits=limits)
    one, two = feed(recorder.connect(), HELLO), feed(recorder.connect(), HELLO)
    feed(one, a_machine(0, "a"), a_machine(1, "b"))
    for inlet, message in ((one, a_machine(2, "c")), (two, a_machine(0, "x" * 200, names=("y" * 255, "z" * 255)))):
        if inlet is two:
            feed(two, a_machine(1, "d"))
        with pytest.raises(dbg.StreamFault) as caught:
            feed(inlet, message)
        assert caught.value.close == 4429
    with pytest.raises(dbg.StreamFault) as caught:
        recorder.connect()
    assert caught.value.close == 4429
    assert recorder.statistics().machines == 3
    feed(one, m.Gone(0, 1))
    feed(two, a_machine(0, "e"))
    two.close()
    one.close()
    assert (recorder.statistics().machines, recorder._described) == (0, 0)


def test_descriptions_and_pipes_have_a_limit_of_bytes() -> None:
    recorder = dbg.Recorder(limits=dbg.RecorderLimits(described_bytes=5000))
    inlet = feed(recorder.connect(), HELLO, a_machine())
    pipes = m.Pipes(0, 1, (m.Pipe(1, "S1", "x" * 200),) * 10)
    for _ in range(50):
        feed(inlet, pipes, a_machine())
    with pytest.raises(dbg.StreamFault, match="too many bytes"):
        feed(inlet, m.Pipes(0, 1, pipes.pipes * 3))


def test_counters() -> None:
    recorder = dbg.Recorder()
    inlet = feed(recorder.connect(), HELLO, a_machine(), a_batch(count=4), m.Gap(0, 8, 3, (0, 9), 1))
    found = recorder.statistics()
    assert (found.connections, found.machines, found.records, found.lost, found.frames) == (1, 1, 4, 3, 4)
    assert found.bytes == sum(map(len, map(encode, (HELLO, a_machine(), a_batch(count=4), m.Gap(0, 8, 3, (0, 9), 1)))))
    assert [(track.id, track.ticks) for track in recorder.machines()] == [("m", [0, 9])]
    feed(inlet, m.Bye())
    inlet.close()
    inlet.close()
    assert recorder.statistics().connections == 0


def test_a_disk_that_fails_ends_the_file_not_the_recorder(caplog: pytest.LogCaptureFixture) -> None:
    output, now = Memory(), Now()
    recorder = dbg.Recorder(output, clock=now)
    inlet = feed(recorder.connect(), HELLO, a_machine(), a_batch())
    output.error = OSError(errno.ENOSPC, "no space left")
    with caplog.at_level(logging.ERROR, "asyncmachine.telemetry"):
        feed(inlet, a_batch(first=2))
        feed(inlet, a_batch(first=3))
    assert (recorder.statistics().output_failures, output.is_open, recorder.statistics().records) == (1, False, 3)
    assert "no space left" in caplog.text
    output.error = None
    feed(inlet, a_batch(first=4))
    assert len(output.files) == 1
    now.time += RETRY_OUTPUT * SECOND
    feed(inlet, a_batch(first=5))
    assert kinds(output.files[1]) == ["1 Hello", "1 Machine", "1 Transitions"]


def test_a_disk_that_fails_at_the_end_is_told_of_too() -> None:
    output = Memory()
    recorder = dbg.Recorder(output)
    feed(recorder.connect(), HELLO, a_machine(), a_batch())
    output.error = OSError("gone")
    assert recorder.dump() is None
    recorder.tick()
    assert recorder.statistics().output_failures == 1


def test_closing_ends_everything() -> None:
    output = Memory(idle=False)
    recorder = dbg.Recorder(output)
    inlet = feed(recorder.connect(), HELLO, a_machine(), a_batch())
    recorder.close()
    assert kinds(output.files[0])[-1] == "1 Bye"
    assert recorder.files == [Path("file 1")]
    with pytest.raises(dbg.StreamFault):
        feed(inlet, a_batch(first=2))
    with pytest.raises(dbg.StreamFault) as caught:
        recorder.connect()
    assert caught.value.close == 1001
    assert recorder.statistics().connections == 0


@in_virtual_time
async def test_time_passes() -> None:
    """Readers see what was written, and files end by age without any traffic."""
    output = Memory()
    recorder = dbg.Recorder(output)
    async with recorder.running():
        feed(recorder.connect(), HELLO, a_machine(), a_batch())
        await asyncio.sleep(10)
        assert 9 <= output.flushes <= 10
        output.most = 0
        await asyncio.sleep(2)
        assert recorder.files == [Path("file 1")]
    assert recorder.files == [Path("file 1")]


async def test_serving_a_transport() -> None:
    output = Memory()
    recorder = dbg.Recorder(output)
    near, far = pair()
    serving = asyncio.create_task(recorder.serve(far))
    for message in (HELLO, a_machine(), a_batch()):
        await near.send(encode(message))
    await near.close()
    await serving
    assert kinds(output.files[0])[-2:] == ["1 Transitions", "1 Bye"]


@pytest.mark.parametrize(
    ("frame", "code", "reason"),
    [
        (b"nonsense", 4400, "BAD_FRAME: not a message"),
        (encode(m.Hello(m.MAGIC, 9, "s")), 4406, "VERSION: version 1 is spoken here, not 9"),
    ],
)
async def test_a_sender_is_told_what_it_did_wrong(frame: bytes, code: int, reason: str) -> None:
    near, far = pair()
    serving = asyncio.create_task(dbg.Recorder().serve(far))
    await near.send(frame)
    with pytest.raises(TransportClosed) as caught:
        await near.recv()
    await serving
    assert caught.value.code == code
    assert caught.value.reason.startswith(reason)


async def test_a_sender_too_many_is_told_so() -> None:
    recorder = dbg.Recorder(limits=dbg.RecorderLimits(connections=0))
    near, far = pair()
    await recorder.serve(far)
    with pytest.raises(TransportClosed, match=r"4429 \(LIMIT"):
        await near.recv()


def test_what_is_recorded_is_what_was_sent(tmp_path: Path) -> None:
    """A real machine, through several files."""
    rotation = dbg.Rotation(records=20)
    recorder = dbg.Recorder(dbg.RotatingDumps(tmp_path, "dump", rotation))
    machine = am.Machine({"A": {}, "B": {"require": ["A"]}}, {"AState": lambda e: e.add("B")}, id="m")
    machine.log.keep(3)
    watch, inlet = Watch(), recorder.connect()
    for frame in watch.packer.opening():
        inlet.receive(frame)
    watch.attach(machine)
    sent: list[Any] = []
    for number in range(50):
        machine.add("A", {"n": number})
        machine.remove("A")
        for frame in watch.packer.frames(*watch.outbox.take()):
            inlet.receive(frame)
            sent += watch.listener.hear(frame).records[len(sent) :]
    inlet.close()
    recorder.close()
    assert len(recorder.files) >= 7
    read = [record for path in recorder.files for record in dbg.transitions(path)]
    assert [record.to_dict() | {"received": 1} for record in read] == [record.to_dict() for record in sent]
    assert {path.suffix for path in tmp_path.iterdir()} == {SUFFIX}
