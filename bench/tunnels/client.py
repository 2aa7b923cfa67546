"""One client for all tunnels: a blocking socket, and frames made beforehand, so that it costs little itself."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Self

MIB = 1 << 20
CHUNK = 65536


def masked(data: bytes) -> bytes:
    """A binary frame. Its mask is random, as browsers do it: one of zeros would be for free."""
    mask = os.urandom(4)
    size = len(data)
    head = (
        bytes((0x82, 0x80 | size))
        if size < 126
        else (struct.pack("!BBH", 0x82, 0xFE, size) if size < 1 << 16 else struct.pack("!BBQ", 0x82, 0xFF, size))
    )
    number = int.from_bytes(data, "big") ^ int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return head + mask + number.to_bytes(size, "big")


@dataclass(frozen=True)
class Way:
    """How the backend is reached: plain TCP, a bare tunnel, or as ours is, for which a token is asked first."""

    name: str
    port: int
    kind: Literal["tcp", "bare", "ours"]

    def open(self, id: str = "bench", using: str | None = None) -> Link:
        """A connection to the backend. Asks for a token first where one is needed, unless it is given."""
        if using is None:
            using = self.tokens([id])[0] if self.kind == "ours" else ""
            if self.port in _KEPT:
                _KEPT.pop(self.port).close()  # nothing else is open while one tunnel is measured
        plain = socket.create_connection(("127.0.0.1", self.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(plain, framed=self.kind != "tcp")
        if self.kind != "tcp":
            link.upgrade(self, id, using)
        return link

    def tokens(self, ids: Sequence[str]) -> list[str]:
        """As a page asks for them: one by itself, several as a list."""
        wishes = [{"op": "dial", "id": each, "target": "backend"} for each in ids]
        body = json.dumps(wishes if len(ids) > 1 else wishes[0]).encode()
        request = (
            f"POST /token HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\norigin: http://127.0.0.1:{self.port}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        answer = self._asked(request.encode() + body)
        found = json.loads(answer)
        return [str(each["token"]) for each in (found if isinstance(found, list) else [found])]

    def _asked(self, request: bytes) -> bytes:
        """The body of the answer. The connection is kept for the next request, as browsers do, unless it has ended."""
        for _ in range(2):
            kept = _KEPT.get(self.port) or socket.create_connection(("127.0.0.1", self.port))
            _KEPT[self.port] = kept
            with suppress(ConnectionError):
                kept.sendall(request)
                answer = b""
                while part := kept.recv(65536):
                    answer += part
                    head, end, body = answer.partition(b"\r\n\r\n")
                    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
                    if end and length and len(body) >= int(length[1]):
                        return body
            _KEPT.pop(self.port).close()
        raise RuntimeError(f"{self.name} does not answer")


_KEPT: dict[int, socket.socket] = {}
"""Connections for tokens, by port."""


class Link:
    """A connection to the backend, through whatever is in between."""

    def __init__(self, plain: socket.socket, *, framed: bool) -> None:
        self.socket = plain
        self._framed = framed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def upgrade(self, way: Way, id: str, token: str) -> None:
        path = f"/dial/{id}/backend" if way.kind == "ours" else "/tunnel"
        offered = f"amrpc.v1, amtok.{token}" if token else "binary"
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{way.port}\r\norigin: http://127.0.0.1:{way.port}\r\n"
            f"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n"
            f"sec-websocket-protocol: {offered}\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.socket.recv(1)
        if b" 101 " not in head:
            raise RuntimeError(f"{way.name} refused: {head!r}")

    def frame(self, data: bytes) -> bytes:
        return masked(data) if self._framed else data

    def head(self, size: int) -> int:
        """Bytes that stand before a message of this size on its way to us."""
        return 0 if not self._framed else 2 if size < 126 else 4 if size < 1 << 16 else 10

    def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise RuntimeError("the tunnel ended")
            data += part
        return data

    def echo(self, frame: bytes, size: int) -> None:
        """One message there and back."""
        self.socket.sendall(frame)
        self.exactly(self.head(size) + size)

    def close(self) -> None:
        """As a page does: with a close frame, and without waiting for the answer."""
        if self._framed:
            with suppress(OSError):
                self.socket.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
        self.socket.close()
