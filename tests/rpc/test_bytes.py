"""Exact counts of frames and bytes: what one operation costs on the wire, without the transport's own header."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ServerStates
from asyncmachine.rpc.transport import Peer, Transport
from asyncmachine.rpc.transport.memory import pair
from tests.rpc.behaviour import Relations


class Counting:
    """A transport that counts what the client sends and gets."""

    def __init__(self, inner: Transport, count: Count) -> None:
        self.inner = inner
        self.count = count
        self.peer = Peer("memory", "counted")

    @property
    def closed(self) -> bool:
        return self.inner.closed

    async def send(self, data: bytes) -> None:
        self.count.sent.append(len(data))
        await self.inner.send(data)

    async def recv(self) -> bytes:
        data = await self.inner.recv()
        self.count.received.append(len(data))
        return data

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.inner.close(code, reason)


class Count:
    def __init__(self) -> None:
        self.sent: list[int] = []
        self.received: list[int] = []

    def take(self) -> tuple[int, int]:
        """Bytes sent and received since the last call."""
        found = sum(self.sent), sum(self.received)
        self.sent.clear()
        self.received.clear()
        return found


class Twenty(rpc.StateSource):
    """20 states, with `Exception` and `ErrOnClient`."""

    S01, S02, S03, S04, S05, S06, S07, S08, S09 = (am.state() for _ in range(9))
    S10, S11, S12, S13, S14, S15, S16, S17, S18 = (am.state(multi=True) for _ in range(9))


Body = Callable[[am.Machine[Any], rpc.NetworkMachine[Any], Count], Awaitable[None]]


async def counted(
    body: Body, states: Any = Twenty, schema: Any = Twenty, push_interval: float = 0.0, **options: Any
) -> None:
    """Runs the body with a ready client; pushes are off unless asked for, so that the counts are exact."""
    source: am.Machine[Any] = am.Machine(states, id="source")
    server = rpc.Server(source, "bytes", push_interval=push_interval)
    near, far = pair()
    serving = asyncio.create_task(server.serve(near))
    count = Count()
    client = rpc.Client.over(Counting(far, count), schema, id="bytes", **options)
    client.start()
    await server.machine.when(ServerStates.Ready)
    await body(source, client.netmach, count)
    await client.stop()
    await serving
    assert client.machine.err is None
    assert server.machine.err is None


async def test_a_handshake_with_a_known_schema() -> None:
    async def body(source: am.Machine[Any], mirror: rpc.NetworkMachine[Any], count: Count) -> None:
        assert len(mirror.names) == 20
        assert (len(count.sent), len(count.received)) == (2, 1)
        # HELLO and READY, and WELCOME, of which 21 bytes are the ticks. The aim is 250 in all.
        assert count.take() == (67 + 19, 97)

    await counted(body)


async def test_a_handshake_that_has_to_send_the_names_or_the_whole_schema() -> None:
    async def names(source: am.Machine[Any], mirror: rpc.NetworkMachine[Any], count: Count) -> None:
        assert count.take() == (86, 193)

    await counted(names, schema=None, no_schema=True)

    async def schema(source: am.Machine[Any], mirror: rpc.NetworkMachine[Any], count: Count) -> None:
        assert count.take() == (76, 398)

    await counted(schema, schema=None)


async def test_a_mutation() -> None:
    async def body(source: am.Machine[Any], mirror: rpc.NetworkMachine[Any], count: Count) -> None:
        count.take()
        await mirror.add("S01")
        assert (len(count.sent), len(count.received)) == (1, 1)
        # ADD: array, kind, call, list of one state. RESULT: array, kind, call, outcome, number, queue, machine,
        # list of state and difference, and five bytes of checksum.
        assert count.take() == (5, 15)
        await mirror.add("S01")
        assert count.take() == (5, 13)
        await mirror.set(["S02", "S03"])
        assert count.take() == (6, 19)

    await counted(body)


async def test_a_mutation_that_was_canceled_still_tells_the_queue_tick() -> None:
    async def body(source: am.Machine[Any], mirror: rpc.NetworkMachine[Any], count: Count) -> None:
        source.bind({"S01Enter": lambda e: False})
        count.take()
        await mirror.add("S01")
        # Of the answer 16 bytes are the reason, for those who may read everything.
        assert count.take() == (5, 13 + 1 + len("S01Enter vetoed"))

    await counted(body)


async def test_the_cost_does_not_depend_on_how_large_ticks_are() -> None:
    async def body(source: am.Machine[Any], mirror: rpc.NetworkMachine[Any], count: Count) -> None:
        source._ticks = [1_000_000 for _ in source._ticks]
        await mirror.add("S10")
        count.take()
        await mirror.add("S10")
        assert count.take() == (5, 15)

    await counted(body)


async def test_five_hundred_mutations_in_a_row() -> None:
    async def body(source: am.Machine[Any], mirror: rpc.NetworkMachine[Any], count: Count) -> None:
        count.take()
        for _ in range(500):
            await mirror.add(["A", "C"])
        await mirror.add("D")
        assert (len(count.sent), len(count.received)) == (501, 501)
        sent, received = count.take()
        # The published band for this is 20,000 to 21,000.
        assert (sent, received) == (3625, 7761)
        assert mirror.is_("A", "B", "C", "D")

    await counted(body, Relations, Relations)


async def test_a_push() -> None:
    async def body(source: am.Machine[Any], mirror: rpc.NetworkMachine[Any], count: Count) -> None:
        count.take()
        source.add("S01")
        await mirror.when("S01")
        assert count.take() == (0, 13)

    await counted(body, push_interval=0.001)


async def test_idle_is_silent() -> None:
    async def body(source: am.Machine[Any], mirror: rpc.NetworkMachine[Any], count: Count) -> None:
        count.take()
        loop = asyncio.get_running_loop()
        timers = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        # The two keep-alives, the first handshake deadlines, and the test's own time-out.
        assert all(handle.when() - loop.time() > 4 for handle in timers)
        assert count.take() == (0, 0)

    await counted(body, push_interval=0.25)


@pytest.mark.parametrize("size", [64, 4096])
async def test_a_payload(size: int) -> None:
    class States(Twenty, rpc.Consumer):
        pass

    source: am.Machine[Any] = am.Machine(Twenty, id="source")
    consumer: am.Machine[Any] = am.Machine(States, {"ServerPayloadState": lambda e: e.remove("ServerPayload")})
    server = rpc.Server(source, "bytes", push_interval=0)
    near, far = pair()
    serving = asyncio.create_task(server.serve(near))
    count = Count()
    client = rpc.Client.over(Counting(far, count), Twenty, id="bytes", consumer=consumer)
    client.start()
    await server.machine.when(ServerStates.Ready)
    count.take()
    await server.send_payload("result", bytes(size))
    assert count.take() == (12, 23 + 2 + size + (size > 255))
    await client.stop()
    await serving
