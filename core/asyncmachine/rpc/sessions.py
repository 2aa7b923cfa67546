"""Sessions that have lost their connection, kept for a while so that their clients can continue them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from asyncmachine.machine.errors import AmError
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.exposure import Exposure
from asyncmachine.rpc.served import ServedClient
from asyncmachine.rpc.stranded import Stranded

LIMIT: Final = 1024
"""Sessions that are kept at most; the oldest goes first."""

BYTES: Final = 32 << 20
"""What they may weigh together, in memory; the heaviest goes first, so that one client costs no other its session."""


class Sessions:
    """By session number, which only the client and its server know.

    Where several servers share them, those that have a connection are noted too, by the ids of their clients, which are
    unique among all these servers: a client may make its next one before the end of the first was seen, at another
    server than that of the first. What such servers owe to clients that are
    away is `stranded`; `failed(error)` is told of it if nobody awaits it.
    """

    __slots__ = ("_connected", "_failed", "_keep", "_kept", "_stranded", "_weight")

    def __init__(self, keep: float, failed: Callable[[AmError], object] | None = None) -> None:
        self._keep = keep
        self._failed = failed
        self._stranded: Stranded | None = None
        self._connected: dict[str, tuple[bytes, Callable[[], None]]] = {}
        self._kept: dict[bytes, tuple[ServedClient, asyncio.TimerHandle, int]] = {}
        self._weight = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def stranded(self) -> Stranded:
        """The payloads of clients that are away."""
        if self._stranded is None:
            self._stranded = Stranded(self._keep, self._failed)
        return self._stranded

    def connected(self, client: ServedClient, leave: Callable[[], None]) -> None:
        """Notes a session that goes on; `leave()` ends its connection, and parks it."""
        self._connected[client.id] = client.connection.session.id, leave

    def connected_as(self, id: str) -> bytes | None:
        """The number of the session that the client with this id has at one of the servers that share them."""
        found = self._connected.get(id)
        return None if found is None else found[0]

    def ended(self, client: ServedClient) -> None:
        """The session's connection has ended."""
        if self.connected_as(client.id) == client.connection.session.id:
            del self._connected[client.id]

    def park(self, client: ServedClient) -> None:
        """Keeps the session of a client whose connection was lost."""
        number = client.connection.session.id
        timer = asyncio.get_running_loop().call_later(self._keep, self._forget, number)
        self._kept[number] = client, timer, client.weight
        self._weight += client.weight
        if len(self._kept) > LIMIT:
            self._forget(next(iter(self._kept)))
        while self._weight > BYTES:
            self._forget(max(self._kept, key=lambda number: self._kept[number][2]))

    def claim(self, hello: m.Hello, exposure: Exposure) -> ServedClient | None:
        """The session that a client would like to continue, if it is here and the client may see the same or more."""
        if hello.resume is None:
            return None
        number, leave = self._connected.get(hello.id, (b"", None))
        if leave is not None and number == hello.resume.session:
            leave()
        found = self._kept.get(hello.resume.session)
        if found is None or found[0].id != hello.id:
            return None
        if not exposure.continues(found[0].exposure):
            self._forget(hello.resume.session)
            return None
        return self._drop(hello.resume.session)

    def clear(self, why: str = "the servers have stopped") -> None:
        """Forgets all; payloads that wait fail, which is `why`."""
        for number in tuple(self._kept):
            self._forget(number)
        if self._stranded is not None:
            self._stranded.clear(why)

    def _forget(self, number: bytes) -> None:
        client = self._drop(number)
        if client is not None:
            client.watched.close()

    def _drop(self, number: bytes) -> ServedClient | None:
        client, timer, weight = self._kept.pop(number, (None, None, 0))
        self._weight -= weight
        if timer is not None:
            timer.cancel()
        return client
