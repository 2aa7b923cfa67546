"""Forwarding: another recorder hears the same, unless it is slow; then it hears how much it has missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asyncmachine.rpc.transport import Peer, Transport, TransportClosed
from asyncmachine.rpc.transport.memory import MemoryTransport, pair
from asyncmachine.telemetry import dbg
from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.codec import encode
from asyncmachine.telemetry.dbg.recorder import Inlet, Recorder
from tests.telemetry.hearing import HELLO
from tests.telemetry.messages import a_batch, a_machine
from tests.virtual_time import in_virtual_time


class Second:
    """The recorder at the other end. It may be out, or not read."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.is_out = False
        self.reads = asyncio.Event()
        self.reads.set()
        self.ends: list[MemoryTransport] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def dial(self) -> Transport:
        if self.is_out:
            raise TransportClosed(1006, "out")
        near, far = pair()
        self.ends.append(far)
        self.tasks.append(asyncio.create_task(self._serve(far)))
        return near

    async def _serve(self, transport: MemoryTransport) -> None:
        inlet = self.recorder.connect("forwarder")
        try:
            while True:
                await self.reads.wait()
                inlet.receive(await transport.recv())
        except TransportClosed:
            inlet.close()


def feed(inlet: Inlet, *told: m.Message) -> None:
    for message in told:
        inlet.receive(encode(message))


def story(path: Path) -> list[tuple[str, int, int]]:
    return [(found.id, found.transitions, found.lost) for found in dbg.summary(path).machines]


Make = Callable[..., tuple[Recorder, Second]]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Make]:
    made: list[Recorder] = []

    def make(**limits: int) -> tuple[Recorder, Second]:
        second = Second(Recorder(dbg.SingleDump(tmp_path / "second.amdbg"), clock=lambda: 999))
        first = Recorder(
            dbg.SingleDump(tmp_path / "first.amdbg"),
            forward=[second.dial],
            forward_limits=dbg.ForwardLimits(**limits),
            clock=lambda: 7,
        )
        made.append(second.recorder)
        return first, second

    yield make
    for recorder in made:
        recorder.close()


@in_virtual_time
async def test_both_hear_the_same(two: Make, tmp_path: Path) -> None:
    first, second = two()
    async with first.running():
        one, other = first.connect(), first.connect()
        feed(one, HELLO, a_machine())
        await asyncio.sleep(1)
        feed(other, m.Hello(m.MAGIC, 1, "other"), a_machine(0, "n"))
        feed(one, a_batch(count=5))
        feed(other, a_batch(), m.Bye())
        other.close()
        await asyncio.sleep(1)
        assert second.recorder.statistics().connections == 2
        assert [track.id for track in second.recorder.machines()] == ["m"]
        one.close()
        await asyncio.sleep(1)
        assert second.recorder.statistics().connections == 1
    second.recorder.close()
    assert story(tmp_path / "first.amdbg") == story(tmp_path / "second.amdbg") == [("m", 5, 0), ("n", 1, 0)]
    assert {record.received for record in dbg.transitions(tmp_path / "second.amdbg")} == {7}


@in_virtual_time
async def test_one_that_was_out_begins_with_what_is_known(two: Make, tmp_path: Path) -> None:
    first, second = two()
    second.is_out = True
    async with first.running():
        one = first.connect()
        feed(one, HELLO, a_machine(), a_batch(count=3))
        await asyncio.sleep(60)
        second.is_out = False
        await asyncio.sleep(20)
        feed(one, a_batch(first=4))
        await asyncio.sleep(1)
        (track,) = second.recorder.machines()
        assert (track.ticks, track.next, track.records) == ([0, 4], 5, 1)
    assert first.statistics().forward_dropped > 0


@in_virtual_time
async def test_a_slow_one_learns_how_much_it_has_missed(two: Make, tmp_path: Path) -> None:
    first, second = two(frames=5)
    async with first.running():
        one = first.connect()
        await asyncio.sleep(1)
        feed(one, HELLO, a_machine(), a_batch())
        await asyncio.sleep(1)
        for number in range(2, 41):
            feed(one, a_batch(first=number))
            if number % 10 == 0:
                await asyncio.sleep(1)
        await asyncio.sleep(30)
        feed(one, a_batch(first=41))
        await asyncio.sleep(1)
        assert first.statistics().records == 41
        assert first.statistics().forward_dropped > 0
        assert len(second.ends) > 1
        (track,) = second.recorder.machines()
        assert (track.ticks, track.next) == ([0, 41], 42)
        one.close()
        await asyncio.sleep(1)
    second.recorder.close()
    found = dbg.summary(tmp_path / "second.amdbg").machines
    assert sum(machine.transitions + machine.lost for machine in found) == 41


@in_virtual_time
async def test_one_that_does_not_read_takes_no_room(two: Make) -> None:
    first, second = two(bytes=100_000)
    async with first.running():
        one = first.connect()
        feed(one, HELLO, a_machine())
        await asyncio.sleep(1)
        second.reads.clear()
        for _ in range(300):
            feed(one, m.Log(0, 1, (m.Line(1, "x" * 16_000),)))
            await asyncio.sleep(0.001)
            assert first._forwarders[0]._size <= 100_000
        second.reads.set()
        await asyncio.sleep(1)


class Stuck:
    """Takes nothing, and would take its time to close."""

    peer = Peer("memory")
    closed = False
    is_dropped = False

    async def send(self, data: bytes) -> None:
        await asyncio.Event().wait()

    async def recv(self) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await asyncio.sleep(40)

    def abort(self) -> None:
        self.is_dropped = True


@in_virtual_time
async def test_one_that_takes_nothing_does_not_hold_the_end_up() -> None:
    stuck = Stuck()

    async def dial() -> Transport:
        return stuck

    first = Recorder(forward=[dial])
    loop = asyncio.get_running_loop()
    async with first.running():
        await asyncio.sleep(1)
        first.farewell = 0.3
        begun = loop.time()
    assert loop.time() - begun < 0.5
    assert stuck.is_dropped


@in_virtual_time
async def test_a_recorder_that_forwards_can_forward_on(two: Make, tmp_path: Path) -> None:
    """Three in a row: names of connections are each one's own."""
    third = Second(Recorder(dbg.SingleDump(tmp_path / "third.amdbg")))
    middle = Second(Recorder(forward=[third.dial]))
    first = Recorder(forward=[middle.dial])
    async with middle.recorder.running(), first.running():
        await asyncio.sleep(1)
        one, other = first.connect(), first.connect()
        for inlet, name in ((one, "m"), (other, "n")):
            feed(inlet, HELLO, a_machine(0, name), a_batch(count=2))
        await asyncio.sleep(1)
        assert sorted(track.id for track in third.recorder.machines()) == ["m", "n"]
    third.recorder.close()
    assert story(tmp_path / "third.amdbg") == [("m", 2, 0), ("n", 2, 0)]


def forwarded(connection: str, message: m.Message, received: int = 3) -> m.Forwarded:
    return m.Forwarded(connection, received, encode(message))


@pytest.mark.parametrize(
    "told",
    [
        [forwarded("c", HELLO)],
        [HELLO, forwarded("c", a_machine())],
        [HELLO, forwarded("c", HELLO), forwarded("c", HELLO)],
        [HELLO, forwarded("c", forwarded("d", HELLO))],
        [HELLO, m.Forwarded("c", 1, b"nonsense")],
    ],
    ids=["no hello", "no hello inside", "two hellos inside", "an envelope inside", "nonsense inside"],
)
def test_envelopes_hold_no_surprises(told: list[m.Message]) -> None:
    inlet = Recorder().connect()
    feed(inlet, *told[:-1])
    with pytest.raises(dbg.StreamFault):
        feed(inlet, told[-1])


def test_forwarded_connections_have_a_limit_and_end_with_their_line() -> None:
    recorder = Recorder(limits=dbg.RecorderLimits(forwarded_each=2))
    inlet = recorder.connect()
    feed(inlet, HELLO, forwarded("a", HELLO), forwarded("b", HELLO), forwarded("b", a_machine()))
    with pytest.raises(dbg.StreamFault) as caught:
        feed(inlet, forwarded("c", HELLO))
    assert caught.value.close == 4429
    feed(inlet, forwarded("a", m.Bye()), forwarded("c", HELLO))
    assert recorder.statistics().connections == 3
    inlet.close()
    assert recorder.statistics().connections == 0
