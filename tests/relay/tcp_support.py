"""TCP targets on free loopback ports, and callers of pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from asyncmachine_relay import Limits, Op, Target
from tests.relay.support import QUICK, Running, running

Serving = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def backend(serve: Serving) -> AsyncIterator[int]:
    """A TCP server; its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (asyncio.CancelledError, ConnectionError):
            pass  # asyncio complains about a callback that ends otherwise
        finally:
            tasks.discard(task)
            writer.close()
            if reader.exception() is not None:
                with suppress(OSError):
                    await writer.wait_closed()  # it was lost: asyncio complains of an error that nobody takes

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def echo_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes, until it ends."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends without end."""
    while True:
        writer.write(bytes(65536))
        await writer.drain()


class Calls:
    """A backend that hands its connections to the test."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.waiting.put((reader, writer))
        await asyncio.Event().wait()

    async def next(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await self.waiting.get()


@asynccontextmanager
async def dialling(serve: Serving, *, raw: bool = True, limits: Limits = QUICK, **more: Any) -> AsyncIterator[Running]:
    """A relay whose target `backend` is this server."""
    async with backend(serve) as port:
        target = Target("backend", "127.0.0.1", port, raw=raw)
        async with running(targets=[target], limits=limits, **more) as run:
            yield run


def listener(port: int | str = 0, **more: Any) -> Target:
    """A target on which pages may be called."""
    return Target("repl", "127.0.0.1", port, ops=(Op.LISTEN,), **more)


def framed(*bodies: bytes) -> bytes:
    """With their lengths before them."""
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


async def body_of(reader: asyncio.StreamReader) -> bytes:
    """The next body."""
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
