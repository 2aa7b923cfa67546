"""Connections on transports that hand messages over where they arrive, and take them without waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import connection as connections
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.transport import HIGH_WATER, Direct, Transport, TransportClosed
from asyncmachine.rpc.transport.socket_transport import SocketTransport
from tests.rpc.behaviour import Basic, paired
from tests.rpc.nets import tcp


async def pair_of(net: Any) -> tuple[SocketTransport, SocketTransport]:
    near, far = await net.connect()
    assert isinstance(near, SocketTransport)
    assert isinstance(far, SocketTransport)
    return near, far


async def closed(*ends: Transport) -> None:
    await asyncio.gather(*(end.close() for end in ends))


def test_a_socket_is_direct() -> None:
    direct: type[Direct] = SocketTransport
    assert hasattr(direct, "deliver")


async def test_what_waits_is_handed_over_first_and_nothing_is_lost_in_between() -> None:
    async with tcp() as net:
        near, far = await pair_of(net)
        got: list[bytes] = []
        arrived = asyncio.Event()

        def take(messages: list[bytes]) -> None:
            got.extend(messages)
            arrived.set()

        assert far.send_now([b"1", b"2"])
        await near._inbox.get()
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


async def test_nothing_is_sent_at_once_while_the_pipe_is_full_or_closed() -> None:
    async with tcp() as net:
        near, far = await pair_of(net)
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


async def test_a_peer_that_asks_and_does_not_read_is_not_read_from_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BACKLOG", 4)
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    server = rpc.Server(source, "test", push_interval=0)
    async with tcp() as net:
        near, far = await pair_of(net)
        serving = asyncio.create_task(server.serve(near))
        await far.send(encode(m.Hello("amrpc", (1, 1), "rc-x")))
        welcome = decode(await far.recv())
        assert isinstance(welcome, m.Welcome)
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
        await server.stop()
        await serving
        await closed(far)
        server.machine.dispose()


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
