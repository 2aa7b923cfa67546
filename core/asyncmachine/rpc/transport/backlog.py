"""Connections that have arrived at a listener and wait to be accepted. Shared by all kinds of listeners."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from asyncmachine.rpc.transport import GOING_AWAY, Transport, TransportClosed
from asyncmachine.rpc.transport.inbox import wake

MAX_WAITING: Final = 128
"""Connections that may wait. Further ones wait where they come from: in the kernel, or at their own side."""

ARRIVING: Final = 1024
"""Connections that the kernel may keep for a listener, where it allows so many."""


class Backlog:
    """Connections in order for one accepter."""

    __slots__ = ("_accepter", "_ended", "_room", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Transport] = deque()
        self._accepter: asyncio.Future[None] | None = None
        self._room: asyncio.Event | None = None
        self._ended: tuple[int, str] | None = None

    async def room(self) -> None:
        """Returns when one more may wait, or nobody accepts any more."""
        while self._ended is None and len(self._waiting) >= MAX_WAITING:
            if self._room is None:
                self._room = asyncio.Event()
            self._room.clear()
            await self._room.wait()

    def put(self, transport: Transport) -> bool:
        """Takes a connection in. False if it has to be turned away: too many wait, or nobody accepts any more."""
        if self._ended is not None or len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.append(transport)
        wake(self._accepter)
        return True

    async def get(self) -> Transport:
        """The next connection. Raises `TransportClosed` after the end."""
        while not self._waiting:
            if self._ended is not None:
                raise TransportClosed(*self._ended)
            self._accepter = asyncio.get_running_loop().create_future()
            await self._accepter
        found = self._waiting.popleft()
        self._wake()
        return found

    async def end(self, code: int = GOING_AWAY, reason: str = "the listener is closed") -> None:
        """Notes the end and closes what nobody has accepted. The second call does nothing."""
        if self._ended is None:
            self._ended = (code, reason)
            wake(self._accepter)
            self._wake()
            left, self._waiting = self._waiting, deque()
            await asyncio.gather(*(transport.close(code, reason) for transport in left))

    def _wake(self) -> None:
        if self._room is not None:
            self._room.set()
