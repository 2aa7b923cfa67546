"""Two ends in one process, with a place to inject faults.

A fault is a function that sees each message on its way and returns what arrives instead: nothing (lost), twice, another
one, or a message held back from before. It raises `Cut` to break the pipe in the middle.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from asyncmachine.rpc.transport import FRAME_TOO_LARGE, HIGH_WATER, LOST, MAX_FRAME, NORMAL, Peer, TransportClosed


class Cut(Exception):
    """Raised by a fault: both ends see the connection lost."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message on its way. `sender` is the end it comes from ("a" or "b"), `index` counts its messages from 0."""

    sender: str
    index: int
    data: bytes


Fault = Callable[[Frame], Iterable[bytes]]


class MemoryTransport:
    """One end of a `pair`."""

    __slots__ = ("_closed", "_fault", "_inbox", "_other", "_pending", "_reader", "_sent", "_writer", "name", "peer")

    def __init__(self, name: str, fault: Fault | None) -> None:
        self.name = name
        self.peer = Peer("memory", name)
        self._fault = fault
        self._other: MemoryTransport = self
        self._inbox: deque[bytes] = deque()
        self._pending = 0
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._closed: tuple[int, str] | None = None
        self._sent = 0

    @property
    def closed(self) -> bool:
        """True once nothing can be sent any more."""
        return self._closed is not None

    async def send(self, data: bytes) -> None:
        """Hands the message over; waits while the other end has more than 1 MiB to read."""
        if len(data) > MAX_FRAME:
            await self.close(FRAME_TOO_LARGE, f"a message of {len(data)} bytes")
        self._check()
        arriving: Iterable[bytes] = (data,)
        if self._fault is not None:
            frame = Frame(self.name, self._sent, data)
            self._sent += 1
            try:
                arriving = tuple(self._fault(frame))
            except Cut:
                self.cut()
                self._check()
        for message in arriving:
            self._other._arrived(message)
        while self._other._pending > HIGH_WATER and self._closed is None:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
        self._check()

    async def recv(self) -> bytes:
        """The next message. What was sent before an orderly close is still read."""
        while not self._inbox:
            self._check()
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        message = self._inbox.popleft()
        self._pending -= len(message)
        _wake(self._other._writer)
        return message

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Ends both directions."""
        self._end(code, reason)
        self._other._end(code, reason)

    def cut(self) -> None:
        """Breaks the pipe: what is on its way is lost, and both ends see 1006."""
        for end in (self, self._other):
            end._inbox.clear()
            end._pending = 0
            end._end(LOST, "connection lost")

    def _arrived(self, message: bytes) -> None:
        if self._closed is None:
            self._inbox.append(message)
            self._pending += len(message)
            _wake(self._reader)

    def _end(self, code: int, reason: str) -> None:
        if self._closed is None:
            self._closed = (code, reason)
            _wake(self._reader)
            _wake(self._writer)

    def _check(self) -> None:
        if self._closed is not None:
            raise TransportClosed(*self._closed)


def pair(fault: Fault | None = None) -> tuple[MemoryTransport, MemoryTransport]:
    """The two ends of a new pipe, named "a" and "b"."""
    a, b = MemoryTransport("a", fault), MemoryTransport("b", fault)
    a._other, b._other = b, a
    return a, b


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
