"""aRPC against gRPC (asyncio) and plain WebSockets: the subscribe–get–process loop of two processes over loopback.

Bytes are counted by a relay in between, both ways, and so include each protocol's own framing. Times are taken without
it, in alternating rounds, of which the best counts. `bench.loops` has the loops.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Any

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ServerStates
from asyncmachine.rpc.transport.memory import MemoryListener, pair
from bench.loops import Drive, amrpc, grpc_peer, socket_peer, websocket_peer
from bench.loops.meter import metered
from bench.loops.process import started
from bench.report import Row, main, row

ROUNDS, OPERATIONS, COUNTED = 4, 2000, 10_000
MIRRORS = 1000

Driving = Callable[[int], AbstractAsyncContextManager[Drive]]

PEERS: dict[str, tuple[tuple[str, ...], Driving]] = {
    "aRPC": (("amrpc",), amrpc.driving),
    "aRPC over WebSocket": (
        ("amrpc", "ws://127.0.0.1:0/"),
        lambda port: amrpc.driving(port, "ws"),
    ),
    "gRPC": (("grpc_peer",), grpc_peer.driving),
    "WebSocket": (("websocket_peer",), websocket_peer.driving),
    "socket": (("socket_peer",), socket_peer.driving),
}


class Twenty(rpc.StateSource):
    """20 states, with `Exception` and `ErrOnClient`."""

    S01, S02, S03, S04, S05, S06, S07, S08, S09 = (am.state() for _ in range(9))
    S10, S11, S12, S13, S14, S15, S16, S17, S18 = (am.state(multi=True) for _ in range(9))


def rows() -> Iterator[Row]:
    """All figures."""
    count = asyncio.run(bytes_of_all())
    yield row("bytes an operation", "B", count["aRPC"], peers={"gRPC": count["gRPC"]}, aim="ours <= 48")
    ws = {"WebSocket": count["WebSocket"]}
    yield row("the same over WebSocket", "B", count["aRPC over WebSocket"], peers=ws)
    yield row("calls an operation", "", asyncio.run(calls()), peers={"gRPC": 3.0}, aim="ours <= 1")
    time = asyncio.run(times())
    yield row("time of an operation", "µs", time["aRPC"], peers={"gRPC": time["gRPC"]}, aim="ratio >= 8.33")
    yield row("of it, a message there and back over a bare socket", "µs", time["socket"])
    yield row("of it, the machine's part: the same without aRPC", "µs", asyncio.run(alone()))
    yield row("the same over WebSocket", "µs", time["aRPC over WebSocket"], peers={"WebSocket": time["WebSocket"]})
    yield row("handshake, 20 states, schema known", "B", asyncio.run(handshake()), aim="ours <= 250")
    small, large = (asyncio.run(of_a_thousand(compression)) for compression in (True, False))
    yield row("handshake, 1,000 states, schema told", "B", small[0], peers={"uncompressed": large[0]})
    yield row("full sync of 1,000 states", "B", small[1], peers={"uncompressed": large[1]})
    yield row("memory of an idle mirror of 20 states", "KB", asyncio.run(memory()), aim="ours <= 24")
    each, reach = asyncio.run(many())
    yield row(f"the same, one of {MIRRORS:,} in one process", "KB", each)
    yield row(f"a change reaches {MIRRORS:,} mirrors in one process", "ms", reach)


async def bytes_of_all() -> dict[str, float]:
    """Bytes of one operation, in a loop of 10,000, for each peer."""
    found = {}
    for name, (server, driving) in PEERS.items():
        async with started(*server) as port, metered(port) as meter, driving(meter.port) as drive:
            await drive(1)
            meter.take()
            await drive(COUNTED)
            found[name] = meter.take() / COUNTED
    return found


async def calls() -> float:
    """Messages that the client sends for one operation; it gets as many, so that nothing is pushed beside them."""
    async with started("amrpc") as port, amrpc.driving(port) as drive:
        await drive(1)
        before = amrpc.calls_of(drive)
        await drive(OPERATIONS)
        sent, received = (now - then for now, then in zip(amrpc.calls_of(drive), before, strict=True))
        return max(sent, received) / OPERATIONS


async def times() -> dict[str, float]:
    """Microseconds of one operation, for each peer."""
    async with AsyncExitStack() as stack:
        drives = {}
        for name, (server, driving) in PEERS.items():
            port = await stack.enter_async_context(started(*server))
            drives[name] = await stack.enter_async_context(driving(port))
        found = dict.fromkeys(drives, float("inf"))
        for _ in range(ROUNDS):
            for name, drive in drives.items():
                await drive(1)
                found[name] = min(found[name], await timed(drive(OPERATIONS)) / OPERATIONS * 1e6)
        return found


async def alone() -> float:
    """Microseconds of one operation of the worker itself, by who holds it."""
    drive = amrpc.loop_of(amrpc.worker())
    return min([await timed(drive(OPERATIONS)) for _ in range(ROUNDS)]) / OPERATIONS * 1e6


async def timed(work: Awaitable[None]) -> float:
    """Seconds it takes, without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        begun = perf_counter()
        await work
        return perf_counter() - begun
    finally:
        gc.enable()


async def handshake() -> float:
    """Bytes until a mirror of 20 states is ready, both ways, with the schema known to both."""
    mux = rpc.Mux(am.Machine(Twenty, id="source"), "tcp://127.0.0.1:0")
    mux.start()
    await mux.when_ready()
    async with metered(int(mux.address.rpartition(":")[2])) as meter:
        client = rpc.Client(rpc.dial(f"tcp://127.0.0.1:{meter.port}"), Twenty, id="bench")
        client.start()
        await client.when_ready()
        (server,) = mux.servers.values()
        await server.machine.when(ServerStates.Ready)
        total = meter.take()
        await client.stop()
    await mux.stop()
    return total


async def of_a_thousand(compression: bool) -> tuple[float, float]:
    """Bytes, both ways, until a mirror without a schema knows 1,000 states, and of one full sync of them."""
    states: dict[str, dict[str, Any]] = {"Exception": {"multi": True}}
    for number in range(1000):
        states[f"Item{number:03}"] = {"require": [f"Item{number // 10:03}"]} if number % 2 else {"multi": True}
    source: am.Machine[Any] = am.Machine(am.Schema(states), id="source")
    for number in range(0, 1000, 2):
        for _ in range(number % 150):
            source.add(f"Item{number:03}")
    mux = rpc.Mux(source, "tcp://127.0.0.1:0", push_interval=0)
    mux.start()
    await mux.when_ready()
    async with metered(int(mux.address.rpartition(":")[2])) as meter:
        client = rpc.Client(f"tcp://127.0.0.1:{meter.port}", id="bench", compression=compression)
        client.start()
        await client.when_ready()
        (server,) = mux.servers.values()
        await server.machine.when(ServerStates.Ready)
        handshake = meter.take()
        await client.sync()
        full = meter.take()
        await client.stop()
    await mux.stop()
    return handshake, full


@asynccontextmanager
async def mirrored(source: am.Machine[Any]) -> AsyncIterator[tuple[rpc.Server, rpc.Client]]:
    """A ready mirror over memory."""
    near, far = pair()
    server = rpc.Server(source, "bench", push_interval=0.001)
    serving = asyncio.create_task(server.serve(near))
    client = rpc.Client.over(far, Twenty, id="bench")
    client.start()
    await client.when_ready()
    await server.machine.when(ServerStates.Ready)
    yield server, client
    await client.stop()
    await serving


async def memory() -> float:
    """Kilobytes that Python keeps for one more ready mirror: both machines, both sessions, and the pipe."""
    source = am.Machine(Twenty, id="source")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(mirrored(source))
        before = traced()
        for _ in range(10):
            await stack.enter_async_context(mirrored(source))
        return (traced() - before) / 10 / 1024


def traced() -> int:
    """Bytes that Python has allocated and that are still in use."""
    if not tracemalloc.is_tracing():
        tracemalloc.start()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def many() -> tuple[float, float]:
    """Kilobytes of each of 1,000 mirrors of one source, and milliseconds until all show one change."""
    source, listener = am.Machine(Twenty, id="source"), MemoryListener()

    async def listen() -> MemoryListener:
        return listener

    mux = rpc.Mux(source, listen, push_interval=0.001, limit=MIRRORS)
    mux.start()
    clients = [rpc.Client(listener.dial, Twenty, id=f"c{n}", reconnect=False) for n in range(MIRRORS)]
    clients[0].start()
    await clients[0].when_ready()
    before = traced()
    for at in range(0, MIRRORS, 100):
        for client in clients[at : at + 100]:
            client.start()
        await am.wait_all(*(client.when_ready() for client in clients[at : at + 100]))
    await asyncio.sleep(0.1)
    each = (traced() - before) / (MIRRORS - 1) / 1024
    tracemalloc.stop()
    best = float("inf")
    for _ in range(ROUNDS):
        seen = am.wait_all(*(client.netmach.when_ticks(Twenty.S10, 1) for client in clients))
        begun = perf_counter()
        source.add(Twenty.S10)
        await seen
        best = min(best, perf_counter() - begun)
        await asyncio.sleep(0.01)
    await asyncio.gather(*(client.stop() for client in clients))
    await mux.stop()
    return each, best * 1e3


if __name__ == "__main__":
    sys.exit(main("rpc", rows))
