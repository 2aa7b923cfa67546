"""Where the connections of a server come from, if they are not given to it: an address, or a relay that it dials."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from asyncmachine.machine.machine import Machine
from asyncmachine.rpc.clients import Clients
from asyncmachine.rpc.errors import Misuse, Rejected
from asyncmachine.rpc.options import check_function, check_place
from asyncmachine.rpc.outages import where
from asyncmachine.rpc.own_loop import OwnLoop
from asyncmachine.rpc.pause import Pause
from asyncmachine.rpc.places import Places
from asyncmachine.rpc.probing import WITHIN
from asyncmachine.rpc.running import Link
from asyncmachine.rpc.sending import Sending
from asyncmachine.rpc.states import ServerStates
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport import Dial, Listen, Transport, TransportClosed
from asyncmachine.rpc.transport.addresses import listen as listen_at


class Arriving:
    """What `server` adds the clients to."""

    machine: Machine[ServerStates]
    _clients: Clients
    _connections: dict[Link, None]
    _dial: Dial | None
    _listen: Listen | None
    _loop: OwnLoop
    _pause: Pause
    _places: Places | None
    _sending: Sending
    _strangers: int
    _tasks: dict[asyncio.Task[Any], None]
    _where: str

    async def serve(self, transport: Transport) -> TransportClosed:
        """Serves one connection to its end, and returns how it ended."""
        raise NotImplementedError

    def listen(self, dial: Dial) -> None:
        """Gets connections itself: dials, serves, and dials again with back-off. Needs a running loop."""
        check_function("dial", dial, "connects")
        self._check_idle()
        self._dial = dial
        self._begin(S.WebSocketTunnel)

    def serve_at(self, listen: Listen | str) -> None:
        """Takes connections at an address (``tcp://127.0.0.1:0``, or a function that opens a listener).

        `RpcReady` then comes with the address, as `Listening` arguments. Needs a running loop. Raises `Misuse` for a
        server that has begun already, as `listen` does.
        """
        check_place("listen", listen, "opens a listener")
        self._check_idle()
        self._listen = listen_at(listen) if isinstance(listen, str) else listen
        self._where = where("at", listen)
        self._places = Places(self._clients.limit + self._strangers, self.machine.id, self._run)
        self._begin()

    def retry_now(self) -> None:
        """Ends the pause before a listening server dials again: the network is back, or the page is visible again.

        The connection that it has may have gone without a word: the client is asked, as by `Client.probe`.
        """
        self._pause.nudge()
        if self._dial is not None:
            self._loop.call(self._probe)

    # Inside

    def _check_idle(self) -> None:
        if "Start" in self.machine:
            raise Misuse(f"{self.machine.id} serves already: stop it first, or make another server for another place")

    def _entered(self) -> None:
        self._loop.enter()
        self._sending.started()

    def _begin(self, *states: S) -> None:
        self._entered()
        self.machine.add((S.Start, *states))

    def _arrived(self, transport: Transport) -> None:
        assert self._places is not None
        try:
            self._places.take(transport)
        except Rejected as no:
            self._places.turn_away(transport, no)
            return
        self._run(self.serve(transport), "serve")

    def _run(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work, name=f"{self.machine.id}.{name}")
        self._tasks[task] = None
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        self._note_end()

    def _probe(self) -> None:
        for connection in tuple(self._connections):
            connection.probe(WITHIN)

    def _note_end(self) -> None:
        """A task has ended: it may have been the last."""
        raise NotImplementedError
