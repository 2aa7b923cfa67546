"""The loop on gRPC's asyncio API: a stream of events, a getter, a call. Bytes as they are, without protobuf."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from bench.loops import Drive

SERVICE = "bench.Worker"


class Worker:
    """Holds one of three values, and changes it when it is called for the one it has."""

    def __init__(self) -> None:
        self.value = 1
        self.events: asyncio.Queue[bytes] = asyncio.Queue()

    async def subscribe(self, request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        """The events."""
        yield b""  # subscribed
        while True:
            yield await self.events.get()

    async def get(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """The value."""
        return bytes([self.value])

    async def call(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Does what belongs to the value."""
        if request != bytes([self.value]):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "another value")
        self.value = random.randint(1, 3)
        self.events.put_nowait(b"event")
        return b""


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """Serves a worker; gives the port."""
    worker = Worker()
    server = grpc.aio.server()
    handlers = {
        "Subscribe": grpc.unary_stream_rpc_method_handler(worker.subscribe),
        "Get": grpc.unary_unary_rpc_method_handler(worker.get),
        "Call": grpc.unary_unary_rpc_method_handler(worker.call),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


@asynccontextmanager
async def driving(port: int) -> AsyncIterator[Drive]:
    """A client of the worker there."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        get, call = channel.unary_unary(f"/{SERVICE}/Get"), channel.unary_unary(f"/{SERVICE}/Call")
        events = channel.unary_stream(f"/{SERVICE}/Subscribe")(b"")
        await events.read()

        async def drive(count: int) -> None:
            await call(await get(b""))
            for _ in range(count - 1):
                await events.read()
                await call(await get(b""))
            await events.read()

        yield drive
        events.cancel()
