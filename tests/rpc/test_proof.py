"""What is promised of slow readers and large payloads, at the sizes it is promised for: in memory, and over TCP."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.chunks import MAX_PAYLOAD, WINDOW
from tests.rpc.behaviour import Basic, Pair, Taking, paired
from tests.rpc.large import MIB, bytes_out, come, consuming, figures
from tests.rpc.nets import memory, tcp
from tests.rpc.situations import Deaf

NETS: dict[str, Callable[[], AbstractAsyncContextManager[Any]]] = {"memory": memory, "tcp": tcp}

TRANSITIONS = 10_000
AT_ONCE = 100
BURSTS = TRANSITIONS // AT_ONCE
HEADER = 5
"""Bytes that MessagePack puts before the data."""


async def stops_reading(pair: Pair) -> tuple[rpc.Client[Any], Deaf, Any]:
    """A further client, to which nothing more can be sent; its deaf ears, and how the server sees it."""
    deaf = Deaf(await pair.dial())
    consumer: am.Machine[Any] = am.Machine(Basic, Taking(), id="consumer")
    slow: rpc.Client[Any] = rpc.Client.over(deaf, Basic, id="slow", consumer=consumer)
    slow.start()
    await slow.when_ready()
    deaf.hears.clear()
    served = next(client for client in pair.server._clients if client.id == "rc-slow")
    while await changes_reach(pair):  # sockets find room a little later, too
        for _ in range(100):
            pair.server.send_payload("filler", bytes(500_000), destination="rc-slow")
            await pair.client.sync()  # as long as everything on the way takes more
            if len(served.connection._backlog) >= 5:
                break
        assert served.connection.congested
    return slow, deaf, served


async def changes_reach(pair: Pair) -> bool:
    before = pair.server.statistics()["rc-slow"].pushes
    await changes(pair, 2000)
    return pair.server.statistics()["rc-slow"].pushes > before


async def changes(pair: Pair, count: int) -> None:
    """So many transitions; whoever listens sees each hundred of them before the next one begins."""
    for _ in range(count // AT_ONCE):
        for _ in range(AT_ONCE):
            pair.source.add("Ask")
        await pair.mirror.when_time(["Ask"], [pair.source.tick("Ask")])


def in_memory() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def slow_reader(net: Any) -> dict[str, float]:
    async with paired(net, clients=2, push_interval=0.0001) as pair:
        slow, deaf, served = await stops_reading(pair)
        await changes(pair, 1000)
        backlog, told = len(served.connection._backlog), pair.server.statistics()["rc-slow"]
        begun = time.perf_counter()
        await changes(pair, TRANSITIONS)
        seconds = time.perf_counter() - begun
        pair.assert_equal()
        # Sockets find room now and then, even later; what is put behind what waits already is put there for each burst.
        assert pair.server.statistics()["rc-slow"].pushes - told.pushes < BURSTS / 2
        assert len(served.connection._backlog) < backlog + BURSTS / 2
        tracemalloc.start()
        try:
            await changes(pair, 1000)
            marks = [in_memory()]
            for _ in range(3):
                await changes(pair, TRANSITIONS)
                marks.append(in_memory())
            # What the sockets still move to the slow client's side, once, is no growth: a leak is in each stretch.
            growth = min(after - before for before, after in pairwise(marks))
        finally:
            tracemalloc.stop()
        waiting = pair.server.statistics()["rc-slow"]
        conflated = waiting.conflated - told.conflated
        deaf.hears.set()
        await slow.netmach.when_time(["Ask"], [pair.source.tick("Ask")])
        assert slow.netmach.clock() == pair.source.clock()
        late = pair.server.statistics()["rc-slow"].pushes - waiting.pushes
        assert pair.client.statistics.drops == pair.client.statistics.out_of_step == 0
        await slow.stop()
        slow.machine.dispose()
    return {"rate": TRANSITIONS / seconds, "growth": growth, "conflated": conflated, "late": late}


@pytest.mark.skipif(tracemalloc.is_tracing(), reason="somebody else counts already")
@pytest.mark.parametrize("net", NETS)
def test_a_slow_reader_at_ten_thousand_transitions_costs_no_memory_and_disturbs_nobody(net: str) -> None:
    async def run() -> dict[str, float]:
        async with NETS[net]() as made:
            return await slow_reader(made)

    found = asyncio.run(run(), debug=False)
    assert found["rate"] > TRANSITIONS, "in a second"
    assert found["growth"] < 32 * 1024
    assert found["conflated"] > 0
    assert found["late"] <= 3, "all of it comes as one"


@pytest.mark.parametrize("net", NETS)
def test_64_mebibytes_go_on_after_a_cut_and_little_of_them_goes_twice(net: str) -> None:
    async def run() -> int:
        async with NETS[net]() as made, consuming(made) as (pair, taking):
            data, before = figures(MAX_PAYLOAD - HEADER), bytes_out(pair)
            sent = pair.server.send_payload("film", data)
            await come(pair, 40 * MIB)
            made.cut()
            assert (await sent).executed
            assert [got.data == data for got in taking.got] == [True]
            assert pair.client.statistics.drops <= 1
            return bytes_out(pair) - before - len(data)

    again = asyncio.run(run(), debug=False)
    assert again < WINDOW + 100_000
