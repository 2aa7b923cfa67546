"""uvicorn's protocols, mended: under an app that is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asyncmachine_relay import Limits, bind
from asyncmachine_relay.server import _Server
from asyncmachine_relay.wire import WireConfig
from tests.relay.support import RawSocket


@asynccontextmanager
async def serving(app: Any, limits: Limits) -> AsyncIterator[tuple[_Server, RawSocket]]:
    """A server with one client that has sent an upgrade request."""
    bound = bind()
    server = _Server(WireConfig(app, limits))
    running = asyncio.create_task(server.serve(sockets=[bound.socket]))
    await server.up.wait()
    reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)
    writer.write(
        b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    try:
        yield server, RawSocket(reader, writer)
    finally:
        server.stopping.set()
        await running
        writer.close()


async def test_a_websocket_that_nobody_closed_is_told_that_the_server_stops() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        assert (await receive())["code"] == 1001

    async with serving(app, Limits()) as (server, page):
        assert (await page.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        server.stopping.set()
        assert await page.ending() == (1001, "SHUTDOWN")
        page.writer.close()


async def test_an_upgrade_that_was_not_decided_ends_with_the_server() -> None:
    asked = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with serving(app, Limits(close=0.1)) as (server, page):
        await asked.wait()
        server.stopping.set()
        assert (await page.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 500")


async def test_the_date_of_answers_goes_on() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close"})

    async with serving(app, Limits()) as (server, page):
        assert b"\r\ndate: " in (await page.reader.readuntil(b"\r\n\r\n")).lower()
        ticked, tick = asyncio.Event(), server.on_tick

        async def on_tick(counter: int) -> bool:
            ticked.set()
            return await tick(counter)

        server.on_tick = on_tick  # type: ignore[method-assign]
        server.server_state.default_headers = []
        await ticked.wait()
        assert [name for name, _ in server.server_state.default_headers] == [b"date"]
