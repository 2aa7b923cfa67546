"""Two ends in one process, with a place to inject faults.

A fault is a function that sees each message on its way and returns what arrives instead: nothing (lost), twice, another
one, or a message held back from before. It raises `Cut` to break the pipe in the middle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from asyncmachine.rpc.transport import (
    FRAME_TOO_LARGE,
    HIGH_WATER,
    LOST,
    MAX_FRAME,
    NORMAL,
    NotOpened,
    Peer,
    Transport,
)
from asyncmachine.rpc.transport.backlog import Backlog
from asyncmachine.rpc.transport.inbox import Inbox, wake


class Cut(Exception):
    """Raised by a fault: both ends see the connection lost."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message on its way. `sender` is the end it comes from ("a" or "b"), `index` counts its messages from 0."""

    sender: str
    index: int
    data: bytes


Fault = Callable[[Frame], Iterable[bytes]]


_PEERS: Final = {name: Peer("memory", name) for name in ("a", "b")}


class MemoryTransport:
    """One end of a `pair`."""

    __slots__ = ("_fault", "_inbox", "_other", "_sent", "_writer", "peer")

    def __init__(self, name: str, fault: Fault | None) -> None:
        self.peer = _PEERS[name]
        self._fault = fault
        self._other: MemoryTransport = self
        self._inbox = Inbox()
        self._writer: asyncio.Future[None] | None = None
        self._sent = 0

    @property
    def closed(self) -> bool:
        """True once nothing can be sent any more."""
        return self._inbox.ended

    async def send(self, data: bytes) -> None:
        """Hands the message over; waits while the other end has more than 1 MiB to read."""
        self._inbox.check()
        if len(data) > MAX_FRAME:
            await self.close(FRAME_TOO_LARGE, f"a message of {len(data)} bytes")
        elif self._fault is None:
            self._other._inbox.put(data)
        else:
            self._through(self._fault, data)
        while self._other._inbox.size > HIGH_WATER and not self.closed:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
        self._inbox.check()

    async def recv(self) -> bytes:
        """The next message. What was sent before an orderly close is still read."""
        # The loop of `Inbox.get`, as a coroutine more is a fiftieth of what an idle mirror takes.
        inbox = self._inbox
        while inbox.empty:
            await inbox.filled()
        message = inbox.pop()
        wake(self._other._writer)
        return message

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Ends both directions."""
        self._end(code, reason, drop=False)

    def cut(self) -> None:
        """Breaks the pipe: what is on its way is lost, and both ends see 1006."""
        self._end(LOST, "connection lost", drop=True)

    def _through(self, fault: Fault, data: bytes) -> None:
        frame = Frame(self.peer.address, self._sent, data)
        self._sent += 1
        try:
            for message in fault(frame):
                self._other._inbox.put(message)
        except Cut:
            self.cut()

    def _end(self, code: int, reason: str, *, drop: bool) -> None:
        for end in (self, self._other):
            end._inbox.end(code, reason, drop=drop)
            wake(end._writer)


def pair(fault: Fault | None = None) -> tuple[MemoryTransport, MemoryTransport]:
    """The two ends of a new pipe, named "a" and "b" (in `peer.address`)."""
    a, b = MemoryTransport("a", fault), MemoryTransport("b", fault)
    a._other, b._other = b, a
    return a, b


class MemoryListener:
    """Takes connections from this process. It is a `Dial` as well: `await listener.dial()` connects to it."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.address = "memory"
        self._fault = fault
        self._backlog = Backlog()

    async def dial(self) -> Transport:
        """A new connection; waits while too many wait. Raises `TransportClosed` if the listener is closed."""
        await self._backlog.room()
        near, far = pair(self._fault)
        if self._backlog.put(near) is not None:
            raise NotOpened(f"{self.address}: nobody accepts")
        return far

    async def accept(self) -> Transport:
        """The next connection. Raises `TransportClosed` once the listener is closed."""
        return await self._backlog.get()

    async def close(self) -> None:
        """Takes no more connections; those that were accepted go on."""
        await self._backlog.end()
