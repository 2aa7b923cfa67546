"""Sockets: TCP, in the open or through TLS, and what `unix` shares with it.

A message is its length (four bytes, big-endian) and its bytes. A length of 0, or beyond the limit, closes the
connection. A socket tells no reason for its end, so this transport has one message of its own. It begins with the byte
C1, which no msgpack message begins with::

    C1 01  u16 code  reason    this side closes (reason: UTF-8)

Nothing is read while the reader is 1 MiB behind, and a sender waits while 1 MiB has not left.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl as tls
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from asyncmachine.rpc.transport import (
    FRAME_TOO_LARGE,
    HIGH_WATER,
    LOST,
    MAX_FRAME,
    NORMAL,
    TEXT_FRAME,
    Peer,
    Transport,
    TransportClosed,
)
from asyncmachine.rpc.transport.backlog import MAX_WAITING, Backlog
from asyncmachine.rpc.transport.inbox import Inbox

CONNECT_TIMEOUT: Final = 5.0
"""Seconds for opening a connection, and as many for TLS."""

CLOSE_TIMEOUT: Final = 3.0
"""Seconds for the last bytes to leave, and for the other side to close too."""

EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED})
"""Errors of accepting that pass: there are too many open files, or whoever came is gone already."""

EXHAUSTED_PAUSE: Final = 0.5
"""Seconds until it is tried again."""

HEADER: Final = 4
LOW_WATER: Final = HIGH_WATER // 4
LONGEST_REASON: Final = 512
CLOSE: Final = b"\xc1\x01"


class SocketTransport(asyncio.Protocol):
    """One end of a connected socket. Made by `connect` and by a `SocketListener`; several tasks may send."""

    def __init__(self) -> None:
        self.peer = Peer("tcp")
        self._inbox = Inbox()
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

    async def recv(self) -> bytes:
        """The next message. What arrived before the end is still read."""
        message = await self._inbox.get()
        if not self._reading and self._inbox.size <= LOW_WATER:
            self._read(on=True)
        return message

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
        self._write_close(code, reason)
        self._read(on=True)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _write_close(self, code: int, reason: str) -> None:
        body = CLOSE + code.to_bytes(2, "big") + reason.encode(errors="replace")[:LONGEST_REASON]
        self._transport.write(len(body).to_bytes(HEADER, "big") + body)

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
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        self.peer = _peer(transport)
        self._room.set()

    def data_received(self, data: bytes) -> None:
        """Takes bytes in as they come, and puts whole messages out."""
        if self._inbox.ended:
            return
        if self._rest:
            self._rest += data
            del self._rest[: self._split(self._rest)]
        else:
            used = self._split(data)
            if used < len(data):
                self._rest += data[used:]
        if self._reading and self._inbox.size > HIGH_WATER:
            self._read(on=False)

    def eof_received(self) -> bool:
        """The other side has closed; so does this one."""
        self._end(LOST, "connection lost")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is closed."""
        self._end(LOST, f"connection lost: {error}" if error is not None else "connection lost")
        self._gone.set()

    def pause_writing(self) -> None:
        """The buffer is full."""
        self._room.clear()

    def resume_writing(self) -> None:
        """There is room again."""
        self._room.set()

    def _split(self, data: bytes | bytearray) -> int:
        """Puts out the whole messages that `data` begins with. Returns how many bytes they took."""
        at, end = 0, len(data)
        while end - at >= HEADER and not self._inbox.ended:
            size = int.from_bytes(data[at : at + HEADER], "big")
            if not 0 < size <= MAX_FRAME:
                self._refuse(FRAME_TOO_LARGE, f"a message of {size} bytes")
            elif end - at < HEADER + size:
                break
            else:
                at += HEADER + size
                self._arrived(bytes(data[at - size : at]))
        return at

    def _arrived(self, message: bytes) -> None:
        if message[0] != CLOSE[0]:
            self._inbox.put(message)
        elif message[:2] == CLOSE and len(message) >= 4:
            self._end(int.from_bytes(message[2:4], "big"), message[4:].decode(errors="replace"))
            self._transport.close()
        else:
            self._refuse(TEXT_FRAME, "a control message that is not known")

    def _refuse(self, code: int, reason: str) -> None:
        self._end(code, reason)
        self._say_goodbye(code, reason)
        # Whoever breaks the rules may not hang up either.
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)


class SocketListener:
    """Takes connections at a socket that listens, and closes it at the end. `released()` is called then.

    It accepts by itself, since a server of asyncio that is closed may lose a connection which is just arriving.
    """

    def __init__(
        self,
        listening: socket.socket,
        address: str,
        ssl: tls.SSLContext | None = None,
        released: Callable[[], object] = lambda: None,
    ) -> None:
        self.address = address
        self._socket = listening
        self._ssl = ssl
        self._released = released
        self._backlog = Backlog()
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        listening.setblocking(False)
        self._accepting = self._loop.create_task(self._accept(), name=f"listener {address}")

    async def accept(self) -> Transport:
        """The next connection. Raises `TransportClosed` once the listener is closed."""
        return await self._backlog.get()

    async def close(self) -> None:
        """Takes no more connections; those that were accepted go on."""
        self._accepting.cancel()
        for task in self._opening:
            task.cancel()
        await asyncio.wait([self._accepting, *self._opening])
        await self._backlog.end()

    async def _accept(self) -> None:
        try:
            while True:
                try:
                    connected, _ = await self._loop.sock_accept(self._socket)
                except OSError as error:
                    if error.errno not in EXHAUSTED:
                        await self._backlog.end(LOST, f"cannot listen any more: {error}")
                        return
                    await asyncio.sleep(EXHAUSTED_PAUSE)
                else:
                    task = self._loop.create_task(self._open(connected))
                    self._opening.add(task)
                    task.add_done_callback(self._opening.discard)
        finally:
            self._socket.close()
            self._released()

    async def _open(self, connected: socket.socket) -> None:
        """Makes a transport of a connection. With TLS that takes as long as the other side needs for its part."""
        if len(self._opening) > MAX_WAITING:
            connected.close()
            return
        patience = {} if self._ssl is None else {"ssl_handshake_timeout": CONNECT_TIMEOUT}
        with suppress(OSError):  # of a handshake that fails
            _, transport = await self._loop.connect_accepted_socket(
                SocketTransport, connected, ssl=self._ssl, **patience
            )
            if not self._backlog.put(transport):
                transport.abort()


async def connect(
    host: str, port: int, *, ssl: tls.SSLContext | None = None, timeout: float = CONNECT_TIMEOUT, **settings: Any
) -> SocketTransport:
    """Opens a TCP connection, through TLS with an `ssl` context. Raises `TransportClosed` when that fails.

    Further settings go to `loop.create_connection`, for instance `server_hostname` or `local_addr`.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            _, transport = await loop.create_connection(SocketTransport, host, port, ssl=ssl, **settings)
    except (OSError, TimeoutError) as error:
        raise no_connection(address_of("tls" if ssl else "tcp", host, port), error) from error
    return transport


async def listen(host: str = "127.0.0.1", port: int = 0, *, ssl: tls.SSLContext | None = None) -> SocketListener:
    """Takes TCP connections at an address (port 0: any free one), through TLS with an `ssl` context.

    A context with `verify_mode = ssl.CERT_REQUIRED` asks clients for certificates (mutual TLS); `peer.id` is then the
    name in it. Raises `OSError` when the address cannot be had.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, place = found[0]
    listening = socket.create_server((str(place[0]), int(place[1])), family=family, backlog=MAX_WAITING)
    address = address_of("tls" if ssl else "tcp", host, listening.getsockname()[1])
    return SocketListener(listening, address, ssl)


def address_of(scheme: str, host: str, port: int) -> str:
    """The address in its written form; hosts of IPv6 go into brackets."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def no_connection(address: str, error: Exception) -> TransportClosed:
    """What a failure to connect becomes."""
    return TransportClosed(LOST, f"{address}: {str(error) or type(error).__name__}")


def _peer(transport: asyncio.Transport) -> Peer:
    """Kind and address of the other end, and the name in its certificate if that was verified."""
    remote = transport.get_extra_info("peername")
    encrypted = transport.get_extra_info("ssl_object") is not None
    if not isinstance(remote, tuple):
        return Peer("unix", str(remote or transport.get_extra_info("sockname") or ""))
    host, port = remote[:2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Peer("tls" if encrypted else "tcp", address, _name(transport.get_extra_info("peercert")))


def _name(certificate: Any) -> str:
    """The first alternative name of a certificate, or its common name. Only verified certificates have contents."""
    if not certificate:
        return ""
    for _, name in certificate.get("subjectAltName", ()):
        return str(name)
    subject = dict(pair for names in certificate.get("subject", ()) for pair in names)
    return str(subject.get("commonName", ""))
