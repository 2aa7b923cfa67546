"""Makers of connections for the behaviour suite, natively."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme

from asyncmachine.rpc.transport import Dial, Listener, Transport
from asyncmachine.rpc.transport.addresses import dial, listen
from asyncmachine.rpc.transport.memory import MemoryTransport, pair
from asyncmachine.rpc.transport.port import PortTransport
from asyncmachine.rpc.transport.socket_transport import SocketTransport
from asyncmachine.rpc.transport.websocket import WebSocketTransport
from tests.rpc.behaviour import Net
from tests.rpc.ports import wires


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


class PortNet:
    """A message channel, as a page and its worker have one."""

    def __init__(self) -> None:
        self.newest: tuple[PortTransport, PortTransport] | None = None

    async def connect(self) -> tuple[Transport, Transport]:
        near, far = wires()
        self.newest = PortTransport(near, "client"), PortTransport(far, "server")
        return self.newest

    def cut(self) -> None:
        assert self.newest is not None
        for end in self.newest:
            end.lost("cut")


class ListeningNet:
    """A listener, and connections to it. Each is aborted, not closed, to cut it."""

    def __init__(self, listener: Listener, dial: Dial) -> None:
        self.listener = listener
        self.dial = dial
        self.newest: Transport | None = None

    async def connect(self) -> tuple[Transport, Transport]:
        far = await self.dial()
        self.newest = await self.listener.accept()
        return self.newest, far

    def cut(self) -> None:
        assert isinstance(self.newest, SocketTransport | WebSocketTransport)
        self.newest.abort()


@asynccontextmanager
async def memory() -> AsyncIterator[Net]:
    yield MemoryNet()


@asynccontextmanager
async def port() -> AsyncIterator[Net]:
    yield PortNet()


@asynccontextmanager
async def listening(
    address: str, server: ssl.SSLContext | None = None, client: ssl.SSLContext | None = None
) -> AsyncIterator[ListeningNet]:
    """A listener at this address, which is closed at the end."""
    listener = await listen(address, ssl=server)()
    try:
        yield ListeningNet(listener, dial(listener.address, ssl=client))
    finally:
        await listener.close()


@asynccontextmanager
async def unix() -> AsyncIterator[ListeningNet]:
    with TemporaryDirectory() as folder:
        async with listening(f"unix://{Path(folder) / 'source.sock'}") as net:
            yield net


def websocket() -> AbstractAsyncContextManager[ListeningNet]:
    return listening("ws://127.0.0.1:0/")


def tcp() -> AbstractAsyncContextManager[ListeningNet]:
    return listening("tcp://127.0.0.1:0")


def tls() -> AbstractAsyncContextManager[ListeningNet]:
    """Both sides show a certificate."""
    return listening("tls://127.0.0.1:0", server_context(mutual=True), client_context("client-1"))


def wss() -> AbstractAsyncContextManager[ListeningNet]:
    return listening("wss://127.0.0.1:0/", server_context(), client_context())


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(*, mutual: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("127.0.0.1").configure_cert(context)
    if mutual:
        authority().configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(name: str = "", issuer: trustme.CA | None = None) -> ssl.SSLContext:
    """Trusts the server; has a certificate if it has a name."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    if name:
        (issuer or authority()).issue_cert(name).configure_cert(context)
    return context


NETS: dict[str, Callable[[], AbstractAsyncContextManager[Net]]] = {
    "memory": memory,
    "tcp": tcp,
    "unix": unix,
    "tls": tls,
    "websocket": websocket,
    "wss": wss,
    "port": port,
}
WHOLE = ("memory", "tcp")
"""Those the whole suite runs on. The others carry the marked part."""
