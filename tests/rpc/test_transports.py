"""What every transport has in common, asked of all that do not need a browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from asyncmachine.rpc.transport import HIGH_WATER, MAX_FRAME, Transport, TransportClosed
from asyncmachine.rpc.transport.port import PortTransport
from tests.rpc.nets import NETS
from tests.rpc.ports import wires

Pipe = Callable[[], AbstractAsyncContextManager[tuple[Transport, Transport]]]


def pipe_of(net: str) -> Pipe:
    @asynccontextmanager
    async def pipe() -> AsyncIterator[tuple[Transport, Transport]]:
        async with NETS[net]() as connections:
            near, far = await connections.connect()
            yield near, far
            await asyncio.gather(near.close(), far.close())

    return pipe


@asynccontextmanager
async def port_pipe() -> AsyncIterator[tuple[Transport, Transport]]:
    a, b = wires()
    near, far = PortTransport(a, "far"), PortTransport(b, "near")
    yield near, far
    await near.close()
    await far.close()


ALL = [pytest.param(pipe_of(net), id=net) for net in NETS] + [pytest.param(port_pipe, id="port")]
PIPES = pytest.mark.parametrize("pipe", ALL)


@PIPES
async def test_messages_arrive_whole_and_in_order(pipe: Pipe) -> None:
    async with pipe() as (a, b):
        messages = [b"a", bytes(range(192)) * 100, b"z"]
        for message in messages:
            await a.send(message)
            await b.send(message)
        assert [await b.recv() for _ in messages] == messages
        assert [await a.recv() for _ in messages] == messages


@PIPES
async def test_the_largest_message_passes_and_a_larger_one_closes(pipe: Pipe) -> None:
    async with pipe() as (a, b):
        await a.send(bytes(MAX_FRAME))
        assert len(await b.recv()) == MAX_FRAME
        with pytest.raises(TransportClosed) as mine:  # noqa: PT012 (which of the two finds out depends on the kind)
            await a.send(bytes(MAX_FRAME + 1))
            await a.recv()
        assert mine.value.code == 1009
        with pytest.raises(TransportClosed) as theirs:
            await b.recv()
        assert theirs.value.code == 1009


@PIPES
async def test_a_close_carries_its_code_and_reason_behind_what_was_sent(pipe: Pipe) -> None:
    async with pipe() as (a, b):
        await a.send(b"last words")
        await a.close(4409, "DUPLICATE: another tab")
        await a.close(1000, "again")
        assert a.closed
        assert await b.recv() == b"last words"
        for end in (a, b):
            with pytest.raises(TransportClosed) as caught:
                await end.recv()
            assert (caught.value.code, caught.value.reason) == (4409, "DUPLICATE: another tab")
        with pytest.raises(TransportClosed):
            await a.send(b"more")


@PIPES
async def test_a_reason_that_is_no_unicode_closes_too(pipe: Pipe) -> None:
    async with pipe() as (a, b):
        await a.close(4409, "gone: \ud800")
        assert a.closed
        with pytest.raises(TransportClosed) as caught:
            await b.recv()
        assert caught.value.code == 4409
        assert caught.value.reason.startswith("gone: ")


@PIPES
async def test_a_reader_that_waits_is_told_of_the_end(pipe: Pipe) -> None:
    async with pipe() as (a, b):
        reading = asyncio.create_task(a.recv())
        await asyncio.sleep(0)
        await b.close(1001, "gone")
        with pytest.raises(TransportClosed, match="1001"):
            await reading


@PIPES
async def test_a_cancelled_reader_loses_nothing(pipe: Pipe) -> None:
    async with pipe() as (a, b):
        reading = asyncio.create_task(a.recv())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        await b.send(b"kept")
        assert await a.recv() == b"kept"


@PIPES
async def test_a_sender_waits_for_a_slow_reader(pipe: Pipe) -> None:
    async with pipe() as (a, b):
        # More than transport and kernel hold together.
        count = 40

        async def flood() -> None:
            for _ in range(count):
                await a.send(bytes(MAX_FRAME))

        flooding = asyncio.create_task(flood())
        _, waiting = await asyncio.wait([flooding], timeout=0.1)
        assert waiting == {flooding}
        for _ in range(count):
            await b.recv()
        await flooding


@pytest.mark.parametrize("pipe", [pipe_of("memory"), port_pipe], ids=["memory", "port"])
async def test_no_more_than_the_high_water_is_on_its_way(pipe: Pipe) -> None:
    async with pipe() as (a, b):
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await a.send(bytes(100_000))
                sent += 1

        flooding = asyncio.create_task(flood())
        for _ in range(100):
            await asyncio.sleep(0)
        assert sent * 100_000 <= HIGH_WATER + 100_000
        before = sent
        for _ in range(5):
            await b.recv()
        for _ in range(100):
            await asyncio.sleep(0)
        assert sent > before
        flooding.cancel()
        await asyncio.wait([flooding])


@PIPES
async def test_a_sender_that_waits_is_told_of_the_end(pipe: Pipe) -> None:
    async with pipe() as (a, b):

        async def flood() -> None:
            while True:
                await a.send(bytes(MAX_FRAME))

        flooding = asyncio.create_task(flood())
        for _ in range(20):
            await asyncio.sleep(0)
        await b.close(1001, "gone")
        with pytest.raises(TransportClosed):
            await flooding


@PIPES
async def test_the_peer_is_named(pipe: Pipe) -> None:
    async with pipe() as (a, _):
        assert a.peer.kind in ("memory", "tcp", "unix", "tls", "websocket", "port")
        assert a.peer.address
        assert a.peer.grants is None
