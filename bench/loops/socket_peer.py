"""The least that a socket can do under asyncio: one message there, one back, which holds event and value at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from bench.loops import Drive


class Worker(asyncio.Protocol):
    """Messages have one byte: the value that was asked for, and the value it is now."""

    value = 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(bytes([self.value]))

    def data_received(self, data: bytes) -> None:
        if data[0] == self.value:
            self.value = random.randint(1, 3)
        self.transport.write(bytes([self.value]))


class Asking(asyncio.Protocol):
    """Puts each answer into the future that waits for it."""

    def __init__(self) -> None:
        self.answer = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.answer.set_result(data)


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """Serves a worker; gives the port."""
    async with await asyncio.get_running_loop().create_server(Worker, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def driving(port: int) -> AsyncIterator[Drive]:
    """A client of the worker there."""
    loop = asyncio.get_running_loop()
    transport, asking = await loop.create_connection(Asking, "127.0.0.1", port)
    value = await asking.answer

    async def drive(count: int) -> None:
        nonlocal value
        for _ in range(count):
            asking.answer = loop.create_future()
            transport.write(value)
            value = await asking.answer

    yield drive
    transport.close()
