"""A relay on a free loopback port, and clients that behave, or do not."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection

from asyncmachine.rpc.transport import TransportClosed
from asyncmachine_relay import Limits, Match, Relay, RelayServer, Tunnel, bind

QUICK = Limits(leave=0.02)
"""Matchers that do not leave by themselves are told soon."""

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


async def echo(tunnel: Tunnel) -> None:
    """Sends back what it gets."""
    while True:
        await tunnel.transport.send(await tunnel.transport.recv())


ECHO = Match(r"browser[1-4]", target="orchestrator", serve=echo)


@dataclass
class Running:
    """A relay, its server, and what its matchers were given."""

    relay: Relay
    server: RelayServer

    @property
    def origin(self) -> str:
        return self.server.origin

    @property
    def host(self) -> str:
        return self.origin.removeprefix("http://")

    @property
    def port(self) -> int:
        return self.server.port


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Running]:
    """A relay with matchers that echo, for both ops, unless told otherwise."""
    relay = Relay(**{"listen": [ECHO], "dial": [ECHO], "limits": QUICK, **settings})
    async with RelayServer(relay, bind()) as server:
        yield Running(relay, server)
    relay.dispose()


class Held:
    """A matcher that hands its tunnels to the test and keeps them until the test lets go."""

    def __init__(self) -> None:
        self.tunnels: asyncio.Queue[Tunnel] = asyncio.Queue()
        self.let_go = asyncio.Event()
        self.serving = 0
        self.most_at_a_time = 0

    async def __call__(self, tunnel: Tunnel) -> None:
        self.serving += 1
        self.most_at_a_time = max(self.most_at_a_time, self.serving)
        try:
            await self.tunnels.put(tunnel)
            await self.let_go.wait()
        finally:
            self.serving -= 1

    @property
    def match(self) -> Match:
        return Match(r".*", target="orchestrator", serve=self)


# HTTP


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def raw(run: Running, *parts: bytes) -> bytes:
    """Writes the bytes and returns all that comes back until the relay closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", run.port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def http(
    run: Running,
    path: str = "/",
    *,
    method: str = "GET",
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
) -> Answer:
    """One request on a connection of its own. Host is the relay's unless given."""
    given = [*headers]
    names = {name.lower() for name, _ in given}
    if "host" not in names:
        given.append(("host", run.host))
    if body and "content-length" not in names:
        given.append(("content-length", str(len(body))))
    head = f"{method} {path} HTTP/1.1\r\nconnection: close\r\n" + "".join(f"{n}: {v}\r\n" for n, v in given) + "\r\n"
    return parse(await raw(run, head.encode("latin-1") + body))


def parse(answer: bytes) -> Answer:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(first.split(" ")[1]), headers, body)


async def ask_token(
    run: Running,
    id: str = "browser1",
    op: str = "dial",
    target: str = "orchestrator",
    *,
    headers: Iterable[tuple[str, str]] = (),
    **more: object,
) -> Answer:
    """What `POST /token` answers. The Origin is the relay's unless given."""
    given = [("content-type", "application/json"), *headers]
    if "origin" not in {name.lower() for name, _ in given}:
        given.append(("origin", run.origin))
    body = json.dumps({"op": op, "id": id, "target": target, **more}).encode()
    return await http(run, "/token", method="POST", body=body, headers=given)


async def token(run: Running, id: str = "browser1", op: str = "dial", **more: object) -> str:
    """A fresh token."""
    answer = await ask_token(run, id, op, **more)  # type: ignore[arg-type]
    assert answer.status == 200, answer
    return str(answer.json["token"])


# WebSocket


@asynccontextmanager
async def opened(
    run: Running,
    id: str = "browser1",
    op: str = "dial",
    target: str = "orchestrator",
    *,
    using: str | None = None,
    **options: Any,
) -> AsyncIterator[ClientConnection]:
    """A tunnel. It fetches a token first unless it is given one; the empty one is not offered."""
    if using is None:
        using = await token(run, id, op, target=target)
    offered = ["amrpc.v1", *([f"amtok.{using}"] if using else [])]
    settings: dict[str, Any] = {
        "origin": run.origin,
        "subprotocols": offered,
        "compression": None,
        "max_size": None,
        "open_timeout": 60,  # detects a hang, on a computer that may be busy
        "proxy": None,
        **options,
    }
    url = run.origin.replace("http", "ws") + f"/{op}/{id}/{target}"
    async with websockets.connect(url, **settings) as connection:
        yield connection


async def ending(connection: ClientConnection) -> tuple[int | None, str]:
    """Code of the close frame, and the name of its reason; reads what comes before it."""
    while True:
        try:
            await connection.recv()
        except websockets.ConnectionClosed:
            return connection.close_code, (connection.close_reason or "").partition(":")[0]


async def end_of(tunnel: Tunnel) -> TransportClosed:
    """How a transport ended for its user, who drops what comes before."""
    while True:
        try:
            await tunnel.transport.recv()
        except TransportClosed as closed:
            return closed


async def slow_connection(
    run: Running, receive_buffer: int | None = 4096
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TCP connection with little room for what is not read, in bytes; None is the kernel's choice."""
    plain = socket.socket()
    if receive_buffer is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", run.port))
    return await asyncio.open_connection(sock=plain, limit=receive_buffer or 1 << 16)


class RawSocket:
    """A WebSocket client that sends whatever it is told and reads only when it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        run: Running,
        id: str = "browser1",
        op: str = "dial",
        target: str = "orchestrator",
        *,
        receive_buffer: int | None = None,
    ) -> AsyncIterator[RawSocket]:
        """With a token, past the upgrade. `receive_buffer` is the size of the kernel's, in bytes."""
        using = await token(run, id, op, target=target)
        reader, writer = await slow_connection(run, receive_buffer)
        try:
            writer.write(upgrade(run, f"/{op}/{id}/{target}", using))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101"), head
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    def send(self, opcode: int, data: bytes = b"", *, first: int = 0x80, length: int | None = None) -> None:
        """A frame. `first` holds the bits before the opcode, `length` what the frame claims to have."""
        size = len(data) if length is None else length
        head = bytes([first | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 1 << 16:
            head += bytes([0x80 | 126]) + struct.pack("!H", size)
        else:
            head += bytes([0x80 | 127]) + struct.pack("!Q", size)
        self.writer.write(head + bytes(4) + data)  # a mask of zeros changes nothing

    async def frame(self) -> tuple[int, bytes]:
        """Opcode and data of the next frame."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(size)

    async def ending(self) -> tuple[int, str]:
        """Code and name of the reason of the close frame; what comes before it is dropped."""
        while True:
            opcode, data = await self.frame()
            if opcode == CLOSE:
                return struct.unpack("!H", data[:2])[0], data[2:].decode().partition(":")[0]


def upgrade(run: Running, path: str, using: str = "", *, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """The bytes of an upgrade request. Host and Origin are the relay's unless given."""
    given = [*headers]
    names = {name.lower() for name, _ in given}
    if "host" not in names:
        given.append(("host", run.host))
    if "origin" not in names:
        given.append(("origin", run.origin))
    if "sec-websocket-protocol" not in names and using:
        given.append(("sec-websocket-protocol", f"amrpc.v1, amtok.{using}"))
    given += [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", base64.b64encode(os.urandom(16)).decode()),
    ]
    return (f"GET {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in given if v) + "\r\n").encode("latin-1")
