"""What is special about WebSockets."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as plain_connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

import asyncmachine as am
from asyncmachine.rpc.transport import HIGH_WATER, TransportClosed, backlog, websocket_direct
from asyncmachine.rpc.transport import websocket as websocket_module
from asyncmachine.rpc.transport.websocket import connect, listen
from asyncmachine.rpc.transport.websocket_direct import DirectWebSocket
from tests.rpc.nets import server_context, websocket


async def test_text_is_refused() -> None:
    async with websocket() as net, plain_connect(net.listener.address) as plain:
        near = await net.listener.accept()
        await plain.send("text")
        with pytest.raises(TransportClosed) as caught:
            await near.recv()
        assert caught.value.code == 1003
        await plain.wait_closed()
        assert plain.close_code == 1003


async def test_what_came_before_a_text_is_read_and_what_comes_behind_it_is_not() -> None:
    async with websocket() as net, plain_connect(net.listener.address) as plain:
        near = await net.listener.accept()
        for message in (b"before", "text", b"behind"):
            await plain.send(message)
        assert await near.recv() == b"before"
        with pytest.raises(TransportClosed, match="text"):
            await near.recv()
        await plain.wait_closed()
        assert (plain.close_code, plain.close_reason) == (1003, "text messages are not taken: send binary ones")


async def test_a_text_that_comes_along_with_the_upgrade_is_refused_with_a_reason() -> None:
    upgrade = (
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with websocket() as net:
        port = int(net.listener.address.rstrip("/").rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(upgrade.encode() + b"\x81\x84\0\0\0\0text")
        near = await net.listener.accept()
        with pytest.raises(TransportClosed, match="text"):
            await near.recv()
        await reader.readuntil(b"\r\n\r\n")
        assert (await reader.readexactly(4))[2:] == (1003).to_bytes(2, "big")
        writer.write(b"\x88\x82\0\0\0\0\x03\xeb")
        await near.close()
        writer.close()


@pytest.mark.parametrize("handed", [False, True])
async def test_a_message_in_parts_is_one_and_others_stay_in_order(handed: bool) -> None:
    async with websocket() as net, plain_connect(net.listener.address) as plain:
        near = await net.listener.accept()
        assert isinstance(near, DirectWebSocket)
        got: list[bytes] = []

        def take(messages: list[bytes]) -> int:
            got.extend(messages)
            return len(messages)

        if handed:
            near.deliver(take)
        await plain.send(b"first")
        await plain.send([b"in ", b"", b"parts"])
        await plain.send(b"last")
        while handed and len(got) < 3:
            await asyncio.sleep(0)
        assert [*got, *[await near.recv() for _ in range(0 if handed else 3)]] == [b"first", b"in parts", b"last"]


async def test_a_message_in_parts_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_direct, "MOST_PARTS", 8)
    async with websocket() as net, plain_connect(net.listener.address) as plain:
        near = await net.listener.accept()
        await plain.send([b""] * 6 + [b"enough"])  # and one that ends it
        assert await near.recv() == b"enough"
        with suppress(ConnectionClosed):
            await plain.send([b""] * 20)
        with pytest.raises(TransportClosed, match="too many parts"):
            await near.recv()
        await plain.wait_closed()
        assert plain.close_code == 1009


async def test_messages_that_came_together_are_handed_over_together() -> None:
    async with websocket() as net:
        near, far = await net.connect()
        assert isinstance(near, DirectWebSocket)
        assert isinstance(far, DirectWebSocket)
        got: list[list[bytes]] = []

        def take(messages: list[bytes]) -> int:
            got.append(messages)
            return len(messages)

        near.deliver(take)
        assert far.send_now([b"1", b"2", b"3"])
        while not got:
            await asyncio.sleep(0)
        assert got == [[b"1", b"2", b"3"]]
        await asyncio.gather(near.close(), far.close())


async def test_no_more_is_read_than_may_wait() -> None:
    async with websocket() as net:
        near, far = await net.connect()
        assert isinstance(near, DirectWebSocket)
        count, message = 200, bytes(100_000)

        async def flood() -> None:
            for _ in range(count):
                await far.send(message)

        flooding = asyncio.create_task(flood())
        _, waiting = await asyncio.wait([flooding], timeout=0.3)
        assert waiting
        assert HIGH_WATER < near._inbox.size < 2 * HIGH_WATER
        for _ in range(count):
            assert await near.recv() == message
        await flooding
        await asyncio.gather(near.close(), far.close())


async def test_whoever_reads_no_more_can_close_and_hears_of_the_others_end() -> None:
    listener = await listen(close_timeout=None)
    far = await connect(listener.address)
    near = await listener.accept()

    async def flood() -> None:
        with suppress(TransportClosed):
            while True:
                await far.send(bytes(100_000))

    flooding = asyncio.create_task(flood())
    await asyncio.wait([flooding], timeout=0.3)
    async with asyncio.timeout(20):
        await near.close(4400, "enough")
    await flooding
    with pytest.raises(TransportClosed, match="enough"):
        await far.recv()
    await listener.close()


async def test_a_connection_of_ones_own_making_is_a_transport_too() -> None:
    listener = await listen(create_connection=ServerConnection)
    far = await connect(listener.address, create_connection=ClientConnection)
    near = await listener.accept()
    for a, b in ((near, far), (far, near)):
        await a.send(b"message")
        assert await b.recv() == b"message"
        assert not hasattr(a, "deliver")
    await asyncio.gather(near.close(), far.close(), listener.close())


async def test_after_its_own_close_nothing_is_read_any_more() -> None:
    async with websocket() as net:
        near, far = await net.connect()
        closing = asyncio.create_task(near.close(4400, "enough"))
        await asyncio.sleep(0)
        await far.send(b"late")
        with pytest.raises(TransportClosed, match="enough"):
            await near.recv()
        with pytest.raises(TransportClosed, match="enough"):
            await far.recv()
        await closing


async def test_a_connection_that_breaks_is_lost() -> None:
    async with websocket() as net:
        near, far = await net.connect()
        net.cut()
        for end in (near, far):
            with pytest.raises(TransportClosed) as caught:
                await end.recv()
            assert caught.value.code == 1006


@pytest.mark.parametrize(("given", "told"), [("ü" * 200, "ü" * 61), ("no file \udcff", "no file ?")])
async def test_a_reason_is_cut_to_what_a_close_frame_holds(given: str, told: str) -> None:
    async with websocket() as net:
        near, far = await net.connect()
        await near.close(4400, given)
        with pytest.raises(TransportClosed) as caught:
            await far.recv()
        assert caught.value.reason == told


async def test_nobody_there() -> None:
    with pytest.raises(TransportClosed) as caught:
        await connect("ws://127.0.0.1:1/")
    assert caught.value.code == 1006
    assert "ws://127.0.0.1:1/" in caught.value.reason


async def test_somebody_there_who_does_not_answer() -> None:
    taken: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda reader, writer: taken.append(writer), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TransportClosed):
            await connect(f"ws://127.0.0.1:{port}/", timeout=0.05)
        for writer in taken:
            writer.close()


async def test_a_text_in_place_of_origins_is_refused_with_the_cure() -> None:
    with pytest.raises(am.InvalidArgs, match="origins takes several texts"):
        await listen(origins="http://localhost:8000")


async def test_pages_are_let_in_only_from_origins_that_are_named() -> None:
    closed, opened = await listen(), await listen(origins=(None, "http://localhost:8000"))
    for listener, origin, admitted in (
        (closed, None, True),
        (closed, "http://localhost:8000", False),
        (opened, "http://localhost:8000", True),
        (opened, "http://evil.example", False),
    ):
        if admitted:
            transport = await connect(listener.address, origin=origin)
            await transport.close()
        else:
            with pytest.raises(TransportClosed, match="403"):
                await connect(listener.address, origin=origin)
    await closed.close()
    await opened.close()


async def test_the_subprotocol_is_confirmed_and_others_are_no_hindrance() -> None:
    listener = await listen()
    for offered, chosen in ((["amrpc.v1", "amtok.x"], "amrpc.v1"), (["other"], None)):
        async with plain_connect(listener.address, subprotocols=offered) as plain:  # type: ignore[arg-type]
            assert plain.subprotocol == chosen
    await listener.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere this computer has no other address on loopback")
async def test_a_flood_of_one_address_turns_nobody_of_another_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MAX_WAITING", 4)
    listener = await listen()
    flood = [await connect(listener.address, local_addr=("127.0.0.2", 0)) for _ in range(6)]
    for late in flood[4:]:
        with pytest.raises(TransportClosed, match="too many connections wait"):
            await late.recv()
    page = await connect(listener.address)
    accepted = [await listener.accept() for _ in range(4)]
    addresses = [each.peer.address.partition(":")[0] for each in accepted]
    assert addresses == ["127.0.0.2", "127.0.0.1", "127.0.0.2", "127.0.0.2"]
    with pytest.raises(TransportClosed, match="too many connections wait"):
        await flood[3].recv()
    await asyncio.gather(*(each.close() for each in (page, *flood, *accepted)))
    await listener.close()


async def test_who_does_not_shake_hands_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_module, "CONNECT_TIMEOUT", 0.05)
    told: list[str] = []  # asyncio tells it as an error of nobody
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_exception_handler", lambda context: told.append(str(context["exception"])))
    listener = await listen(ssl=server_context())
    port = int(listener.address.rstrip("/").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    assert ["taking longer than 0.05 seconds" in text for text in told] == [True]
    writer.close()
    await listener.close()
