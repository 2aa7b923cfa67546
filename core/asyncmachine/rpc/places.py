"""Who may be connected: places for those who were let in, and for strangers, who have not said who they are yet.

A place costs memory for as long as somebody is silent. So there are only so many, and a stranger can lose his: the
oldest one of the address of which most are strangers, to somebody of an address of which fewer are. Within one address,
and among very many with one each, whoever is new is turned away, unless a stranger has had time enough to say hello.
Addresses of IPv6 count by /64.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from asyncmachine.rpc.errors import Code, Rejected, close_code
from asyncmachine.rpc.outages import Outage
from asyncmachine.rpc.transport import Transport
from asyncmachine.rpc.transport.shares import host_of, share_of

MAX_CONNECTIONS: Final = 512
"""Connections at the same time, strangers included."""

GRACE: Final = 1.0
"""Seconds in which a stranger's place is taken by nobody of his own address."""

LINGERING: Final = 128
"""Those who are told that they have no place, at a time. Further ones are dropped without a word, where that can be."""

Run = Callable[[Coroutine[Any, Any, None], str], object]


class Places:
    """The places of one server, or of one mux. `who` has them, in the log; `run` starts a task of theirs."""

    __slots__ = ("_crowd", "_inside", "_leaving", "_lines", "_run", "_share", "_who", "limit")

    def __init__(self, limit: int, who: str, run: Run) -> None:
        self.limit = limit
        self._who = who
        self._run = run
        self._inside: set[Transport] = set()
        self._lines: dict[str, dict[Transport, float]] = {}
        self._share: dict[Transport, str] = {}
        self._leaving = 0
        self._crowd: Outage | None = None

    def __len__(self) -> int:
        return len(self._inside) + len(self._share)

    def take(self, transport: Transport) -> None:
        """Gives a stranger a place, if need be that of another one. Raises `Rejected` if there is none for him."""
        share, now = share_of(host_of(transport.peer.address)), asyncio.get_running_loop().time()
        if len(self) >= self.limit:
            full = Rejected(Code.RATE, f"no more than {self.limit} connections at once")
            self._crowded(full)
            given_up = self._yielding(share, now)
            if given_up is None:
                raise full
            self.left(given_up)
            self.turn_away(given_up, Rejected(Code.RATE, "its place was needed"))
        self._lines.setdefault(share, {})[transport] = now
        self._share[transport] = share

    def let_in(self, transport: Transport) -> None:
        """He is no stranger any more, and keeps his place. One who has lost it meanwhile does not get it back."""
        if self._forget(transport):
            self._inside.add(transport)

    def left(self, transport: Transport) -> None:
        """His connection has ended."""
        self._inside.discard(transport)
        self._forget(transport)
        if self._crowd is not None and 2 * len(self) <= self.limit:
            self._crowd.over()
            self._crowd = None

    def turn_away(self, transport: Transport, no: Rejected) -> None:
        """Closes a connection and says why, or drops it if too many are being told at once."""
        abort = getattr(transport, "abort", None)
        if abort is not None and self._leaving >= LINGERING:
            abort()
        else:
            self._leaving += 1
            self._run(self._close(transport, no), "turned away")

    async def _close(self, transport: Transport, no: Rejected) -> None:
        try:
            await transport.close(close_code(no.code), str(no))
        finally:
            self._leaving -= 1

    def _yielding(self, share: str, now: float) -> Transport | None:
        """The stranger who has to make room for one of this share, if there is one."""
        if not self._lines:
            return None
        greediest = max(self._lines, key=lambda each: len(self._lines[each]))
        line = self._lines[greediest]
        oldest, since = next(iter(line.items()))
        is_fairer = len(line) > len(self._lines.get(share, ())) + 1
        return oldest if is_fairer or now - since >= GRACE else None

    def _forget(self, transport: Transport) -> bool:
        share = self._share.pop(transport, None)
        if share is None:
            return False
        line = self._lines[share]
        del line[transport]
        if not line:
            del self._lines[share]
        return True

    def _crowded(self, full: Rejected) -> None:
        """Told to the log once, until half of the places are free again."""
        if self._crowd is None:
            strangers = len(self._share)
            self._crowd = Outage(f"{self._who} turns connections away ({strangers} have not been let in)", full)
