"""What is special about sockets: their framing, their ends, their listeners, and Unix paths."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asyncmachine.rpc.transport import (
    MAX_FRAME,
    Transport,
    TransportClosed,
    backlog,
    socket_listener,
    socket_transport,
    tcp,
    unix,
)
from asyncmachine.rpc.transport.backlog import Backlog
from asyncmachine.rpc.transport.socket_listener import SocketListener
from asyncmachine.rpc.transport.socket_transport import SocketTransport
from tests.rpc.nets import tcp as tcp_net


@asynccontextmanager
async def raw() -> AsyncIterator[tuple[Transport, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A transport, and the plain socket at its other end."""
    listener = await tcp.listen()
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(listener))
    near = await listener.accept()
    yield near, reader, writer
    writer.close()
    await near.close()
    await listener.close()


def port_of(listener: SocketListener) -> int:
    return int(listener.address.rpartition(":")[2])


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


async def ended(transport: Transport) -> TransportClosed:
    with pytest.raises(TransportClosed) as caught:
        await transport.recv()
    return caught.value


async def test_a_message_is_its_length_and_its_bytes() -> None:
    async with raw() as (near, reader, writer):
        await near.send(b"abc")
        assert await reader.readexactly(7) == b"\x00\x00\x00\x03abc"
        writer.write(frame(b"de"))
        assert await near.recv() == b"de"


async def test_small_messages_do_not_wait_for_an_acknowledgement() -> None:
    listener = await tcp.listen()
    dialled = await tcp.connect("127.0.0.1", port_of(listener))
    accepted = await listener.accept()
    for end in (dialled, accepted):
        assert isinstance(end, SocketTransport)
        plain = end._transport.get_extra_info("socket")
        assert plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    await dialled.close()
    await accepted.close()
    await listener.close()


async def test_messages_may_come_in_any_pieces() -> None:
    async with raw() as (near, _, writer):
        bodies = [b"a", b"b" * 300, b"c" * 70_000]
        stream = b"".join(map(frame, bodies))
        for at in range(310):
            writer.write(stream[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(stream[310:] + stream)
        assert [await near.recv() for _ in range(6)] == bodies * 2


@pytest.mark.parametrize("size", [0, MAX_FRAME + 1, 0xFFFFFFFF])
async def test_a_length_that_cannot_be_ends_it_and_tells_why(size: int) -> None:
    async with raw() as (near, reader, writer):
        writer.write(frame(b"before") + size.to_bytes(4, "big") + b"rest")
        assert await near.recv() == b"before"
        end = await ended(near)
        assert (end.code, end.reason) == (1009, f"a message of {size} bytes")
        assert await reader.read() == frame(b"\xc1\x01\x03\xf1" + end.reason.encode())


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", ", as it begins with 'HTTP/1.1 400 Bad Request'"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", ", as it begins with 'SSH-2.0-OpenSSH_9.2p1'"),
        (b"HTTP\x00\x01", ""),
        (b"\xff\xff\xff\xffabc", ""),
    ],
)
async def test_what_speaks_another_protocol_is_told_by_its_first_line(data: bytes, told: str) -> None:
    async with raw() as (near, _, writer):
        writer.write(data)
        end = await ended(near)
        assert (end.code, end.reason) == (1009, f"a message of {int.from_bytes(data[:4], 'big')} bytes{told}")


async def test_an_unknown_word_of_the_transport_ends_it() -> None:
    async with raw() as (near, _, writer):
        writer.write(frame(b"\xc1\x07"))
        assert (await ended(near)).code == 1003


async def test_an_end_without_a_goodbye_is_a_loss() -> None:
    async with raw() as (near, _, writer):
        writer.write(frame(b"last") + b"\x00\x00")
        writer.close()
        assert await near.recv() == b"last"
        assert (await ended(near)).code == 1006


async def test_the_reason_arrives_though_the_closer_has_not_read_everything() -> None:
    async with tcp_net() as net:
        near, far = await net.connect()
        for _ in range(20):
            await far.send(bytes(MAX_FRAME // 20))
        closing = asyncio.create_task(near.close(4409, "BUSY: later"))
        end = await ended(far)
        assert (end.code, end.reason) == (4409, "BUSY: later")
        await closing


async def test_somebody_who_does_not_hang_up_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_transport, "CLOSE_TIMEOUT", 0.01)
    async with raw() as (near, reader, _):
        await near.close(1000, "done")
        assert await reader.read() == frame(b"\xc1\x01\x03\xe8done")
    async with raw() as (near, reader, writer):
        writer.write(bytes(4))
        await ended(near)
        await reader.read()
        assert isinstance(near, SocketTransport)
        await near._gone.wait()


async def test_closing_what_the_other_side_has_dropped_in_this_very_moment_is_no_error() -> None:
    listener = await tcp.listen()
    with socket.create_connection(("127.0.0.1", port_of(listener))) as far:
        near = await listener.accept()
        far.send(frame(b"never read"))
    await near.close()  # the loop has not heard of the other end yet
    assert near.closed
    await listener.close()


async def test_nobody_there() -> None:
    for address, connecting in (
        ("tcp://127.0.0.1:1", tcp.connect("127.0.0.1", 1)),
        ("unix:///nowhere.sock", unix.connect("/nowhere.sock")),
    ):
        with pytest.raises(TransportClosed, match=address) as caught:
            await connecting
        assert caught.value.code == 1006
        assert isinstance(caught.value.__cause__, OSError)


async def test_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    listener = await tcp.listen("::1")
    far = await tcp.connect("::1", port_of(listener))
    near = await listener.accept()
    assert listener.address == f"tcp://[::1]:{port_of(listener)}"
    assert far.peer.address == f"[::1]:{port_of(listener)}"
    await asyncio.gather(near.close(), far.close())
    await listener.close()


# Listeners


async def test_a_closed_listener_says_so_and_leaves_its_connections_alone() -> None:
    listener = await tcp.listen()
    far = await tcp.connect("127.0.0.1", port_of(listener))
    near = await listener.accept()
    accepting = asyncio.create_task(listener.accept())
    await asyncio.sleep(0)
    await listener.close()
    await listener.close()
    with pytest.raises(TransportClosed):
        await accepting
    with pytest.raises(TransportClosed):
        await tcp.connect("127.0.0.1", port_of(listener))
    await near.send(b"still here")
    assert await far.recv() == b"still here"
    await asyncio.gather(near.close(), far.close())


async def test_whoever_was_not_accepted_is_told_of_the_close() -> None:
    listener = await tcp.listen()
    far = await tcp.connect("127.0.0.1", port_of(listener))
    while not listener._backlog._waiting:
        await asyncio.sleep(0)
    await listener.close()
    assert (await ended(far)).code == 1001
    await far.close()


async def test_what_there_is_no_room_for_waits_in_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MAX_WAITING", 2)
    monkeypatch.setattr(socket_listener, "MAX_WAITING", 2)
    listener = await tcp.listen()
    ends = [await tcp.connect("127.0.0.1", port_of(listener)) for _ in range(9)]
    for number, end in enumerate(ends):
        await end.send(bytes([number]))
    most = 0
    accepted = []
    for _ in ends:
        for _ in range(20):
            await asyncio.sleep(0)
        most = max(most, len(listener._backlog._waiting))
        accepted.append(await listener.accept())
    assert most == 2
    assert sorted([await each.recv() for each in accepted]) == [bytes([number]) for number in range(9)]
    await asyncio.gather(*(end.close() for end in [*ends, *accepted]))
    await listener.close()


async def test_if_more_come_than_may_wait_it_is_the_flood_that_loses_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(_: Backlog) -> None:
        """As if all had found room at the same time."""

    monkeypatch.setattr(backlog, "MAX_WAITING", 2)
    monkeypatch.setattr(Backlog, "room", at_once)
    listener = await tcp.listen()
    flood = [await tcp.connect("127.0.0.1", port_of(listener), local_addr=("127.0.0.2", 0)) for _ in range(2)]
    page = await tcp.connect("127.0.0.1", port_of(listener))
    assert (await ended(flood[1])).reason == "too many connections wait"
    accepted = [await listener.accept() for _ in range(2)]
    assert [each.peer.address.partition(":")[0] for each in accepted] == ["127.0.0.2", "127.0.0.1"]
    await accepted[1].send(b"still here")
    assert await page.recv() == b"still here"
    await asyncio.gather(*(each.close() for each in (page, *flood, *accepted)))
    await listener.close()


async def test_a_listener_that_is_full_can_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MAX_WAITING", 1)
    listener = await tcp.listen()
    ends = [await tcp.connect("127.0.0.1", port_of(listener)) for _ in range(4)]
    while not listener._backlog._waiting:
        await asyncio.sleep(0)
    await listener.close()
    assert (await ended(ends[0])).code == 1001
    for end in ends[1:]:
        assert (await ended(end)).code == 1006
    await asyncio.gather(*(end.close() for end in ends))


async def test_a_cancelled_accept_loses_no_connection() -> None:
    listener = await tcp.listen()
    accepting = asyncio.create_task(listener.accept())
    await asyncio.sleep(0)
    accepting.cancel()
    await asyncio.wait([accepting])
    far = await tcp.connect("127.0.0.1", port_of(listener))
    near = await listener.accept()
    await asyncio.gather(near.close(), far.close())
    await listener.close()


async def test_too_many_open_files_are_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_listener, "EXHAUSTED_PAUSE", 0.0)
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, [errno.EMFILE, errno.ECONNABORTED]

    async def scarce(listening: socket.socket) -> object:
        if failures:
            number = failures.pop()
            raise OSError(number, os.strerror(number))
        return await accept(listening)

    monkeypatch.setattr(loop, "sock_accept", scarce)
    listener = await tcp.listen()
    far = await tcp.connect("127.0.0.1", port_of(listener))
    near = await listener.accept()
    assert not failures
    await asyncio.gather(near.close(), far.close())
    await listener.close()


async def test_a_listener_that_fails_ends_and_does_not_spin() -> None:
    listener = await tcp.listen()
    # What a program does that closes descriptors it does not own.
    listener._socket.close()
    with pytest.raises(TransportClosed, match="cannot listen any more"):
        await asyncio.wait_for(listener.accept(), 5)
    assert listener._accepting.done()
    await listener.close()


async def test_a_place_that_is_taken() -> None:
    listener = await tcp.listen()
    with pytest.raises(OSError, match="in use"):
        await tcp.listen(port=port_of(listener))
    await listener.close()


# Unix


async def test_only_this_user_may_connect_and_the_file_goes_with_the_listener(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    listener = await unix.listen(str(path))
    assert listener.address == f"unix://{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    far = await unix.connect(str(path))
    near = await listener.accept()
    assert (near.peer.kind, far.peer.kind, near.peer.address, far.peer.address) == (
        "unix",
        "unix",
        str(path),
        str(path),
    )
    await asyncio.gather(near.close(), far.close())
    await listener.close()
    assert not path.exists()


async def test_a_file_of_a_dead_process_is_replaced_and_one_of_a_living_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = await unix.listen(str(path))
    with pytest.raises(OSError, match="somebody else listens"):
        await unix.listen(str(path))
    await listener.close()
    path.write_text("a file that is no socket")
    with pytest.raises(OSError, match="in use"):
        await unix.listen(str(path))
    assert path.read_text()
