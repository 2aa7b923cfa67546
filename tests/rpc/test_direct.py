"""Connections on transports that hand messages over where they arrive, and take them without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import connection as connections
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.states import ServerStates
from asyncmachine.rpc.transport import HIGH_WATER, Direct, Transport, TransportClosed
from asyncmachine.rpc.transport.browser import BrowserWebSocket
from asyncmachine.rpc.transport.direct_inbox import HANDED, DirectInbox
from asyncmachine.rpc.transport.port import PortTransport
from asyncmachine.rpc.transport.socket_transport import SocketTransport
from asyncmachine.rpc.transport.tunnel import DirectlyConnected
from asyncmachine.rpc.transport.websocket_direct import DirectWebSocket
from tests.rpc.behaviour import Basic, paired
from tests.rpc.nets import tcp, websocket
from tests.rpc.ports import wires

Pipe = Callable[[], AbstractAsyncContextManager[tuple[Direct, Direct]]]


@asynccontextmanager
async def sockets() -> AsyncIterator[tuple[Direct, Direct]]:
    async with tcp() as net:
        yield await pair_of(net)


@asynccontextmanager
async def ports() -> AsyncIterator[tuple[Direct, Direct]]:
    a, b = wires()
    yield PortTransport(a), PortTransport(b)


@asynccontextmanager
async def websockets() -> AsyncIterator[tuple[Direct, Direct]]:
    async with websocket() as net:
        near, far = await net.connect()
        assert isinstance(near, DirectWebSocket)
        assert isinstance(far, DirectWebSocket)
        yield near, far


PIPES = pytest.mark.parametrize("pipe", [sockets, ports, websockets])


async def pair_of(net: Any) -> tuple[SocketTransport, SocketTransport]:
    near, far = await net.connect()
    assert isinstance(near, SocketTransport)
    assert isinstance(far, SocketTransport)
    return near, far


async def closed(*ends: Transport) -> None:
    await asyncio.gather(*(end.close() for end in ends))


def test_sockets_ports_and_websockets_are_direct() -> None:
    kinds: list[type[Direct]] = [SocketTransport, PortTransport, DirectWebSocket, BrowserWebSocket, DirectlyConnected]
    assert all(hasattr(kind, "deliver") for kind in kinds)


@PIPES
async def test_what_waits_is_handed_over_first_and_nothing_is_lost_in_between(pipe: Pipe) -> None:
    async with pipe() as (near, far):
        got: list[bytes] = []
        arrived = asyncio.Event()

        def take(messages: list[bytes]) -> int:
            got.extend(messages)
            arrived.set()
            return len(messages)

        assert far.send_now([b"1", b"2"])
        assert await near.recv() == b"1"
        near.deliver(take)
        assert got == [b"2"]
        arrived.clear()
        assert far.send_now([b"3"])
        await arrived.wait()
        near.deliver(None)
        await far.send(b"4")
        assert await near.recv() == b"4"
        assert got == [b"2", b"3"]
        near.deliver(take)
        await far.close(1001, "done")
        with pytest.raises(TransportClosed, match="done"):
            await near.recv()
        await closed(near, far)


@PIPES
async def test_what_is_not_taken_comes_again_in_the_next_turn_and_before_what_came_later(pipe: Pipe) -> None:
    async with pipe() as (near, far):
        turns: list[list[bytes]] = []
        everything = asyncio.Event()

        def take(messages: list[bytes]) -> int:
            turns.append(messages)
            if messages[-1] == b"9" and len(messages) <= 2:
                everything.set()
            return min(2, len(messages))

        near.deliver(take)
        reading = asyncio.create_task(near.recv())
        assert far.send_now([b"%d" % n for n in range(7)])
        while not turns:
            await asyncio.sleep(0)
        assert far.send_now([b"7", b"8", b"9"])
        await everything.wait()
        taken = [message for messages in turns for message in messages[:2]]
        assert taken == [b"%d" % n for n in range(10)]
        assert not reading.done(), "it would have taken one away from the middle"
        await far.close(1001, "done")
        with pytest.raises(TransportClosed, match="done"):
            await reading
        await closed(near)


async def test_of_many_that_wait_few_are_handed_over_at_a_time() -> None:
    inbox, sizes = DirectInbox(lambda read: None), []
    inbox.put_all(b"%d" % n for n in range(20_000))
    got: list[bytes] = []

    def take(messages: list[bytes]) -> int:
        sizes.append(len(messages))
        got.extend(messages[:256])
        return min(256, len(messages))

    inbox.deliver(take)
    while len(got) < 20_000:
        await asyncio.sleep(0)
    assert got == [b"%d" % n for n in range(20_000)]
    assert max(sizes) == HANDED
    assert inbox.size == 0


@PIPES
async def test_what_came_before_the_end_is_handed_over_after_it_too(pipe: Pipe) -> None:
    async with pipe() as (near, far):
        got: list[bytes] = []

        def take(messages: list[bytes]) -> int:
            got.append(messages[0])
            return 1

        near.deliver(take)
        assert far.send_now([b"%d" % n for n in range(5)])
        closing = asyncio.create_task(far.close(1001, "done"))
        while len(got) < 5:
            await asyncio.sleep(0)
        with pytest.raises(TransportClosed, match="done"):
            await near.recv()
        assert got == [b"%d" % n for n in range(5)]
        await closing


@PIPES
async def test_what_is_given_back_to_recv_is_read_there_in_order(pipe: Pipe) -> None:
    async with pipe() as (near, far):

        def take(messages: list[bytes]) -> int:
            near.deliver(None)
            return 1

        near.deliver(take)
        reading = asyncio.create_task(near.recv())
        assert far.send_now([b"1", b"2", b"3"])
        assert [await reading, await near.recv()] == [b"2", b"3"]
        await closed(near, far)


@pytest.mark.parametrize("pipe", [sockets, websockets])
async def test_nothing_is_sent_at_once_while_the_pipe_is_full_or_closed(pipe: Pipe) -> None:
    async with pipe() as (near, far):
        message, sent = bytes(100_000), 0
        while far.send_now([message]):
            sent += 1
        assert sent * len(message) > HIGH_WATER
        for _ in range(sent):
            assert await near.recv() == message
        await far.send(b"last")
        assert await near.recv() == b"last"
        await far.close()
        assert not far.send_now([b"late"])
        await closed(near, far)


async def test_answers_to_calls_that_came_together_leave_together(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    send_now = SocketTransport.send_now

    def noting(self: SocketTransport, messages: Any) -> bool:
        batches.append(len(messages))
        return send_now(self, messages)

    async with tcp() as net, paired(net, Basic) as pair:
        monkeypatch.setattr(SocketTransport, "send_now", noting)
        results = [pair.mirror.add("Ask", n=n) for n in range(20)]
        for result in results:
            assert (await result).executed
        assert sum(batches) == 40
        assert max(batches) > 1


@asynccontextmanager
async def greeted(
    source: am.Machine[Any],
) -> AsyncIterator[tuple[rpc.Server, SocketTransport, SocketTransport, m.Welcome]]:
    """A server, its end of a connection, that of a client without a session, and the welcome this one has got."""
    server = rpc.Server(source, "test", push_interval=0)
    async with tcp() as net:
        near, far = await pair_of(net)
        serving = asyncio.create_task(server.serve(near))
        await far.send(encode(m.Hello("amrpc", (1, 1), "rc-x")))
        welcome = decode(await far.recv())
        assert isinstance(welcome, m.Welcome)
        yield server, near, far, welcome
        await server.stop()
        await closed(far)
        await serving
        server.machine.dispose()


async def test_a_peer_that_asks_and_does_not_read_is_not_read_from_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BACKLOG", 4)
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    async with greeted(source) as (server, near, far, welcome):
        await far.send(encode(m.Ready(welcome.session)))
        place = (welcome.names or ()).index("Ask")
        # Every answer is small, so the pipe is made small as well.
        near._transport.set_write_buffer_limits(high=0)
        near._room.clear()
        calls = 3000  # many times what is read at once
        for number in range(1, calls + 1):
            await far.send(encode(m.Add(number, (place,))))
        connection = next(iter(server._connections))
        for _ in range(50):
            await asyncio.sleep(0)
        assert 0 < source.tick("Ask") < calls
        assert 4 < len(connection._backlog) < calls
        near.resume_writing()
        replies = [decode(await far.recv()) for _ in range(calls)]
        assert [reply.id for reply in replies if isinstance(reply, m.Result)] == list(range(1, calls + 1))
        assert source.tick("Ask") == 2 * calls - 1


@asynccontextmanager
async def flooded(count: int, states: int = 100) -> AsyncIterator[tuple[rpc.Server, SocketTransport, SocketTransport]]:
    """A server, and a client that has asked so often for the whole clock, and reads nothing. The server's end first."""
    source: am.Machine[Any] = am.Machine({f"S{n}": {} for n in range(states)}, id="source")
    async with greeted(source) as (server, near, far, welcome):
        assert far.send_now([encode(m.Ready(welcome.session)), *[encode(m.SyncRequest(n + 1)) for n in range(count)]])
        yield server, near, far


async def test_a_flood_is_taken_in_turns_so_that_others_are_heard_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "TURN", 8)
    async with flooded(400) as (server, _, far):
        steps, before = [], 0
        while before < 400:
            await asyncio.sleep(0)
            synced = (server.machine.tick(ServerStates.MetricSync) + 1) // 2
            steps.append(synced - before)
            before = synced
        assert max(steps) <= 8
        answers = [decode(await far.recv()) for _ in range(400)]
        assert [full.reply_to for full in answers if isinstance(full, m.Full)] == list(range(1, 401))


async def test_answers_that_are_much_larger_than_the_questions_end_a_turn_and_then_the_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "TURN_SIZE", 4_000)
    monkeypatch.setattr(connections, "BACKLOG_SIZE", 20_000)
    async with flooded(2000, states=1000) as (server, near, far):
        near._transport.set_write_buffer_limits(high=0)
        near._room.clear()  # as if the pipe were full
        (connection,) = server._connections
        for _ in range(300):
            await asyncio.sleep(0)
        assert 20_000 < sum(map(len, connection._backlog)) < 30_000, "a thousand ticks take a thousand bytes"
        near.resume_writing()
        for number in range(1, 2001):
            full = decode(await far.recv())
            assert isinstance(full, m.Full) and full.reply_to == number


async def test_a_fault_ends_it_and_what_comes_behind_is_not_looked_at() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    server = rpc.Server(source, "test")
    async with tcp() as net:
        near, far = await pair_of(net)
        serving = asyncio.create_task(server.serve(near))
        hello = encode(m.Hello("amrpc", (1, 1), "rc-x"))
        assert far.send_now([b"\x91\x7f", hello])
        with pytest.raises(TransportClosed, match="BAD_FRAME"):
            await far.recv()
        assert (await serving).code == 4400
        assert server.client_ids == ()
        await closed(far)
