"""How a server takes a client in: what it may do, what they agree on, what it sees, and its welcome."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from asyncmachine.machine.errors import AmError
from asyncmachine.machine.view import View
from asyncmachine.rpc import compression
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.clients import Clients
from asyncmachine.rpc.errors import Code, Rejected, TooLarge, Unsendable
from asyncmachine.rpc.exposure import Exposure, epoch_of
from asyncmachine.rpc.features import STEPS, chosen
from asyncmachine.rpc.grants import Allow
from asyncmachine.rpc.loose import LooseArgs
from asyncmachine.rpc.running import Link
from asyncmachine.rpc.served import ServedClient
from asyncmachine.rpc.sessions import Sessions
from asyncmachine.rpc.tracing import Tracing
from asyncmachine.rpc.upstream import link_of

_ADVICE: Final = "give the client the schema, or let it follow fewer states"


class Greeting:
    """Answers HELLO for one server.

    `replaced(connection)` ends the one on which the same client was before. With `shares` the sessions are those of
    several servers. `failed` is told of clocks that cannot be sent.
    """

    __slots__ = (
        "_allow", "_clients", "_compression", "_failed", "_loose", "_replaced", "_sessions", "_shares", "_source",
        "_tracing",
    )  # fmt: skip

    def __init__(
        self,
        source: View[Any],
        clients: Clients,
        sessions: Sessions,
        allow: Allow | None,
        tracing: Tracing | None,
        compression: bool | None,
        failed: Callable[[AmError], object],
        replaced: Callable[[Link], None],
        *,
        shares: bool,
        loose: LooseArgs | None,
    ) -> None:
        self._source = source
        self._clients = clients
        self._sessions = sessions
        self._allow = allow
        self._tracing = tracing
        self._compression = compression
        self._failed = failed
        self._replaced = replaced
        self._shares = shares
        self._loose = loose

    @property
    def is_open(self) -> bool:
        """Whether nothing decides who is let in."""
        return self._allow is None

    def let_in(self, connection: Link, hello: m.Hello, push_interval: float) -> ServedClient:
        """Welcomes a client. Raises `Rejected`, with a cause if something here has failed."""
        peer = connection.transport.peer
        if self._source.is_disposed:
            raise Rejected(Code.SHUTDOWN, f"the source {self._source.id!r} was disposed of")
        grants = self._clients.admit(hello, peer, self._allow, self._sessions.connected_as(hello.id))
        same = self._clients.named(hello.id)
        if same is not None:
            self._replaced(same.connection)
        zlib = compression.wanted(self._compression, peer, dialled=False)
        features = chosen(hello.features, steps=hello.sync.steps, zlib=zlib, upstream=link_of(self._source) is not None)
        sync = hello.sync if STEPS in features else replace(hello.sync, steps=False)
        exposure = Exposure(self._source.schema, grants, sync)
        client = ServedClient(
            self._source, connection, hello.id, exposure, push_interval, self._failed, self._tracing, self._loose
        )
        before = self._sessions.claim(hello, exposure)
        try:
            client.welcome(hello, features, epoch_of(self._source), before)
        except Unsendable as error:
            if before is not None:
                before.watched.close()  # nothing continues it any more
            if isinstance(error, TooLarge):
                raise Rejected(Code.TOO_LARGE, f"{error}; {_ADVICE}") from error
            raise Rejected(Code.INTERNAL, str(error)) from error
        self._clients.add(client)
        if self._shares:
            self._sessions.connected(client, partial(self._replaced, connection))
        return client
