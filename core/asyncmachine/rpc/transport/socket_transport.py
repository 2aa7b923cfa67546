"""A connected socket as a transport, of TCP, TLS and Unix sockets alike.

A message is its length (four bytes, big-endian) and its bytes. A length of 0, or beyond the limit, closes the
connection. A socket tells no reason for its end, so this transport has one message of its own. It begins with the byte
C1, which no msgpack message begins with::

    C1 01  u16 code  reason    this side closes (reason: UTF-8)

Nothing is read while the reader is 1 MiB behind, and a sender waits while 1 MiB has not left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, cast

from asyncmachine.rpc.transport import (
    FRAME_TOO_LARGE,
    HIGH_WATER,
    LOST,
    MAX_FRAME,
    NORMAL,
    TEXT_FRAME,
    CertificateRefused,
    Peer,
)
from asyncmachine.rpc.transport.certificates import names_in, refusal
from asyncmachine.rpc.transport.direct_inbox import DirectInbox, DirectReading

CLOSE_TIMEOUT: Final = 3.0
"""Seconds for the last bytes to leave, and for the other side to close too."""

HEADER: Final = 4
CHUNK: Final = 4096
LARGE_CHUNK: Final = 1 << 18
"""Bytes that are read at once. asyncio's own 256 KiB for each read would take ten times as long as the read itself."""

LOW_WATER: Final = HIGH_WATER // 4
LONGEST_REASON: Final = 512
SHOWN: Final = 24
"""Bytes of what is no message that a reason tells."""
CLOSE: Final = b"\xc1\x01"


class SocketTransport(DirectReading, asyncio.BufferedProtocol):
    """One end of a connected socket. Made by `connect` and by a `SocketListener`; several tasks may send."""

    def __init__(self) -> None:
        self.peer = Peer("tcp")
        self._inbox = DirectInbox(self._read_if_low)
        self._chunk = memoryview(bytearray(CHUNK))
        self._rest = bytearray()
        self._room = asyncio.Event()
        self._gone = asyncio.Event()
        self._reading = True
        self._transport: asyncio.Transport

    @property
    def closed(self) -> bool:
        """True once nothing can be sent any more."""
        return self._inbox.ended

    async def send(self, data: bytes) -> None:
        """Sends one message; waits while the socket's buffer is full."""
        size = len(data)
        if not 0 < size <= MAX_FRAME:
            await self.close(FRAME_TOO_LARGE, f"a message of {size} bytes")
        self._inbox.check()
        self._transport.write(size.to_bytes(HEADER, "big") + data)
        while not self._room.is_set():
            await self._room.wait()
            self._inbox.check()

    def send_now(self, messages: Sequence[bytes]) -> bool:
        """Sends messages that are not too large, in one go, if none of them has to wait. False: nothing was sent."""
        if self._inbox.ended or not self._room.is_set():
            return False
        self._transport.write(b"".join([part for m in messages for part in (len(m).to_bytes(HEADER, "big"), m)]))
        return True

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Tells the other side why, and waits at most 3 s for its end. What it still sends is not read any more."""
        if self._end(code, reason):
            self._say_goodbye(code, reason)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._gone.wait()
        except TimeoutError:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Drops the connection without a word, and what has not left yet."""
        if not self._gone.is_set():
            self._transport.abort()

    def _say_goodbye(self, code: int, reason: str) -> None:
        # A socket that is closed before everything was read resets the connection, and the goodbye could be lost. So
        # only this direction is ended here, and what comes is thrown away until the other side ends its own.
        body = CLOSE + code.to_bytes(2, "big") + reason.encode(errors="replace")[:LONGEST_REASON]
        self._transport.write(len(body).to_bytes(HEADER, "big") + body)
        self._read(on=True)
        if self._transport.can_write_eof():
            with suppress(OSError):  # the other side is gone, of which the loop tells when it reads
                self._transport.write_eof()
        else:
            self._transport.close()

    def _read_if_low(self, read: Sequence[bytes]) -> None:
        if not self._reading and self._inbox.size <= LOW_WATER:
            self._read(on=True)

    def _end(self, code: int, reason: str) -> bool:
        self._room.set()
        return self._inbox.end(code, reason)

    def _read(self, *, on: bool) -> None:
        self._reading = on
        with suppress(RuntimeError):  # which a transport raises that is closing
            if on:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    # For asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        # A cast: the transports of uvloop do all that an asyncio.Transport does, but are not of its class.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        self.peer = _peer(self._transport)
        self._room.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: a small place, or a large one in the middle of a large message."""
        if len(self._rest) > CHUNK and len(self._chunk) == CHUNK:
            self._chunk = memoryview(bytearray(LARGE_CHUNK))
        return self._chunk

    def buffer_updated(self, nbytes: int) -> None:
        """Takes bytes in as they come, and puts whole messages out."""
        if self._inbox.ended:
            return
        data = self._chunk[:nbytes]
        if self._rest:
            self._rest += data
            with memoryview(self._rest) as rest:
                used = self._split(rest)
            del self._rest[:used]
            if not self._rest and len(self._chunk) != CHUNK:
                self._chunk = memoryview(bytearray(CHUNK))
        else:
            used = self._split(data)
            if used < nbytes:
                self._rest += data[used:]
        if self._reading and self._inbox.size > HIGH_WATER:
            self._read(on=False)

    def eof_received(self) -> bool:
        """The other side has closed; so does this one."""
        self._end(LOST, "connection lost")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is closed."""
        if why := refusal(error):
            # With TLS 1.3 the other side judges when this one has begun to talk already.
            self._room.set()
            self._inbox.end(LOST, why, kind=CertificateRefused)
        self._end(LOST, f"connection lost: {error}" if error is not None else "connection lost")
        self._gone.set()

    def pause_writing(self) -> None:
        """The buffer is full."""
        self._room.clear()

    def resume_writing(self) -> None:
        """There is room again."""
        self._room.set()

    def _split(self, data: memoryview) -> int:
        """Puts out the whole messages that `data` begins with. Returns how many bytes they took."""
        messages: list[bytes] = []
        at, end = 0, len(data)
        ending: tuple[int, str, bool] | None = None
        while end - at >= HEADER:
            size = int.from_bytes(data[at : at + HEADER], "big")
            if not 0 < size <= MAX_FRAME:
                ending = FRAME_TOO_LARGE, f"a message of {size} bytes{_as_text(bytes(data[at : at + SHOWN]))}", False
                break
            if end - at < HEADER + size:
                break
            at += HEADER + size
            if data[at - size] == CLOSE[0]:
                ending = _last_word(bytes(data[at - size : at]))
                break
            messages.append(bytes(data[at - size : at]))
        if messages:
            self._inbox.arrive(messages)
        if ending is not None:
            self._finish(*ending)
        return at

    def _finish(self, code: int, reason: str, told: bool) -> None:
        """The other side has closed, or breaks the rules."""
        self._end(code, reason)
        if told:
            self._transport.close()
        else:
            self._say_goodbye(code, reason)
            # Whoever breaks the rules may not hang up either.
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)


def _as_text(data: bytes) -> str:
    """What begins like a text is of somebody who speaks another protocol, by which a person knows it."""
    text = data.partition(b"\n")[0].decode("latin-1").rstrip()
    return f", as it begins with {text!r}" if len(text) >= HEADER and text.isascii() and text.isprintable() else ""


def _last_word(message: bytes) -> tuple[int, str, bool]:
    """Code and reason of a message of the transport's own, and whether it is a proper goodbye."""
    if message[:2] == CLOSE and len(message) >= 4:
        return int.from_bytes(message[2:4], "big"), message[4:].decode(errors="replace"), True
    return TEXT_FRAME, "a control message that is not known", False


def _peer(transport: asyncio.Transport) -> Peer:
    """Kind and address of the other end, and the names in its certificate if that was verified."""
    remote = transport.get_extra_info("peername")
    encrypted = transport.get_extra_info("ssl_object") is not None
    if not isinstance(remote, tuple):
        return Peer("unix", str(remote or transport.get_extra_info("sockname") or ""))
    host, port = remote[:2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    names = names_in(transport.get_extra_info("peercert"))
    return Peer("tls" if encrypted else "tcp", address, names[0] if names else "", names=names)
