"""Payloads whose client has gone from the server that was to send them: kept until the client is at another one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from asyncmachine.machine.errors import AmError
from asyncmachine.rpc.chunks import MAX_PAYLOAD
from asyncmachine.rpc.deliveries import MAX_KEPT, MAX_KEPT_BYTES, Kept
from asyncmachine.rpc.errors import Code, DeliveryFailed
from asyncmachine.rpc.timing import call_at

NOBODY: Final = b""
"""In the place of a session's number: that of any client with the id."""

Give = Callable[[Kept], None]


class Stranded:
    """What servers with the same sessions owe clients that are at none of them.

    A payload with a time of its own waits that long; others wait as long as the server is there that had them, and then
    as long as a session is kept (`keep` seconds). `failed(error)` is told of deliveries that fail and that nobody
    awaits; without it the server is told that had them.
    """

    __slots__ = ("_bytes", "_failed", "_here", "_keep", "_kept", "_limit")

    def __init__(
        self,
        keep: float,
        failed: Callable[[AmError], object] | None = None,
        limit: int = MAX_KEPT_BYTES + MAX_PAYLOAD,
    ) -> None:
        self._keep = keep
        self._failed = failed
        self._limit = limit
        self._kept: dict[bytes, tuple[Kept, object]] = {}
        self._here: dict[bytes, tuple[str, Give]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def arrived(self, id: str, session: bytes, give: Give) -> list[Kept]:
        """A client is ready at a server. Returns what has waited for it; `give` gets what comes while it is there."""
        self._here[session] = id, give
        waiting = [kept for kept, _ in self._kept.values() if kept.destination == id]
        for kept in waiting:
            self._release(kept)
        return waiting

    def left(self, session: bytes) -> None:
        """The client's connection has ended."""
        self._here.pop(session, None)

    def put(self, kept: Kept, id: str, session: bytes, owner: object) -> None:
        """Takes a payload of the client with this id, and hands it on if its session is at another server already.

        `owner` is where it comes from, None when that is over. If there is no room, the oldest one has to go.
        """
        give = self._at(id, session)
        kept.destination = id
        if give is not None:
            give(kept)
            return
        self._kept[kept.token] = kept, owner
        self._bytes += kept.size
        while len(self._kept) > MAX_KEPT or (self._bytes > self._limit and len(self._kept) > 1):
            oldest = next(iter(self._kept.values()))[0]
            text = (
                f"{len(self._kept)} payloads ({self._bytes} bytes) wait for clients that are away, "
                f"the limits are {MAX_KEPT} and {self._limit} bytes: {oldest.name!r} had to make room"
            )
            self._fail(oldest, DeliveryFailed(Code.TOO_LARGE, text))
        if kept.token in self._kept:
            self._arm(kept, owner)

    def orphan(self, owner: object) -> None:
        """The server of these payloads is over: those without a time of their own have it from now on."""
        for kept, its in tuple(self._kept.values()):
            if its is owner:
                self._kept[kept.token] = kept, None
                self._arm(kept, None)

    def clear(self, why: str) -> None:
        """Fails everything that waits."""
        for kept, _ in tuple(self._kept.values()):
            self._fail(kept, DeliveryFailed(Code.SHUTDOWN, why))

    def _at(self, id: str, session: bytes) -> Give | None:
        if found := self._here.get(session):
            return found[1]
        # An id is the address, also in a new session. The newest, if there are several: the ends of the others may not
        # have been seen yet.
        return next((give for name, give in reversed(self._here.values()) if name == id), None)

    def _arm(self, kept: Kept, owner: object) -> None:
        loop = asyncio.get_running_loop()
        if owner is None and self._failed is not None:
            kept.result.tell(self._failed)
        if kept.due is None and owner is None:
            kept.due = loop.time() + self._keep
        if kept.due is not None:
            kept.stop()
            kept.timer = call_at(loop, kept.due, partial(self._late, kept))

    def _late(self, kept: Kept) -> None:
        after = self._keep if kept.within is None else kept.within
        text = f"{kept.name!r} was not consumed within {after:g} s: {kept.destination} is away"
        self._fail(kept, DeliveryFailed(Code.DEADLINE, text))

    def _fail(self, kept: Kept, error: DeliveryFailed) -> None:
        self._release(kept)
        kept.settle(error)

    def _release(self, kept: Kept) -> None:
        del self._kept[kept.token]
        self._bytes -= kept.size
        kept.stop()
        if kept.within is None:
            kept.due = None
