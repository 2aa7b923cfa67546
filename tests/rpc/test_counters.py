"""What sessions count, and snapshots of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.counters import LATENCIES, Counters, Statistics
from asyncmachine.rpc.transport import Transport
from asyncmachine.rpc.transport.memory import Fault, Frame, MemoryTransport, pair
from tests.rpc.behaviour import Basic, paired
from tests.rpc.duo import ready
from tests.rpc.nets import MemoryNet
from tests.rpc.time_loop import run


class FaultyNet(MemoryNet):
    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.fault = fault

    async def connect(self) -> tuple[Transport, MemoryTransport]:
        self.newest, far = pair(self.fault)
        return self.newest, far


def test_answers_are_counted_by_the_time_they_took() -> None:
    counters = Counters()
    for seconds in (0.0, 0.001, 0.0011, 0.3, 11.0):
        counters.answered_after(seconds)
    found = {bound: count for bound, count in zip((*LATENCIES, "more"), counters.latencies, strict=True) if count}
    assert found == {0.001: 2, 0.0025: 1, 0.5: 1, "more": 1}


def test_a_snapshot_does_not_change() -> None:
    duo = ready()
    duo.client.call("add", (0,), None, None, 0.0)
    before = duo.client.statistics(2.0)
    assert (before.calls, before.open_calls, before.silence, before.round_trip) == (1, 1, 2.0, None)
    duo.client.call("add", (0,), None, None, 0.0)
    duo.client.counters.answered_after(1.0)
    assert (before.calls, before.latencies) == (1, [])
    assert duo.client.statistics(2.0).calls == 2


async def test_both_sides_of_a_session() -> None:
    async with paired(MemoryNet(), Basic) as pair:
        for _ in range(3):
            await pair.mirror.add("Ask")
        pair.mirror.add_ns("Ask")
        await pair.client.sync()
        pair.source.add("B")
        await pair.mirror.when("B")
        client, server = pair.client.statistics, pair.server.statistics()["rc-test"]
        assert isinstance(client, Statistics)
        assert (client.calls, server.calls) == (3, 3)
        assert (client.notifies, server.notifies) == (1, 1)
        assert (client.piggybacks, server.piggybacks) == (3, 3)
        assert (client.full_syncs, server.full_syncs) == (1, 1)
        assert client.pushes == server.pushes >= 1
        assert (client.frames_out, client.bytes_out) == (server.frames_in, server.bytes_in)
        assert (server.frames_out, server.bytes_out) == (client.frames_in, client.bytes_in)
        assert sum(client.latencies) == 3
        assert (client.retries, client.drops, client.out_of_step) == (0, 0, 0)
        # The notification is open until something tells that it has arrived.
        assert client.open_calls == 1
        sent = client.frames_out
    assert client.frames_out == sent


@pytest.mark.parametrize("damaged", [True, False], ids=["damaged", "lost"])
async def test_a_wrong_sum_is_told_apart_from_a_message_that_is_missing(damaged: bool) -> None:
    def first_push(frame: Frame) -> Iterable[bytes]:
        found = decode(frame.data)
        if not isinstance(found, m.ClockPush) or found.seq != 1:
            return (frame.data,)
        return (encode(replace(found, queue=found.queue + 1)),) if damaged else ()

    async with paired(FaultyNet(first_push)) as pair:
        pair.source.add("A")
        await asyncio.sleep(0)
        pair.source.add("B")
        await pair.mirror.when("A", "B")
        await pair.client.sync()
        statistics = pair.client.statistics
        assert (statistics.out_of_step, statistics.wrong_sums) == (1, int(damaged))


async def test_the_backlog_is_the_most_that_ever_waited_to_be_sent() -> None:
    async with paired(MemoryNet()) as pair:
        assert pair.client.statistics.backlog == 1
        # All in one turn of the loop, in which nothing is sent.
        calls = [pair.mirror.add("Ask") for _ in range(10)]
        assert pair.client.statistics.backlog == 10
        for call in calls:
            await call
        await pair.mirror.add("Ask")
        assert pair.client.statistics.backlog == 10


def test_the_round_trip_is_that_of_the_last_ping() -> None:
    duo = ready()
    for asks, answers, seconds in ((15.0, 15.25, 0.25), (31.0, 31.125, 0.125)):
        duo.now = asks
        duo.server.tick(duo.now)
        duo.to_client()
        duo.now = answers
        duo.to_server()
        assert duo.server.statistics(duo.now).round_trip == seconds
    assert duo.client.statistics(duo.now).round_trip is None, "it has asked nothing"
    duo.client.notify((0,), None, None, duo.now)
    duo.client.ask_arrived(duo.now)
    duo.to_server()
    duo.now += 0.5
    duo.to_client()
    assert duo.client.statistics(duo.now).round_trip == 0.5


def test_both_sides_tell_the_round_trip_once_they_have_asked() -> None:
    async def body() -> None:
        async with paired(MemoryNet(), push_interval=0) as pair:
            assert (pair.client.statistics.round_trip, pair.server.statistics()["rc-test"].round_trip) == (None, None)
            await asyncio.sleep(15.5)  # in which the server pings
            assert pair.server.statistics()["rc-test"].round_trip == pytest.approx(0.0, abs=0.1)
            for _ in range(256):  # after which the client asks whether they have come
                pair.mirror.add_ns("Ask")
            await pair.client.sync()
            assert pair.client.statistics.round_trip == pytest.approx(0.0, abs=0.1)

    run(body())
