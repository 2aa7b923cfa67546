"""A socket that listens, of TCP, TLS and Unix sockets alike."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl as tls
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Any, Final

from asyncmachine.rpc.transport import GOING_AWAY, LOST, Transport
from asyncmachine.rpc.transport.backlog import MAX_WAITING, Backlog
from asyncmachine.rpc.transport.certificates import Judge
from asyncmachine.rpc.transport.handshakes import TIMEOUT, Handshakes
from asyncmachine.rpc.transport.socket_transport import SocketTransport

EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED})
"""Errors of accepting that pass: there are too many open files, or whoever came is gone already."""

EXHAUSTED_PAUSE: Final = 0.5
"""Seconds until it is tried again."""


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
        self._handshakes = Handshakes()
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
        self._handshakes.close()
        for task in self._opening:
            task.cancel()
        await asyncio.wait([self._accepting, *self._opening])
        await self._backlog.end()

    async def _accept(self) -> None:
        try:
            while True:
                await self._have_room()
                try:
                    connected, place = await self._loop.sock_accept(self._socket)
                except OSError as error:
                    if error.errno not in EXHAUSTED:
                        await self._backlog.end(LOST, f"cannot listen any more: {error}")
                        return
                    await asyncio.sleep(EXHAUSTED_PAUSE)
                else:
                    await self._take(connected, place)
        finally:
            self._socket.close()
            self._released()

    async def _have_room(self) -> None:
        """Waits while as many as may are on their way to being accepted. Further ones wait in the kernel."""
        await self._backlog.room()
        while self._ssl is None and len(self._opening) >= MAX_WAITING:
            await asyncio.wait(self._opening, return_when=asyncio.FIRST_COMPLETED)

    async def _take(self, connected: socket.socket, place: Any) -> None:
        if self._ssl is None:
            self._begin(self._open(connected))
            return
        self._handshakes.arrived(connected, place[0])
        self._shake_next()
        await asyncio.sleep(0)  # a flood does not wait for the loop, and would leave it no time for anything else

    def _shake_next(self) -> None:
        while self._ssl is not None and (found := self._handshakes.next()) is not None:
            self._begin(self._shake(self._ssl, *found))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _shake(self, context: tls.SSLContext, share: str, connected: socket.socket) -> None:
        """Takes as long as the other side needs for its part."""
        try:
            with closing(Judge(context, connected)) as judge:
                try:
                    await self._open(connected, ssl=judge, ssl_handshake_timeout=TIMEOUT)
                except tls.SSLError:
                    await judge.tell()
        except OSError:  # there are too many open files
            connected.close()
        finally:
            self._handshakes.done(share)
            self._shake_next()

    async def _open(self, connected: socket.socket, **secured: Any) -> None:
        """Makes a transport of a connection."""
        try:
            _, transport = await self._loop.connect_accepted_socket(SocketTransport, connected, **secured)
        except tls.SSLError:
            raise
        except OSError:  # whoever came is gone, or too slow
            return
        try:
            await self._backlog.room()
        except asyncio.CancelledError:
            transport.abort()
            raise
        if (turned_away := self._backlog.put(transport)) is not None:
            await turned_away.close(GOING_AWAY, "too many connections wait")
