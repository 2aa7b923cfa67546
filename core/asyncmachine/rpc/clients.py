"""Those who were let in by one server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from asyncmachine.rpc import messages as m
from asyncmachine.rpc.errors import Code, DeliveryFailed, Rejected
from asyncmachine.rpc.grants import Allow, Grants, decide
from asyncmachine.rpc.running import Link
from asyncmachine.rpc.served import ServedClient
from asyncmachine.rpc.transport import Peer

T = TypeVar("T")

RETRY_AFTER: Final = 1.0
"""Seconds after which a client that is refused for now may try again."""


class Clients:
    """The clients there are, at most `limit` at once. Ids are unique among them, and among servers of one mux."""

    __slots__ = ("_asking", "_by_connection", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._by_connection: dict[Link, ServedClient] = {}
        self._asking = ""

    def __len__(self) -> int:
        return len(self._by_connection)

    def __iter__(self) -> Iterator[ServedClient]:
        return iter(tuple(self._by_connection.values()))

    @property
    def ids(self) -> tuple[str, ...]:
        """Their ids, in the order they came."""
        return tuple([client.id for client in self._by_connection.values()])

    @property
    def asker(self) -> str:
        """The id of the one whose request is acted on now."""
        return self._asking

    def at(self, connection: Link) -> ServedClient | None:
        """The one on this connection."""
        return self._by_connection.get(connection)

    def named(self, id: str) -> ServedClient | None:
        """The one with this id."""
        return next((client for client in self._by_connection.values() if client.id == id), None)

    def admit(self, hello: m.Hello, peer: Peer, allow: Allow | None, beside: bytes | None = None) -> Grants:
        """What a new client may do. Raises `Rejected`, with the cause if the application's `allow` has failed.

        `beside` is the number of the session of one with its id at another server that shares sessions with this one.
        """
        lowest, highest = hello.versions
        if not lowest <= m.VERSION <= highest:
            raise Rejected(Code.VERSION, f"versions {lowest} to {highest} are offered, {m.VERSION} is spoken")
        try:
            grants = decide(allow, hello.id, hello.token, peer)
        except Exception as error:
            raise Rejected(Code.INTERNAL, "the decision about this client failed", RETRY_AFTER) from error
        if grants is None:
            raise Rejected(Code.FORBIDDEN, f"{hello.id} is not let in")
        same = self.named(hello.id)
        held = beside if same is None else same.connection.session.id
        # Only the client itself knows the number of its session.
        if held is not None and (hello.resume is None or hello.resume.session != held):
            raise Rejected(Code.BUSY, f"there is a client {hello.id} already", RETRY_AFTER)
        if same is None and len(self) >= self.limit:
            raise Rejected(Code.BUSY, f"no more than {self.limit} at a time, there is {self.ids[0]}", RETRY_AFTER)
        return grants

    def add(self, client: ServedClient) -> None:
        """Notes that a client was let in."""
        self._by_connection[client.connection] = client

    def remove(self, connection: Link) -> ServedClient | None:
        """Notes that a connection has ended; returns the client that was on it, if any."""
        return self._by_connection.pop(connection, None)

    def asking(self, client: ServedClient, act: Callable[[T], None], request: T) -> None:
        """Acts on a request of this client. While that lasts, payloads without a destination are for it."""
        before, self._asking = self._asking, client.id
        try:
            act(request)
        finally:
            self._asking = before

    def destination(self, wanted: str) -> str:
        """Whom a payload is for, empty for whoever comes. Raises `DeliveryFailed` if that cannot be told."""
        if self.limit == 1:
            if wanted and len(self) and wanted not in self.ids:
                raise DeliveryFailed(Code.REFUSED, f"the payload is for {wanted!r}, connected is {self.ids[0]!r}")
            return wanted
        if not (wanted or self._asking):
            raise DeliveryFailed(
                Code.REFUSED, "there are several clients, and none of them is asking: name a destination"
            )
        return wanted or self._asking
