"""What a server does with the events of its sessions: they become clients, mutations, answers and states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.clients import RETRY_AFTER
from asyncmachine.rpc.errors import Code, Rejected, close_code
from asyncmachine.rpc.refusals import Refusals
from asyncmachine.rpc.running import Link
from asyncmachine.rpc.served import ServedClient
from asyncmachine.rpc.states import ClientInfo
from asyncmachine.rpc.states import ServerStates as S

if TYPE_CHECKING:
    from asyncmachine.rpc.server import Server


class ServerEvents:
    """Hands each event to the client, or the part of the server, that it is for."""

    __slots__ = ("_server",)

    def __init__(self, server: Server) -> None:
        self._server = server

    def react(self, connection: Link, event: e.Event) -> None:
        """To an event of a connection. Those of one that was not let in, or was left, do not count."""
        if isinstance(event, e.HelloReceived):
            self._greet(connection, event.hello)
            return
        client = self._server._clients.at(connection)
        if client is not None:
            self._react(client, event)

    def _react(self, client: ServedClient, event: e.Event) -> None:
        server = self._server
        match event:
            case e.MutationRequested():
                server._clients.asking(client, client.run, event)
            case e.AnswerRequested():
                client.answer_again(event)
            case e.CanRequested():
                server._clients.asking(client, client.can, event)
            case e.ArgsRequested():
                client.tell_args(event.id)
            case e.WatchRequested():
                client.watch(event)
            case e.WatchEnded():
                client.watched.end(event.token)
            case e.ByeReceived():
                client.has_left = True
            case e.PayloadSettled():
                server._sending.settled(event)
            case e.PayloadWanted():
                server._sending.wanted(client, event)
            case e.SyncRequested():
                client.sync(event.id)
                server.machine.add(S.MetricSync)
            case e.Established():
                client.established()
                server.machine.add(S.HandshakeDone, info_of(client))
                server._sending.resume(client)
            case e.SessionFailed():
                server.machine.add_err(event.error)

    def _greet(self, connection: Link, hello: m.Hello) -> None:
        server = self._server
        try:
            if server._draining or "RpcReady" not in server.machine:
                raise Rejected(Code.SHUTDOWN, "the server is stopping", RETRY_AFTER)
            client = server._greeting.let_in(connection, hello, server.push_interval)
        except Rejected as no:
            if no.__cause__ is not None:
                server.machine.add_err(no.__cause__)
            server._refusals = server._refusals or Refusals()
            peer = connection.transport.peer
            server._refusals.tell(server.machine.id, hello.id, peer.address, no, connection.now)
            connection.session.reject(no.code, no.message, no.retry_after)
            connection.close(close_code(no.code), str(no))
            return
        if server._places is not None:
            server._places.let_in(connection.transport)
        # The errors of an earlier connection end with a new one; ErrNetwork would refuse ClientConnected.
        server.machine.remove(S.Exception)
        server.machine.add((S.ClientConnected, S.Handshaking), info_of(client))


def info_of(client: ServedClient) -> ClientInfo:
    """Who it is, as arguments of the server's states."""
    return ClientInfo(client.id, client.connection.transport.peer.address)
