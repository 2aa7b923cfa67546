"""Payloads that wait behind a large one, on their way to one client.

Large ones go one after another, each in chunks. What has the name of one that is not sent yet waits for it, so that
payloads of one name arrive in their order; others pass. A chunk is put out when nothing else waits to be sent: clocks
and answers go first.
"""

from __future__ import annotations

from asyncmachine.rpc.answering import ServerSession
from asyncmachine.rpc.connection import Connection
from asyncmachine.rpc.deliveries import Kept
from asyncmachine.rpc.legality import Phase


class Convoy:
    """The payloads that one connection has yet to carry."""

    __slots__ = ("_connection", "_scheduled", "_under_way", "_waiting")

    def __init__(self, connection: Connection[ServerSession]) -> None:
        self._connection = connection
        self._waiting: dict[bytes, Kept] = {}
        self._under_way: Kept | None = None
        self._scheduled = False

    def send(self, kept: Kept) -> None:
        """Sends a payload, now or when it is its turn."""
        if kept.parcel is not None or any(kept.name == other.name for other in self._waiting.values()):
            self._waiting[kept.token] = kept
            self.go_on()
        else:
            self._connection.session.payload(kept.frame)
            self._connection.flush()

    def close(self) -> None:
        """Lets go of everything: the connection has ended."""
        self._waiting.clear()
        self._under_way = None

    def go_on(self) -> None:
        """Something has changed: a payload is settled, more of one is wanted, or there is room on the connection."""
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._connection.soon(self._step)

    def _step(self) -> None:
        # One chunk in each turn of the loop, so that whatever else there is to send comes between.
        self._scheduled = False
        session, connection = self._connection.session, self._connection
        self._let_go()
        if session.phase is not Phase.READY or connection.congested:
            return
        if self._under_way is None:
            self._begin()
        if session.chunk():
            self.go_on()
        connection.flush()

    def _let_go(self) -> None:
        """Forgets what is sent, and what is settled already."""
        session = self._connection.session
        is_sent = session.transfer is not None and session.transfer.is_sent
        for token, kept in tuple(self._waiting.items()):
            current = kept is self._under_way
            if kept.result.done() or (current and is_sent):
                del self._waiting[token]
                if current:
                    self._under_way = session.transfer = None

    def _begin(self) -> None:
        """Sends what waits up to the next large payload, announces that, and sends what may pass it."""
        session = self._connection.session
        blocked: set[str] = set()
        for token, kept in tuple(self._waiting.items()):
            if kept.parcel is not None:
                blocked.add(kept.name)
                if self._under_way is None:
                    self._under_way = kept
                    session.announce(kept.frame, kept.parcel)
            elif kept.name not in blocked:
                del self._waiting[token]
                session.payload(kept.frame)
