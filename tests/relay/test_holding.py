"""What waits for a side that does not read takes no more memory when it is many tiny messages."""

from __future__ import annotations

import asyncio
import gc
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import uvloop
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection, serve

from asyncmachine.rpc.transport import websocket
from asyncmachine_relay import Limits, Match, Tunnel
from asyncmachine_relay.holding import WRITE
from asyncmachine_relay.leg_connection import made_with
from asyncmachine_relay.states import TunnelStates
from asyncmachine_relay.tcp import FramedEnd, RawEnd, TcpEnd
from tests.own_loop import checked
from tests.relay.support import BINARY, CLOSE, PING, RawSocket, Running, running
from tests.relay.tcp_support import framed
from tests.relay.test_frames import MIB, unsent

on_each_loop = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
NewLoop = Callable[[], asyncio.AbstractEventLoop]


def run(new_loop: NewLoop, story: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(checked(story, limit=55))


@contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """Bytes of memory that were taken since, and not given back."""
    gc.collect()
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@asynccontextmanager
async def connected(end: TcpEnd) -> AsyncIterator[socket.socket]:
    """The other side of a connection, both with small buffers in the kernel."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: end, *server.getsockname())
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with server.accept()[0] as peer:
            peer.setblocking(False)
            yield peer
        end.abort()


@on_each_loop
def test_tiny_messages_of_a_target_count_with_what_they_take(new_loop: NewLoop) -> None:
    stopped = asyncio.Event()

    class Watched(FramedEnd):
        def _read(self, *, on: bool) -> None:
            super()._read(on=on)
            stopped.set()

    async def story() -> None:
        end = Watched(Limits())
        async with connected(end) as peer:

            async def pour() -> None:
                while True:
                    await asyncio.get_running_loop().sock_sendall(peer, framed(b"xy") * 1000)

            with counted() as taken:
                pouring = asyncio.create_task(pour())
                await stopped.wait()
                assert taken() < 6 * MIB
            pouring.cancel()
            await asyncio.wait({pouring})

    run(new_loop, story())


@on_each_loop
@pytest.mark.parametrize("kind", [FramedEnd, RawEnd])
def test_tiny_messages_to_a_target_count_with_what_they_take(kind: type[TcpEnd], new_loop: NewLoop) -> None:
    sent, paused, enough = 0, asyncio.Event(), asyncio.Event()

    async def story() -> None:
        def pause_writing() -> None:
            made()
            paused.set()

        end = kind(Limits())
        made = end.pause_writing
        end.pause_writing = pause_writing  # type: ignore[method-assign]

        async def pour() -> None:
            nonlocal sent
            while not enough.is_set():
                sent += 1
                await end.send(sent.to_bytes(3, "big"))
            end.finish()

        async with connected(end) as peer:
            with counted() as taken:
                pouring = asyncio.create_task(pour())
                await paused.wait()
                assert taken() < 2 * MIB
            enough.set()
            got = bytearray()
            while part := await asyncio.get_running_loop().sock_recv(peer, 65536):
                got += part
            await pouring
        each = [number.to_bytes(3, "big") for number in range(1, sent + 1)]
        goodbye = framed(b"\xc1\x01\x03\xe8")
        assert bytes(got) == (b"".join(each) if kind is RawEnd else framed(*each) + goodbye)

    run(new_loop, story())


def less_to_send(running: Running) -> None:
    """Lets the kernel keep little of what the relay writes."""
    assert running.server._server is not None
    for connection in running.server._server.server_state.connections:
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


@on_each_loop
def test_tiny_messages_to_a_page_count_with_what_they_take(new_loop: NewLoop) -> None:
    sent, opened, enough = 0, asyncio.Event(), asyncio.Event()

    async def pour(tunnel: Tunnel) -> None:
        nonlocal sent
        await opened.wait()
        while not enough.is_set():
            sent += 1
            await tunnel.transport.send(sent.to_bytes(3, "big"))

    async def story() -> None:
        async with (
            running(listen=[Match(".*", "orchestrator", pour)], limits=Limits(close=30)) as relay,
            RawSocket.opened(relay, op="listen", receive_buffer=4096) as page,
        ):
            less_to_send(relay)
            [tunnel] = relay.relay.tunnels
            with counted() as taken:
                opened.set()
                await tunnel.machine.when(TunnelStates.Congested)
                assert taken() < 2 * MIB
            enough.set()
            got = 0
            while (frame := await page.frame())[0] != CLOSE:
                if frame[0] == BINARY:
                    got += 1
                    assert frame[1] == got.to_bytes(3, "big")
            assert got == sent

    run(new_loop, story())


@on_each_loop
def test_tiny_messages_to_another_relay_count_with_what_they_take(new_loop: NewLoop) -> None:
    sent, paused, enough = 0, asyncio.Event(), asyncio.Event()

    def watched(*args: object, **settings: object) -> ClientConnection:
        connection = made_with(Limits())(*args, **settings)
        pause = connection.pause_writing

        def pause_writing() -> None:
            pause()
            paused.set()

        connection.pause_writing = pause_writing  # type: ignore[method-assign]
        return connection

    async def story() -> None:
        got = asyncio.Queue[bytes]()

        async def take(page: ServerConnection) -> None:
            await enough.wait()
            async for message in page:
                assert isinstance(message, bytes)
                got.put_nowait(message)

        async with serve(take, "127.0.0.1", 0, compression=None, max_queue=2) as server:
            host, port = server.sockets[0].getsockname()
            server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            leg = await websocket.connect(f"ws://{host}:{port}", create_connection=watched, ping_interval=None)
            leg._connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

            async def pour() -> None:
                nonlocal sent
                while not enough.is_set():
                    sent += 1
                    await leg.send(sent.to_bytes(3, "big"))

            with counted() as taken:
                pouring = asyncio.create_task(pour())
                await paused.wait()
                assert taken() < 4 * MIB
            enough.set()
            await pouring
            for number in range(1, sent + 1):
                assert await got.get() == number.to_bytes(3, "big")
            await leg.close()

    run(new_loop, story())


async def test_the_pongs_of_a_peer_that_takes_none_are_few() -> None:
    limits = Limits(frames_per_second=1_000_000, leave=0.02)
    async with running(limits=limits) as relay, RawSocket.opened(relay, receive_buffer=4096) as page:
        page.send(BINARY, b"x")
        await page.frame()
        less_to_send(relay)
        for _ in range(400):
            for _ in range(100):
                page.send(PING)
            await page.writer.drain()
            await asyncio.sleep(0)
        assert 0 < unsent(relay) <= 2 * limits.buffer_high // WRITE * len(b"\x8a\x00")
