"""The server: exposes one machine to one client at a time, or to several.

It is given connections (`serve`), takes them at an address (`serve_at`), or gets them from a relay (`listen`): the last
two are in `arriving`. What it does shows in `server.machine`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Any, Final

from asyncmachine.machine.args import Args
from asyncmachine.machine.errors import SchemaError
from asyncmachine.machine.mutation import MutationSource
from asyncmachine.machine.view import View
from asyncmachine.machine.wait import Wait
from asyncmachine.rpc.answering import ServerSession
from asyncmachine.rpc.arriving import Arriving
from asyncmachine.rpc.backoff import Backoff, default_backoff
from asyncmachine.rpc.chunks import CHUNK, MAX_PAYLOAD
from asyncmachine.rpc.clients import Clients
from asyncmachine.rpc.connection import Connection
from asyncmachine.rpc.counters import Statistics
from asyncmachine.rpc.errors import Code, close_code
from asyncmachine.rpc.exposure import check_source
from asyncmachine.rpc.grants import Allow
from asyncmachine.rpc.greeting import Greeting
from asyncmachine.rpc.loose import LooseArgs
from asyncmachine.rpc.made_with import check_server
from asyncmachine.rpc.options import check_seconds
from asyncmachine.rpc.own_loop import OwnLoop
from asyncmachine.rpc.own_machine import own_machine
from asyncmachine.rpc.pause import Pause
from asyncmachine.rpc.payload_sender import PayloadSender
from asyncmachine.rpc.places import MAX_CONNECTIONS, Places
from asyncmachine.rpc.refusals import Refusals
from asyncmachine.rpc.remote_result import Delivery
from asyncmachine.rpc.running import Link
from asyncmachine.rpc.sending import Sending
from asyncmachine.rpc.server_events import ServerEvents, info_of
from asyncmachine.rpc.serving import ServerHandlers
from asyncmachine.rpc.sessions import Sessions
from asyncmachine.rpc.states import ServerPayload, ServerStates
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.timing import Timing, default_timing
from asyncmachine.rpc.tracing import Tracing
from asyncmachine.rpc.transport import Dial, Listen, Transport, TransportClosed

DRAIN: Final = 10.0
"""Seconds that clients have to go over to another server, unless told otherwise."""


class Server(Arriving, PayloadSender):
    """Exposes `source`. All methods but the coroutines may be called from any thread.

    `push_interval` (seconds) is the shortest time between two pushes, 0 for none: then a mirror learns of changes with
    the answers to its own mutations only. `allow(id, token, peer)` decides who may do what. `clients` is how many there
    may be at once; each needs an id of its own, and further ones are told to come back later. Servers with the same
    `sessions` continue each other's sessions: a payload goes on where its client comes back, or fails if that has not
    happened `Timing.keep` seconds after its server has stopped. With `tracing` mutations and payloads carry the trace
    they belong to. `compression` of large frames is used if the client offers it; None: only where they travel a
    network. Payloads may have `max_payload` bytes; those larger than a frame go in chunks of `chunk` bytes (at most
    256 KiB). `args` are classes of typed records: of a state that has one of them, loose arguments are made into that
    record and checked before they come to a handler. At an address of its own (`serve_at`) it has places for
    `strangers` beside its clients: connections that have not been let in (see `places`).
    """

    def __init__(
        self,
        source: View[Any],
        name: str = "",
        push_interval: float = 0.25,
        allow: Allow | None = None,
        parent: View[Any] | None = None,
        *,
        clients: int = 1,
        timing: Timing | None = None,
        backoff: Backoff | None = None,
        tracing: Tracing | None = None,
        sessions: Sessions | None = None,
        compression: bool | None = None,
        max_payload: int = MAX_PAYLOAD,
        chunk: int = CHUNK,
        args: Collection[type[Args]] | None = None,
        strangers: int = MAX_CONNECTIONS,
    ) -> None:
        if problem := check_source(source):
            raise SchemaError(problem)
        check_server(
            name, push_interval, allow, clients, max_payload, args, strangers,
            sessions=sessions, timing=timing, backoff=backoff, parent=parent, compression=compression,
        )  # fmt: skip
        self.source = source
        self._push_interval = push_interval
        self._timing = timing or default_timing()
        self._backoff = backoff or default_backoff()
        self._pause = Pause()
        self._clients = Clients(clients)
        self._owns_sessions = sessions is None
        self._sessions = Sessions(self._timing.keep) if sessions is None else sessions
        self._connections: dict[Link, None] = {}  # an empty set takes three times as much
        self._draining = False
        self._accepting: asyncio.Task[Any] | None = None
        self._dial: Dial | None = None
        self._listen: Listen | None = None
        self._where = ""
        self._places: Places | None = None
        self._refusals: Refusals | None = None
        self._strangers = strangers
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._farewell: tuple[str, bool] = ("", True)
        self._stopped: tuple[Wait, ...] = ()
        self._loop = OwnLoop()
        self._events = ServerEvents(self)
        self.machine = own_machine(ServerStates, ServerHandlers(self), f"rs-{name or 'rpc'}", "rpc-server", parent)
        failed = self.machine.add_err
        self._sending = Sending(
            self._clients, self._loop.get, self._loop.call, failed, tracing, max_payload, chunk, sessions
        )
        self._greeting = Greeting(
            source, self._clients, self._sessions, allow, tracing, compression, failed, self._replaced,
            shares=sessions is not None, loose=None if args is None else LooseArgs(args),
        )  # fmt: skip
        self.machine.on_dispose(self._disposed)

    # Lifetime

    async def serve(self, transport: Transport) -> TransportClosed:
        """Serves one connection to its end, and returns how it ended. A client too many is told to come back later."""
        self._entered()
        if "Start" not in self.machine:
            self.machine.add(S.Start)
        session = ServerSession(asyncio.get_running_loop().time(), self._timing)
        connection = Connection(session, transport, self._events.react)
        self._connections[connection] = None
        try:
            return await connection.run()
        finally:
            self._connections.pop(connection, None)
            if self._places is not None:
                self._places.left(transport)
            self._left(connection)
            self._note_end()

    def stop(self, reason: str = "", *, reconnect: bool = True) -> Wait:
        """Says goodbye and closes all connections; await the returned wait for the end of the last one.

        Without `reconnect` the client is told not to come back. Payloads that nobody has taken fail.
        """
        self._farewell = (reason, reconnect)
        stopped = Wait()
        self._stopped += (stopped,)
        self.machine.remove(S.Start)
        self._hang_up()
        why = f"server {self.machine.id} has stopped"
        self._sending.give_up(why)
        if self._owns_sessions:
            self._sessions.clear(why)
        self._note_end()
        return stopped

    async def drain(self, within: float = DRAIN, reason: str = "") -> None:
        """Asks all clients to make their connections elsewhere, and stops once they have left, or after that time.

        No more are let in, and at an address it listens no more, so that whoever dials it reaches the server that takes
        over. Clients continue their sessions there if both servers share them (`sessions`); else they begin new ones.
        They do so when neither a call nor a large payload is under way. Those who do not know how to go over are served
        until the end. A drain that is cancelled stops the server at once.
        """
        self._draining = True
        try:
            if self._accepting is not None:
                self._accepting.cancel()
            for client in self._clients:
                client.go_away(within, reason)
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self.machine.when_not(S.ClientConnected)
        finally:
            stopped = self.stop(reason)
            self._draining = False
        await stopped

    @property
    def push_interval(self) -> float:
        """Seconds between two pushes, at least; 0 for none. Set, it counts for the clients that come then.

        Raises `InvalidArgs` for what is no such number.
        """
        return self._push_interval

    @push_interval.setter
    def push_interval(self, seconds: float) -> None:
        check_seconds("push_interval", seconds)
        self._push_interval = seconds

    def statistics(self) -> dict[str, Statistics]:
        """Counts of the sessions there are, by the ids of their clients."""
        return {client.id: client.connection.session.statistics(self._loop.now) for client in self._clients}

    @property
    def client_ids(self) -> tuple[str, ...]:
        """Ids of the clients that are connected, in the order they came."""
        return self._clients.ids

    # Payloads

    def forward(self, payload: ServerPayload) -> Delivery:
        """Sends a payload on that came from elsewhere; the consumer sees the original source."""
        origin = MutationSource(payload.source, payload.source_tx)
        return self._sending.send(payload.name, payload.data, origin, "", payload.meta)

    # Inside

    def _sender(self, destination: str) -> tuple[Sending, str]:
        return self._sending, destination

    def _disposed(self, _: str) -> None:
        self.stop()

    def _left(self, connection: Link) -> None:
        client = self._clients.remove(connection)
        if client is not None:
            client.close()
            self._sessions.ended(client)
            if client.has_left or "Start" not in self.machine:
                client.watched.close()
            else:
                self._sessions.park(client)
            self._sending.left(client)
            if not self._clients:
                self.machine.remove(S.ClientConnected, info_of(client))

    def _replaced(self, connection: Link) -> None:
        """The same client over a new connection: this one is dead, or was left, and only has not ended yet."""
        self._left(connection)
        connection.session.leave()
        connection.close(close_code(Code.STALE_SESSION), f"{Code.STALE_SESSION}: replaced by a new connection")

    def _hang_up(self) -> None:
        reason, reconnect = self._farewell
        for connection in tuple(self._connections):
            connection.session.bye(reason, reconnect=reconnect)
            connection.close(close_code(Code.SHUTDOWN), reason)

    def _note_end(self) -> None:
        if not (self._connections or self._tasks):
            stopped, self._stopped = self._stopped, ()
            for wait in stopped:
                wait._end()
