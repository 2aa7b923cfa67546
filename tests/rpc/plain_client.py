"""A client in the standard library alone, as somebody writes one who has docs/protocol.md and no line of ours: it knows
its schema by the hash, follows the clock, adds states, answers PING, and reads the end.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

Definitions = Mapping[str, Mapping[str, Any]]

HELLO, WELCOME, READY, PING, PONG, BYE, ADD, RESULT, CLOCK_PUSH = 1, 2, 4, 5, 6, 7, 16, 48, 64


def pack(value: Any) -> bytes:
    """MessagePack, in the forms that are quickest to write."""
    match value:
        case None | bool():
            return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
        case int():
            return bytes([value]) if value < 128 else b"\xcf" + value.to_bytes(8, "big")
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str() | bytes():
            tag, data = (0xDA, value.encode()) if isinstance(value, str) else (0xC5, value)
            return struct.pack(">BH", tag, len(data)) + data
        case list():
            return struct.pack(">BH", 0xDC, len(value)) + b"".join(map(pack, value))
    return struct.pack(">BH", 0xDE, len(value)) + b"".join(pack(part) for item in value.items() for part in item)


def unpack(stream: io.BytesIO) -> Any:
    """MessagePack in any of its forms."""
    tag = stream.read(1)[0]
    if tag < 0x80 or tag >= 0xE0:
        return tag if tag < 0x80 else tag - 0x100
    if tag < 0xC0:
        kind, bits = [("map", 4), ("list", 4), ("str", 5), ("str", 5)][(tag >> 4) - 8]
        return _holding(kind, tag & (1 << bits) - 1, stream)
    if tag < 0xC4:
        return {0xC0: None, 0xC2: False, 0xC3: True}[tag]
    if 0xCA <= tag < 0xD4:
        return _number("fdBHIQbhiq"[tag - 0xCA], stream)
    for first, sizes, kind in ((0xC4, "BHI", "bin"), (0xD9, "BHI", "str"), (0xDC, "HI", "list"), (0xDE, "HI", "map")):
        if first <= tag < first + len(sizes):
            return _holding(kind, _number(sizes[tag - first], stream), stream)
    raise ValueError(f"byte {tag:02x}")


def _number(kind: str, stream: io.BytesIO) -> Any:
    return struct.unpack(f">{kind}", stream.read(struct.calcsize(kind)))[0]


def _holding(kind: str, size: int, stream: io.BytesIO) -> Any:
    if kind == "map":
        return {unpack(stream): unpack(stream) for _ in range(size)}
    if kind == "list":
        return [unpack(stream) for _ in range(size)]
    return stream.read(size).decode() if kind == "str" else stream.read(size)


def schema_hash(schema: Definitions) -> bytes:
    return hashlib.sha256(json.dumps(list(schema.items()), separators=(",", ":"), sort_keys=True).encode()).digest()[:8]


def key(number: int) -> int:
    x = number + 1
    x = (x ^ x >> 16) * 0x85EBCA6B % 2**32
    x = (x ^ x >> 13) * 0xC2B2AE35 % 2**32
    return (x ^ x >> 16) | 1


class PlainClient:
    """One connection. `names` is what WELCOME told of them, `end` the code and reason of the goodbye."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, schema: Definitions) -> None:
        self.reader, self.writer, self.schema = reader, writer, schema
        self.order = list(schema)
        self.names: list[str] | None = None
        self.clock: list[int] = []  # the ticks, then queue and machine tick
        self.seq = self.calls = self.pings = 0
        self.results: dict[int, int] = {}
        self.end: tuple[int, str] | None = None

    def active(self) -> list[str]:
        return [name for name, tick in zip(self.order, self.clock, strict=False) if tick % 2]

    def send(self, *message: Any) -> None:
        self.write(pack(list(message)))

    def write(self, frame: bytes) -> None:
        self.writer.write(len(frame).to_bytes(4, "big") + frame)

    def add(self, state: str, **args: Any) -> int:
        self.calls += 1
        self.send(ADD, self.calls, [self.order.index(state)], args)
        return self.calls

    async def until(self, met: Callable[[], bool]) -> None:
        """Takes messages until this is so, or the connection has ended."""
        while not met() and self.end is None:
            frame = await self.reader.readexactly(int.from_bytes(await self.reader.readexactly(4), "big"))
            if frame[0] == 0xC1:
                self.end = int.from_bytes(frame[2:4], "big"), frame[4:].decode()
                self.writer.close()
            else:
                self.take(*unpack(io.BytesIO(frame)))

    def take(self, kind: int, *fields: Any) -> None:
        if kind == WELCOME:
            self.names, self.seq, self.clock = fields[7], fields[3], [*fields[10], fields[11], fields[12]]
            self.order = self.names or list(self.schema)
            self.send(READY, fields[1])
        elif kind == PING:
            self.pings += 1
            self.send(PONG, *fields[:2])
        elif kind == CLOCK_PUSH:
            self.move(*fields[:5])
        elif kind == RESULT:
            self.results[fields[0]] = fields[1] if len(fields) > 1 else 0
            if len(fields) > 2 and fields[2]:
                self.move(*fields[2:7])

    def move(self, seq: int, queue: int, machine: int, changes: list[int], seal: int) -> None:
        for number, more in zip([*changes[::2], -2, -1], [*changes[1::2], queue, machine], strict=True):
            self.clock[number] += more
        keys = *map(key, range(len(self.clock) - 2)), 0x85EBCA6B, 0xC2B2AE35
        total = sum(tick * factor for tick, factor in zip(self.clock, keys, strict=True))
        assert (seq, seal) == (self.seq + 1, (total + seq * 0x27D4EB2F) % 2**32), "out of step"
        self.seq = seq


@asynccontextmanager
async def connected(port: int, schema: Definitions) -> AsyncIterator[PlainClient]:
    """Says HELLO with the schema's hash, is ready, and says BYE and goodbye at the end."""
    client = PlainClient(*await asyncio.open_connection("127.0.0.1", port), schema)
    client.send(HELLO, "amrpc", [1, 1], "rc-plain", "", [False, schema_hash(schema)])
    await client.until(lambda: client.clock != [])
    yield client
    if client.end is None:
        client.send(BYE)
        client.write(b"\xc1\x01\x03\xe8")
        client.writer.close()
    await client.writer.wait_closed()
