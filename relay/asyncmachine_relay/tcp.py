"""The TCP end of a bridge: a stream of bytes as it is (`raw`), or messages with their length before them.

Both have the face of a `Transport`, so that `bridge` need not know which one it carries. Beyond that they can be
half-closed (`finish`) and torn (`abort`).

Length-prefixed is what `asyncmachine.rpc.transport.tcp` speaks: four bytes, big-endian, then so many bytes. Bodies are
never split, joined or read, but for one kind that only ever ends a connection: C1 01, code, reason.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from contextlib import suppress
from typing import cast

from asyncmachine.rpc.transport import FRAME_TOO_LARGE, LOST, NORMAL, Peer, TransportClosed
from asyncmachine_relay.holding import JOINED, OVERHEAD, Unsent
from asyncmachine_relay.limits import Limits
from asyncmachine_relay.policy import clip

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)
_HEAD = 4
_GOODBYE = b"\xc1\x01"


class TcpEnd(asyncio.Protocol):
    """A connected socket. Bytes are read until `limits.buffer_high` wait; `send` waits while as many have not left.

    What each message and each write takes beside its bytes is counted along (`holding`).
    """

    tells_why = False
    """Whether the other side learns the code of an end."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._inbox: deque[bytes] = deque()
        self._waiting = 0
        self._arrived: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._gone = asyncio.Event()
        self._reading = True
        self._ended: TransportClosed | None = None
        self._shut = False
        self._closing = False
        self._heard_all = False
        self._transport: asyncio.Transport
        self._waits: Unsent
        self.peer = Peer("tcp")

    @property
    def closed(self) -> bool:
        """True once nothing can be sent any more."""
        return self._shut or self._gone.is_set()

    async def send(self, data: bytes) -> None:
        """Sends; waits while the other side is slow. Raises `TransportClosed`."""
        if self.closed:
            raise self._ended or TransportClosed(LOST, "the connection is closed")
        self._write(data)
        self._waits.wrote()
        while not self._room.is_set():
            await self._room.wait()
            if self._gone.is_set():
                raise self._ended or TransportClosed()

    async def recv(self) -> bytes:
        """What arrived next. Raises `TransportClosed` after the last: with 1000 if the other side ended in order."""
        while not self._inbox:
            if self._ended is not None:
                raise self._ended
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        data = self._inbox.popleft()
        self._waiting -= len(data) + OVERHEAD
        if not self._reading and self._waiting <= self._limits.buffer_low:
            self._read(on=True)
        return data

    def finish(self, code: int = NORMAL, reason: str = "") -> None:
        """Sends nothing more; what was sent before still arrives. The other direction goes on."""
        if not self.closed:
            self._shut = True
            self._say_goodbye(code, reason)
            with suppress(OSError, RuntimeError):
                self._transport.write_eof()

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Ends both directions in order.

        Waits until the last bytes have left and the other side has ended too, at most `limits.close` without progress.
        """
        self.finish(code, reason)
        self._end(code, reason)
        self._inbox.clear()
        self._waiting = 0
        self._closing = True
        if self._heard_all:
            self._transport.close()
        else:
            self._read(on=True)  # what still comes is thrown away: unread bytes would turn the end into a reset
        unsent = None
        while not self._gone.is_set() and (left := self._transport.get_write_buffer_size()) != unsent:
            unsent = left
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.close):
                    await self._gone.wait()
        self._transport.abort()

    def abort(self) -> None:
        """Tears the connection: the other side learns that something is missing."""
        self._end(LOST, "connection torn")
        self._shut = True
        plain = self._transport.get_extra_info("socket")
        if plain is not None:
            # ValueError: uvloop's socket of a connection that has gone has no descriptor.
            with suppress(OSError, ValueError):
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        self._transport.abort()

    @property
    def bytes_waiting(self) -> int:
        """Bytes that are held here, either way, with `OVERHEAD` for each message that has come."""
        return self._waiting + self._transport.get_write_buffer_size()

    # What differs

    def _write(self, data: bytes) -> None:
        self._transport.write(data)

    def _say_goodbye(self, code: int, reason: str) -> None:
        """Tells why, where there is a way to."""

    def _take(self, data: bytes) -> None:
        """Puts out what arrived."""
        raise NotImplementedError

    def _last(self) -> None:
        """The other side has finished."""
        self._end(NORMAL, "")

    # For asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._waits = Unsent(self._transport, self._limits)
        host, port = transport.get_extra_info("peername")[:2]
        self.peer = Peer("tcp", f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        self._room.set()

    def data_received(self, data: bytes) -> None:
        if self._ended is None:
            self._take(data)
            if self._waiting >= self._limits.buffer_high and self._reading:
                self._read(on=False)

    def eof_received(self) -> bool:
        self._heard_all = True
        self._last()
        return not self._closing  # a half-closed connection lives on

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(LOST, "connection lost")
        self._gone.set()
        self._room.set()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._waits.resumed()
        self._room.set()

    def _put(self, data: bytes) -> None:
        self._inbox.append(data)
        self._waiting += len(data) + OVERHEAD
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def _end(self, code: int, reason: str) -> None:
        if self._ended is None:
            self._ended = TransportClosed(code, reason)
            if self._arrived is not None and not self._arrived.done():
                self._arrived.set_result(None)

    def _read(self, *, on: bool) -> None:
        self._reading = on
        with suppress(RuntimeError):  # which a transport raises that is closing
            if on:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()


class RawEnd(TcpEnd):
    """Bytes as they come. It cannot tell why it ends, so a bridge tears it where that matters."""

    def _take(self, data: bytes) -> None:
        most = self._limits.frame
        if len(data) <= most:
            self._put(data)
        else:
            for at in range(0, len(data), most):
                self._put(data[at : at + most])


class FramedEnd(TcpEnd):
    """Messages with their length before them. An end in the middle of one is a loss, not an end."""

    tells_why = True

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._rest = bytearray()

    def _write(self, data: bytes) -> None:
        if data:  # a WebSocket has empty messages, this framing has none
            head = len(data).to_bytes(_HEAD, "big")
            if len(data) <= JOINED:
                self._transport.write(head + data)
            else:
                self._transport.writelines((head, data))

    def _say_goodbye(self, code: int, reason: str) -> None:
        body = _GOODBYE + code.to_bytes(2, "big") + clip(reason).encode()
        self._write(body)

    def _take(self, data: bytes) -> None:
        if self._rest:
            self._rest += data
            del self._rest[: self._split(self._rest)]
        elif (used := self._split(data)) < len(data):
            self._rest += memoryview(data)[used:]

    def _split(self, data: bytes | bytearray) -> int:
        """Puts out the whole messages that `data` begins with. Returns how many bytes they took."""
        at, end, view = 0, len(data), memoryview(data)
        try:
            while end - at >= _HEAD and self._ended is None:
                size = int.from_bytes(view[at : at + _HEAD], "big")
                if not 0 < size <= self._limits.frame:
                    self._end(FRAME_TOO_LARGE, f"the target sent a message of {size} bytes")
                elif end - at < _HEAD + size:
                    break
                else:
                    at += _HEAD + size
                    self._message(bytes(view[at - size : at]))
        finally:
            view.release()
        return at

    def _message(self, body: bytes) -> None:
        if body[0] == _GOODBYE[0] and body[:2] == _GOODBYE and len(body) >= _HEAD:
            self._end(int.from_bytes(body[2:4], "big"), body[4:].decode(errors="replace"))
        else:
            self._put(body)

    def _last(self) -> None:
        if self._rest:
            self._end(LOST, "the target was cut in the middle of a message")
        else:
            super()._last()
