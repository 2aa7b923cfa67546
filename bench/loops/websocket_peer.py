"""The least that a WebSocket can do: one message there, one back, which holds event and value at once."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from bench.loops import Drive


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """Serves a worker; gives the port."""

    async def worker(connection: ServerConnection) -> None:
        value = b"\x01"
        await connection.send(value)
        async for asked in connection:
            if asked == value:
                value = bytes([random.randint(1, 3)])
            await connection.send(value)

    async with serve(worker, "127.0.0.1", 0, compression=None) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@asynccontextmanager
async def driving(port: int) -> AsyncIterator[Drive]:
    """A client of the worker there."""
    async with connect(f"ws://127.0.0.1:{port}/", compression=None, proxy=None) as connection:
        value = await connection.recv()

        async def drive(count: int) -> None:
            nonlocal value
            for _ in range(count):
                await connection.send(value)
                value = await connection.recv()

        yield drive
