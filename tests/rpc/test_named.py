"""Situations that are named in the plan, each by itself."""

from __future__ import annotations

import asyncio
import gc
import math
import tracemalloc
from collections import Counter
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.transport.memory import MemoryTransport, pair
from tests.rpc.behaviour import Basic, paired
from tests.rpc.nets import MemoryNet
from tests.rpc.time_loop import run


def test_a_hundred_mutations_during_a_cut_of_five_seconds_come_with_one_exchange() -> None:
    async def body() -> None:
        away = rpc.Backoff(first=5.0, cap=5.0, jitter=0.0)
        net = MemoryNet()
        async with paired(net, backoff=away, timing=rpc.Timing()) as on:
            waiting = on.mirror.when_time(["Ask"], [199])
            sessions, loop = on.client.machine.tick(C.HandshakeDone), asyncio.get_running_loop()
            lost = on.client.machine.when_not(C.Connected)
            net.cut()
            await lost
            begun = loop.time()
            for _ in range(100):
                on.source.add("Ask")
            frames = on.client.statistics.frames_in
            await on.client.machine.when_time([C.HandshakeDone], [sessions + 2])
            assert loop.time() - begun == pytest.approx(5.0, abs=0.1)
            await waiting
            on.assert_equal()
            assert on.client.statistics.frames_in == frames + 1, "the welcome tells all of it"

    run(body())


@pytest.mark.parametrize("tick", [2**53 + 1, 2**64 - 3])
async def test_a_tick_beyond_what_javascript_can_count_arrives_exactly(tick: int) -> None:
    def late(source: am.Machine[Any]) -> None:
        data = source.export()
        time = tuple(tick if name == "Ask" else 0 for name in data.state_names)
        source.restore(am.Export(data.id, data.state_names, time, 1, 0))

    async with paired(MemoryNet(), setup=late) as on:
        assert on.mirror.tick("Ask") == tick
        await on.mirror.add("Ask")
        assert on.mirror.tick("Ask") == tick + 2
        on.assert_equal()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, b"\0\xff" * 1000, "ä" * 400_000])
async def test_an_argument_arrives_equal(value: Any) -> None:
    seen: list[Any] = []
    async with paired(MemoryNet(), handlers={"AskState": lambda e: seen.append(e.raw_args["value"])}) as on:
        await on.mirror.add("Ask", value=value)
    assert repr(seen) == repr([value])


@pytest.mark.parametrize(
    ("value", "error", "advice"),
    [
        ({1, 2}, rpc.Unsendable, "set"),
        (2**64, rpc.Unsendable, "2"),
        (object(), rpc.Unsendable, "object"),
        ("x" * 10_000_000, rpc.TooLarge, "the limit of a frame is 1048576"),
    ],
)
async def test_an_argument_that_cannot_arrive_is_refused_before_anything_is_sent(
    value: Any, error: type[Exception], advice: str
) -> None:
    async with paired(MemoryNet()) as on:
        before = on.client.statistics.bytes_out
        with pytest.raises(error, match=advice):
            await on.mirror.add("Ask", value=value)
        assert on.client.statistics.bytes_out == before
        assert (await on.mirror.add("Ask")).executed


async def test_an_outcome_that_is_not_awaited_cannot_be_mistaken_for_one() -> None:
    async with paired(MemoryNet()) as on:
        with pytest.raises(am.AmError, match="await"):
            bool(on.mirror.add("A"))  # as in `if mirror.add("A"):`
        await on.mirror.when("A")


def test_a_slow_consumer_costs_no_memory_and_disturbs_nobody() -> None:
    async def body() -> None:
        source: am.Machine[Any] = am.Machine(Basic, id="source")
        server = rpc.Server(source, "test", push_interval=0.0001, clients=2)
        stuck, far = pair()
        deaf = Deaf(far)
        serving = [asyncio.create_task(server.serve(stuck))]

        async def dial() -> rpc.Transport:
            near, end = pair()
            serving.append(asyncio.create_task(server.serve(near)))
            return end

        slow: rpc.Client = rpc.Client.over(deaf, Basic, id="slow")
        quick: rpc.Client = rpc.Client(dial, Basic, id="quick")
        for client in (slow, quick):
            client.start()
            await client.when_ready()
        deaf.hears.clear()
        # Both are sent more than the pipe of the deaf one holds.
        for _ in range(8):
            server.send_payload("filler", bytes(500_000), destination="rc-slow")
        await asyncio.sleep(0)
        tracemalloc.start()
        for _ in range(500):
            source.add("Ask")
            await asyncio.sleep(0)
        begun, _ = tracemalloc.get_traced_memory()
        for _ in range(10_000):
            source.add("Ask")
            await asyncio.sleep(0)
        grown = tracemalloc.get_traced_memory()[0] - begun
        tracemalloc.stop()
        await quick.netmach.when_time(["Ask"], [source.tick("Ask")])
        assert quick.netmach.clock() == source.clock()
        assert grown < 200_000, f"{grown} bytes for 10,000 transitions"
        assert server.statistics()["rc-slow"].pushes < 20
        deaf.hears.set()
        await asyncio.gather(slow.stop(), quick.stop(), server.stop())
        await asyncio.wait(serving)

    run(body(), debug=False)  # which would take most of the time


class Deaf:
    """A connection whose reader stops reading."""

    def __init__(self, inner: MemoryTransport) -> None:
        self.hears = asyncio.Event()
        self.hears.set()
        self.inner = inner
        self.peer = inner.peer
        self.closed = False

    async def send(self, data: bytes) -> None:
        await self.inner.send(data)

    async def recv(self) -> bytes:
        await self.hears.wait()
        return await self.inner.recv()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = True
        await self.inner.close(code, reason)


MIRRORS = 1000


@pytest.mark.skipif(tracemalloc.is_tracing(), reason="somebody else counts already")
def test_a_thousand_mirrors_of_one_source_hear_of_one_change_with_one_frame_each() -> None:
    async def body() -> None:
        source: am.Machine[Any] = am.Machine(Basic, id="source")
        server = rpc.Server(source, "crowd", push_interval=0.001, clients=MIRRORS)
        serving = []
        clients: list[rpc.Client] = []

        async def come(count: int) -> None:
            coming: list[rpc.Client] = []
            for number in range(count):
                near, far = pair()
                serving.append(asyncio.create_task(server.serve(near)))
                client: rpc.Client = rpc.Client.over(far, Basic, id=f"c{len(clients) + number}")
                client.start()
                coming.append(client)
            await am.wait_all(*(client.when_ready() for client in coming))
            clients.extend(coming)

        for _ in range(9):  # all at once would keep the loop from their deadlines
            await come(100)
        # A tenth is counted: to trace all of it would take most of the time.
        gc.collect()
        tracemalloc.start()
        await come(100)
        gc.collect()
        each = tracemalloc.get_traced_memory()[0] / 100
        tracemalloc.stop()
        # Both sides but the server, which is one for all. Nothing of it grows with the number of the others.
        assert each < 24 * 1024, f"{each:,.0f} bytes"
        before = [client.statistics for client in clients]
        assert {(found.frames_in, found.frames_out) for found in before} == {(1, 2)}
        source.add(["A", "B"])
        await am.wait_all(*(client.netmach.when("A", "B") for client in clients))
        after = [client.statistics for client in clients]
        assert {(found.frames_in, found.frames_out, found.pushes, found.calls) for found in after} == {(2, 2, 1, 0)}
        # A mutation of one of them is its answer for that one, and a push for each of the others.
        assert (await clients[0].netmach.add("C")).executed
        await am.wait_all(*(client.netmach.when("C") for client in clients))
        frames = Counter((found.pushes, found.piggybacks) for found in (client.statistics for client in clients))
        assert frames == {(1, 1): 1, (2, 0): MIRRORS - 1}
        await server.stop()
        await asyncio.wait(serving)
        await asyncio.gather(*(client.stop() for client in clients))

    run(body(), debug=False)  # likewise
