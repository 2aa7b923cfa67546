"""Makers of connections for the behaviour suite, natively."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from websockets.asyncio.server import ServerConnection, serve

from asyncmachine.rpc.transport import Transport
from asyncmachine.rpc.transport.memory import MemoryTransport, pair
from asyncmachine.rpc.transport.websocket import SETTINGS, WebSocketTransport, connect
from tests.rpc.behaviour import Net


class MemoryNet:
    """Both ends in this process."""

    def __init__(self) -> None:
        self.newest: MemoryTransport | None = None

    async def connect(self) -> tuple[Transport, Transport]:
        self.newest, far = pair()
        return self.newest, far

    def cut(self) -> None:
        assert self.newest is not None
        self.newest.cut()


class WebSocketNet:
    """A WebSocket server on the loopback interface. Each connection is aborted, not closed, to cut it."""

    def __init__(self, url: str, arrived: asyncio.Queue[ServerConnection]) -> None:
        self.url = url
        self.arrived = arrived
        self.newest: ServerConnection | None = None

    async def connect(self) -> tuple[Transport, Transport]:
        far = await connect(self.url)
        self.newest = await self.arrived.get()
        return WebSocketTransport(self.newest), far

    def cut(self) -> None:
        assert self.newest is not None
        self.newest.transport.abort()


@asynccontextmanager
async def memory() -> AsyncIterator[Net]:
    yield MemoryNet()


@asynccontextmanager
async def websocket() -> AsyncIterator[Net]:
    arrived: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def handler(connection: ServerConnection) -> None:
        arrived.put_nowait(connection)
        await connection.wait_closed()

    async with serve(handler, "127.0.0.1", 0, **SETTINGS) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield WebSocketNet(f"ws://127.0.0.1:{port}", arrived)


NETS: dict[str, Callable[[], AbstractAsyncContextManager[Net]]] = {"memory": memory, "websocket": websocket}
