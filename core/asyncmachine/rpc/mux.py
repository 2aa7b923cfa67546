"""Many clients at one address: each connection gets a server of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from asyncmachine.machine.args import ErrorArgs
from asyncmachine.machine.errors import AmError, InvalidArgs, SchemaError
from asyncmachine.machine.event import Event
from asyncmachine.machine.view import View
from asyncmachine.machine.wait import Wait
from asyncmachine.rpc.accepting import keep_accepting
from asyncmachine.rpc.backoff import Backoff, default_backoff
from asyncmachine.rpc.chunks import CHUNK, MAX_PAYLOAD
from asyncmachine.rpc.clients import Clients
from asyncmachine.rpc.errors import Code, Rejected, close_code
from asyncmachine.rpc.exposure import check_source
from asyncmachine.rpc.made_with import check_mux, check_server
from asyncmachine.rpc.mux_handlers import MuxHandlers
from asyncmachine.rpc.options import check_names, check_plain_function, check_whole
from asyncmachine.rpc.outages import where
from asyncmachine.rpc.own_loop import OwnLoop
from asyncmachine.rpc.own_machine import own_machine
from asyncmachine.rpc.payload_sender import PayloadSender
from asyncmachine.rpc.places import MAX_CONNECTIONS, Places
from asyncmachine.rpc.readiness import listening_or_failed
from asyncmachine.rpc.refusals import Refusals
from asyncmachine.rpc.sending import Sending
from asyncmachine.rpc.server import DRAIN, Server
from asyncmachine.rpc.sessions import Sessions
from asyncmachine.rpc.states import ClientInfo, Listening, MuxStates
from asyncmachine.rpc.states import MuxStates as M
from asyncmachine.rpc.timing import Timing, default_timing
from asyncmachine.rpc.tracing import Tracing
from asyncmachine.rpc.transport import Listen, Peer, Transport
from asyncmachine.rpc.transport.addresses import listen as listen_at
from asyncmachine.rpc.unguarded import warn_unguarded

logger = logging.getLogger("asyncmachine.rpc")

_CHECKED: Final = frozenset({"push_interval", "allow", "clients", "max_payload", "args", "timing", "compression"})
_OPTIONS: Final = _CHECKED | {"tracing", "chunk"}
"""Of the servers that a mux makes itself. It has places, sessions and a back-off of its own."""

NewServer = Callable[[str, Peer], Server]
"""Makes the server for a connection. It gets the name the server should have, and who is there."""


class Mux(PayloadSender):
    """Listens at `listen` (a text such as ``tcp://127.0.0.1:0``, or a function that opens a listener).

    `serve` is the machine that all clients see, exposed with the further options of `Server`, or a function that makes
    a server for each connection. `limit` is how many connections there may be at once (see `places`). What happens
    shows in `machine`.
    """

    def __init__(
        self,
        serve: View[Any] | NewServer,
        listen: Listen | str,
        name: str = "",
        parent: View[Any] | None = None,
        *,
        limit: int = MAX_CONNECTIONS,
        backoff: Backoff | None = None,
        **server: Any,
    ) -> None:
        self._sessions: Sessions | None = None
        self._sending: Sending | None = None
        self._loop = OwnLoop()
        check_mux(name, listen, limit, backoff, parent)
        if isinstance(serve, View):
            if problem := check_source(serve):
                raise SchemaError(problem)
            check_names("a mux", server, _OPTIONS)
            check_server(name, **{key: server[key] for key in server.keys() & _CHECKED})
            timing: Timing = server.get("timing") or default_timing()
            sessions = self._sessions = Sessions(timing.keep, self._undelivered)
            self._new_server: NewServer = lambda name, _: Server(serve, name, sessions=sessions, **server)
            self._sending = self._new_sending(sessions, **server)
        elif server:
            raise TypeError(f"{', '.join(server)}: give these to the servers that your function makes")
        else:
            check_plain_function("what a mux serves, unless it is a machine,", serve)
            self._new_server = serve
        self.address = ""
        self._name = name or "mux"
        self._listen = listen_at(listen) if isinstance(listen, str) else listen
        self._where = where("at", listen)
        self._backoff = backoff or default_backoff()
        self._made = 0
        self._is_open = isinstance(serve, View) and server.get("allow") is None
        self._servers: dict[str, Server] = {}
        self._admitted: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._refusals = Refusals()
        self._accepting: asyncio.Task[None] | None = None
        self.machine = own_machine(MuxStates, MuxHandlers(self), f"rm-{self._name}", "rpc-mux", parent)
        self._places = Places(limit, self.machine.id, self._run)

    @property
    def servers(self) -> Mapping[str, Server]:
        """The servers of the connections there are, by name."""
        return MappingProxyType(self._servers)

    @property
    def limit(self) -> int:
        """Connections at the same time, those included that have not been let in. Settable."""
        return self._places.limit

    @limit.setter
    def limit(self, limit: int) -> None:
        check_whole("limit", limit, 1)
        self._places.limit = limit

    def start(self) -> None:
        """Begins to listen. Needs a running loop."""
        self._loop.enter()
        if self._sending is not None:
            self._sending.started()
        self.machine.add(M.Start)

    def when_ready(self) -> Wait:
        """Met when it listens; `address` then tells where.

        Ends with `ListenerFailed` when it cannot, as at an address that is taken, or is stopped. It goes on trying to
        listen: `machine.when("Ready")` waits for as long as it takes.
        """
        return listening_or_failed(self.machine, self._where, was_started=self._loop.get() is not None)

    async def stop(self) -> None:
        """Says goodbye to all clients, and returns when the last connection has ended. It can be started again.

        Payloads that nobody has taken fail.
        """
        self.machine.remove(M.Start)
        try:
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            self._fail_the_rest()

    async def drain(self, within: float = DRAIN, reason: str = "") -> None:
        """Asks all clients to make their connections elsewhere (see `Server.drain`), and stops once they have left.

        It is not `Ready` meanwhile. Cancelled, it stops at once.
        """
        self._draining = True
        try:
            if self._accepting is not None:
                self._accepting.cancel()
            self.machine.remove(M.Ready)
            async with asyncio.TaskGroup() as group:
                for server in self._servers.values():
                    group.create_task(server.drain(within, reason))
        except BaseException:
            self.machine.remove(M.Start)
            self._fail_the_rest()
            raise
        finally:
            self._draining = False
        await self.stop()

    # Inside

    def _fail_the_rest(self) -> None:
        why = f"{self.machine.id} has stopped"
        if self._sending is not None:
            self._sending.fail_all(why)
        if self._sessions is not None:
            self._sessions.clear(why)

    def _sender(self, destination: str) -> tuple[Sending, str]:
        if self._sending is None:
            raise TypeError("the servers of this mux are made by a function: send by the one of the client")
        askers = (server._clients.asker for server in tuple(self._servers.values()))
        return self._sending, destination or next(filter(None, askers), "")

    def _new_sending(
        self,
        sessions: Sessions,
        tracing: Tracing | None = None,
        max_payload: int = MAX_PAYLOAD,
        chunk: int = CHUNK,
        **_: Any,
    ) -> Sending:
        """What sends for all servers: it has no clients itself, so each payload is for one of theirs."""
        failed = self._undelivered
        return Sending(Clients(2), self._loop.get, self._loop.call, failed, tracing, max_payload, chunk, sessions)

    def _undelivered(self, error: AmError) -> None:
        self.machine.add(M.DeliveryErr, ErrorArgs(error))

    async def _keep_accepting(self) -> None:
        await keep_accepting(
            self._listen,
            self._arrived,
            opened=self._opened,
            failed=self.machine.add_err,
            backoff=self._backoff,
            what=f"{self.machine.id} cannot take connections{self._where}",
        )
        self.machine.remove(M.Start)  # it has given up

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _hang_up(self) -> None:
        for server in self._servers.values():
            server.stop()

    def _opened(self, address: str) -> None:
        self.address = address
        if self._is_open:
            self._is_open = False  # told once
            warn_unguarded(self.machine.id, address)
        self.machine.remove(M.Exception)
        self.machine.add(M.Ready, Listening(address))

    def _arrived(self, transport: Transport) -> None:
        try:
            if self._draining or M.Start not in self.machine:
                raise Rejected(Code.SHUTDOWN, "the server is stopping")
            self._places.take(transport)
        except Rejected as no:
            self._places.turn_away(transport, no)
            return
        self._made += 1
        name = f"{self._name}-{self._made}"
        self._run(self._serve(name, transport), name)

    async def _serve(self, name: str, transport: Transport) -> None:
        """The life of one connection and its server."""
        try:
            server = self._server_for(name, transport.peer)
        except Rejected as no:
            self._places.left(transport)
            await transport.close(close_code(no.code), str(no))
            return
        admitted = {"ClientConnectedState": partial(self._came, name), "ClientConnectedEnd": partial(self._left, name)}
        self._servers[name] = server
        try:
            server._places, server._refusals = self._places, self._refusals
            server.machine.bind(admitted)
            await server.serve(transport)
        finally:
            del self._servers[name]
            server._sending.tell(self._undelivered)
            server.machine.dispose()
            self._left(name)

    def _server_for(self, name: str, peer: Peer) -> Server:
        """A new server. Raises `Rejected` if the connection has to be turned away."""
        try:
            server = self._checked(self._new_server(name, peer))
        except Exception as error:
            if M.NewServerErr not in self.machine:
                logger.exception("%s cannot make a server for a connection", self.machine.id)
            self.machine.add(M.NewServerErr, ErrorArgs(error))
            raise Rejected(Code.INTERNAL, "no server could be made for this connection") from error
        self.machine.remove(M.NewServerErr)
        return server

    def _checked(self, made: object) -> Server:
        """What the application's function has made. Raises `InvalidArgs` for what cannot serve this connection."""
        if not isinstance(made, Server):
            raise InvalidArgs(f"the function of a mux returns a Server, got {made!r}")
        if made.machine._disposed or made in self._servers.values():
            raise InvalidArgs(f"each connection needs a server of its own, {made.machine.id!r} is that of another one")
        return made

    def _came(self, name: str, e: Event) -> None:
        self._admitted.add(name)
        self.machine.add((M.ClientConnected, M.HasClients), e.args(ClientInfo))

    def _left(self, name: str, e: Event | None = None) -> None:
        self._admitted.discard(name)
        if not self._admitted:
            self.machine.remove(M.HasClients)
