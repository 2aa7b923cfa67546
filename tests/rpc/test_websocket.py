"""What is special about WebSockets."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect as plain_connect

from asyncmachine.rpc.transport import TransportClosed
from asyncmachine.rpc.transport.websocket import WebSocketTransport, connect
from tests.rpc.nets import WebSocketNet, websocket


async def test_text_is_refused() -> None:
    async with websocket() as net:
        assert isinstance(net, WebSocketNet)
        async with plain_connect(net.url) as plain:
            near = WebSocketTransport(await net.arrived.get())
            await plain.send("text")
            with pytest.raises(TransportClosed) as caught:
                await near.recv()
            assert caught.value.code == 1003
            await plain.wait_closed()
            assert plain.close_code == 1003


async def test_a_connection_that_breaks_is_lost() -> None:
    async with websocket() as net:
        near, far = await net.connect()
        net.cut()
        for end in (near, far):
            with pytest.raises(TransportClosed) as caught:
                await end.recv()
            assert caught.value.code == 1006


async def test_a_long_reason_is_cut_to_what_a_close_frame_holds() -> None:
    async with websocket() as net:
        near, far = await net.connect()
        await near.close(4400, "ü" * 200)
        with pytest.raises(TransportClosed) as caught:
            await far.recv()
        assert caught.value.reason == "ü" * 61


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
