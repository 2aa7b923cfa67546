"""The server: exposes one machine to one client at a time.

It is given connections (`serve`), or gets them from a relay itself (`listen`). What it does shows in `server.machine`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from secrets import token_bytes
from typing import Any

from asyncmachine.machine.drain import Source, source_of
from asyncmachine.machine.errors import SchemaError
from asyncmachine.machine.event import Event as MachineEvent
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.mutation import MutationSource
from asyncmachine.machine.result import Result
from asyncmachine.machine.view import View
from asyncmachine.machine.wait import Wait
from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.backoff import Backoff, default_backoff
from asyncmachine.rpc.connection import Connection
from asyncmachine.rpc.errors import Code, Rejected, Unsendable, close_code
from asyncmachine.rpc.exposure import Exposure, epoch_of
from asyncmachine.rpc.grants import Allow, Grants, decide
from asyncmachine.rpc.legality import Role
from asyncmachine.rpc.listening import keep_listening
from asyncmachine.rpc.pause import Pause
from asyncmachine.rpc.sending import Sending
from asyncmachine.rpc.served import ServedClient, check_source
from asyncmachine.rpc.session import Session
from asyncmachine.rpc.states import ClientInfo, ServerPayload, ServerStates
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.timing import Timing, default_timing
from asyncmachine.rpc.transport import Dial, Transport, TransportClosed

RETRY_AFTER = 1.0
"""Seconds after which a client that is refused for now may try again."""


class Server:
    """Exposes `source`. All methods but the coroutines may be called from any thread.

    `push_interval` (seconds) is the shortest time between two pushes, 0 for none: then a mirror learns of changes with
    the answers to its own mutations only. `allow(id, token, peer)` decides who may do what.
    """

    def __init__(
        self,
        source: View[Any],
        name: str = "",
        push_interval: float = 0.25,
        allow: Allow | None = None,
        parent: View[Any] | None = None,
        *,
        timing: Timing | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        if problem := check_source(source):
            raise SchemaError(problem)
        self.source = source
        self.push_interval = push_interval
        self._allow = allow
        self._timing = timing or default_timing()
        self._backoff = backoff or default_backoff()
        self._pause = Pause()
        self._client: ServedClient | None = None
        self._connections: set[Connection] = set()
        self._dial: Dial | None = None
        self._farewell: tuple[str, bool] = ("", True)
        self._stopped: list[Wait] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.machine = Machine(
            ServerStates, _Handlers(self), id=f"rs-{name or 'rpc'}", tags=("rpc-server",), parent=parent
        )
        self._sending = Sending(lambda: self._client, lambda: self._loop, self._in_loop, self.machine.add_err)
        self.machine.on_dispose(lambda _: self.stop())

    # Lifetime

    async def serve(self, transport: Transport) -> TransportClosed:
        """Serves one connection to its end, and returns how it ended. A second client is told to come back later."""
        self._loop = asyncio.get_running_loop()
        if "Start" not in self.machine:
            self.machine.add(S.Start)
        session = Session(Role.SERVER, self._loop.time(), self._timing)
        connection = Connection(session, transport, self._react, self._drained)
        self._connections.add(connection)
        try:
            return await connection.run()
        finally:
            self._connections.discard(connection)
            self._left(connection)
            self._note_end()

    def listen(self, dial: Dial) -> None:
        """Gets connections itself: dials, serves, and dials again with back-off. Needs a running loop."""
        self._loop = asyncio.get_running_loop()
        self._dial = dial
        self.machine.add((S.Start, S.WebSocketTunnel))

    def retry_now(self) -> None:
        """Ends the pause before a listening server dials again: the network is back, or the page is visible again."""
        self._pause.nudge()

    def stop(self, reason: str = "", *, reconnect: bool = True) -> Wait:
        """Says goodbye and closes all connections; await the returned wait for the end of the last one.

        Without `reconnect` the client is told not to come back. Payloads that nobody has taken fail.
        """
        self._farewell = (reason, reconnect)
        stopped = Wait()
        self._stopped.append(stopped)
        self.machine.remove(S.Start)
        self._hang_up()
        self._sending.give_up(f"server {self.machine.id} has stopped")
        self._note_end()
        return stopped

    @property
    def client_id(self) -> str:
        """Id of the client that is connected, empty without one."""
        return self._client.id if self._client is not None else ""

    # Payloads

    def send_payload(
        self, name: str, data: Any, e: Source = None, destination: str = "", meta: Mapping[str, Any] | None = None
    ) -> Result:
        """Sends data to the client's consumer: now or once there is a client, and again after a reconnect until taken.

        Awaited, the result tells that the consumer has accepted it, or raises `DeliveryFailed`. `e` stamps the payload
        with the machine and transition it comes from. Raises `Unsendable` for data that would not arrive equal or is
        too large, `DeliveryFailed` if `destination` is not the id of the connected client.
        """
        return self._sending.send(name, data, source_of(e), destination, meta)

    def forward(self, payload: ServerPayload) -> Result:
        """Sends a payload on that came from elsewhere; the consumer sees the original source."""
        origin = MutationSource(payload.source, payload.source_tx)
        return self._sending.send(payload.name, payload.data, origin, "", payload.meta)

    # Events

    def _react(self, connection: Connection, event: e.Event) -> None:
        client = self._client if self._client is not None and self._client.connection is connection else None
        match event:
            case e.HelloReceived():
                self._greet(connection, event.hello)
            case e.MutationRequested() if client is not None:
                client.run(event)
            case e.PayloadSettled():
                self._sending.settled(event)
            case e.SyncRequested() if client is not None:
                client.sync(event.id)
                self.machine.add(S.MetricSync)
            case e.Established() if client is not None:
                client.established()
                self.machine.add(S.HandshakeDone, self._info(client))
                self._sending.resume(client)
            case e.SessionFailed() if client is not None:
                self.machine.add_err(event.error)

    def _greet(self, connection: Connection, hello: m.Hello) -> None:
        try:
            grants = self._judge(connection, hello)
            self._welcome(connection, hello, Exposure(self.source, grants))
        except Rejected as no:
            connection.session.reject(no.code, no.message, no.retry_after)
            connection.close(close_code(no.code), str(no))

    def _judge(self, connection: Connection, hello: m.Hello) -> Grants:
        """What a new client may do. Raises `Rejected`."""
        if "RpcReady" not in self.machine:
            raise Rejected(Code.SHUTDOWN, "the server is stopping", RETRY_AFTER)
        lowest, highest = hello.versions
        if not lowest <= m.VERSION <= highest:
            raise Rejected(Code.VERSION, f"versions {lowest} to {highest} are offered, {m.VERSION} is spoken")
        try:
            grants = decide(self._allow, hello.id, hello.token, connection.transport.peer)
        except Exception as error:
            self.machine.add_err(error)
            raise Rejected(Code.INTERNAL, "the decision about this client failed", RETRY_AFTER) from error
        if grants is None:
            raise Rejected(Code.FORBIDDEN, f"{hello.id} is not let in")
        current = self._client
        if current is not None and not _replaces(hello, current):
            raise Rejected(Code.BUSY, f"one client at a time, there is {current.id}", RETRY_AFTER)
        return grants

    def _welcome(self, connection: Connection, hello: m.Hello, exposure: Exposure) -> None:
        client = ServedClient(self.source, connection, hello.id, exposure, self.push_interval, self.machine.add_err)
        try:
            client.welcome(hello, token_bytes(8), epoch_of(self.source))
        except Unsendable as error:
            self.machine.add_err(error)
            raise Rejected(Code.INTERNAL, str(error)) from error
        if self._client is not None:
            # The same client over a new connection: the old one is dead, this side only has not noticed yet.
            old = self._client.connection
            self._left(old)
            old.close(close_code(Code.STALE_SESSION), f"{Code.STALE_SESSION}: replaced by a new connection")
        self._client = client
        # The errors of an earlier connection end with a new one; ErrNetwork would refuse ClientConnected.
        self.machine.remove(S.Exception)
        self.machine.add((S.ClientConnected, S.Handshaking), self._info(client))

    def _info(self, client: ServedClient) -> ClientInfo:
        return ClientInfo(client.id, client.connection.transport.peer.address)

    def _drained(self) -> None:
        if self._client is not None:
            self._client.drained()

    def _in_loop(self, function: Callable[..., None], *args: object) -> None:
        if self._loop is None or asyncio._get_running_loop() is self._loop:
            function(*args)
        else:
            self._loop.call_soon_threadsafe(function, *args)

    def _left(self, connection: Connection) -> None:
        client = self._client
        if client is not None and client.connection is connection:
            self._client = None
            client.close()
            self.machine.remove(S.ClientConnected, self._info(client))

    def _hang_up(self) -> None:
        reason, reconnect = self._farewell
        for connection in tuple(self._connections):
            connection.session.bye(reason, reconnect=reconnect)
            connection.close(close_code(Code.SHUTDOWN), reason)

    def _note_end(self) -> None:
        if not self._connections:
            stopped, self._stopped = self._stopped, []
            for wait in stopped:
                wait._end()


def _replaces(hello: m.Hello, current: ServedClient) -> bool:
    """Whether this is the current client once more: only it knows the number of its session."""
    return hello.resume is not None and hello.resume.session == current.connection.session.id


class _Handlers:
    """What the server's states do."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def StartState(self, e: MachineEvent) -> None:
        dial = self._server._dial
        if dial is not None:
            server = self._server
            listening = keep_listening(server.machine, dial, server.serve, server._backoff, server._pause)
            e.scope.create_task(listening, name=f"{e.machine.id}.listen")

    def StartEnd(self, e: MachineEvent) -> None:
        self._server._hang_up()

    def RpcStartingState(self, e: MachineEvent) -> None:
        if self._server._dial is None:
            e.add("RpcAccepting")

    def RpcAcceptingState(self, e: MachineEvent) -> None:
        e.add("RpcReady")

    def ClientConnectedEnd(self, e: MachineEvent) -> None:
        client = self._server._client
        if client is not None and "Start" in e.machine:
            client.connection.close(close_code(Code.INTERNAL), "the server dropped the client")

    def HandshakeDoneState(self, e: MachineEvent) -> None:
        e.remove("Exception")

    def MetricSyncState(self, e: MachineEvent) -> None:
        e.remove("MetricSync")
