"""What the states of a server do."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from asyncmachine.machine.event import Event
from asyncmachine.rpc.accepting import serve_arrivals
from asyncmachine.rpc.errors import Code, close_code
from asyncmachine.rpc.listening import keep_listening
from asyncmachine.rpc.states import Listening

if TYPE_CHECKING:
    from asyncmachine.rpc.server import Server


class ServerHandlers:
    """Handlers of `ServerStates`."""

    __slots__ = ("_server",)

    def __init__(self, server: Server) -> None:
        self._server = server

    def StartState(self, e: Event) -> None:
        work = self._work()
        if work is not None:
            task = self._server._run(work, "listen")
            e.scope.adopt(task)
            if self._server._dial is None:
                self._server._accepting = task

    def StartEnd(self, e: Event) -> None:
        self._server._hang_up()

    def RpcStartingState(self, e: Event) -> None:
        if self._server._dial is None and self._server._listen is None:
            e.add("RpcAccepting")

    def RpcAcceptingState(self, e: Event) -> None:
        e.add("RpcReady", e.args_or_none(Listening))

    def ClientConnectedEnd(self, e: Event) -> None:
        for client in self._server._clients:
            if "Start" in e.machine:
                client.connection.close(close_code(Code.INTERNAL), "the server dropped the client")

    def HandshakeDoneState(self, e: Event) -> None:
        e.remove("Exception")

    def MetricSyncState(self, e: Event) -> None:
        e.remove("MetricSync")

    def _work(self) -> Coroutine[Any, Any, None] | None:
        """What goes on as long as Start is active: getting connections, unless they are given."""
        server = self._server
        if server._dial is not None:
            return keep_listening(server.machine, server._dial, server.serve, server._backoff, server._pause)
        if server._listen is not None:
            return serve_arrivals(
                server.machine,
                server._listen,
                server._arrived,
                server._backoff,
                server._where,
                is_open=server._greeting.is_open,
            )
        return None
