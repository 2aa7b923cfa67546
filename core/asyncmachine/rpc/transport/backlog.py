"""Connections that have arrived at a listener and wait to be accepted. Shared by all kinds of listeners."""

from __future__ import annotations

import asyncio
from typing import Final

from asyncmachine.rpc.transport import GOING_AWAY, Transport, TransportClosed
from asyncmachine.rpc.transport.inbox import wake
from asyncmachine.rpc.transport.shares import FairQueue, host_of, share_of

MAX_WAITING: Final = 128
"""Connections that may wait. Further ones wait where they come from: in the kernel, or at their own side."""

ARRIVING: Final = 1024
"""Connections that the kernel may keep for a listener, where it allows so many."""


class Backlog:
    """Connections for one accepter, who gets them of each address in turn."""

    __slots__ = ("_accepter", "_ended", "_room", "_waiting")

    def __init__(self) -> None:
        self._waiting: FairQueue[Transport] = FairQueue()
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

    def put(self, transport: Transport) -> Transport | None:
        """Takes a connection in. Returns one that has to be turned away, if there is one: this, or another.

        This one if nobody accepts any more. If too many wait, the last one of the address of which most wait.
        """
        if self._ended is not None:
            return transport
        self._waiting.put(share_of(host_of(transport.peer.address)), transport)
        wake(self._accepter)
        return self._waiting.drop() if len(self._waiting) > MAX_WAITING else None

    async def get(self) -> Transport:
        """The next connection. Raises `TransportClosed` after the end."""
        while (found := self._waiting.get()) is None:
            if self._ended is not None:
                raise TransportClosed(*self._ended)
            self._accepter = asyncio.get_running_loop().create_future()
            await self._accepter
        self._wake()
        return found[1]

    async def end(self, code: int = GOING_AWAY, reason: str = "the listener is closed") -> None:
        """Notes the end and closes what nobody has accepted. The second call does nothing."""
        if self._ended is None:
            self._ended = (code, reason)
            wake(self._accepter)
            self._wake()
            left = [found[1] for found in iter(self._waiting.get, None)]
            await asyncio.gather(*(transport.close(code, reason) for transport in left))

    def _wake(self) -> None:
        if self._room is not None:
            self._room.set()
