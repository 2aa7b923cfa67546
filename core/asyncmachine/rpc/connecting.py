"""The life of a client's connection, as the handlers of its machine.

::

    Start ─▶ Connecting ─▶ Connected, Handshaking ─▶ HandshakeDone, Ready
                ▲                  │ drop
                └── RetryingConn ◀─┴─ Disconnected

Each state's handler does that state's work, so `Connecting`, `Disconnecting` and `Disconnected` may be added by hand.
What goes on in a connection is in `connections`.
"""

from __future__ import annotations

import asyncio
from typing import Final

from asyncmachine.machine.args import ErrorArgs
from asyncmachine.machine.event import Event
from asyncmachine.machine.wait import wait_any
from asyncmachine.rpc.backoff import Backoff
from asyncmachine.rpc.connections import Connections
from asyncmachine.rpc.errors import ForeignSource, HandshakeFailed, PeerFault, PeerSilent, Rejected
from asyncmachine.rpc.outages import Outage
from asyncmachine.rpc.pause import Pause
from asyncmachine.rpc.readiness import end_foreign
from asyncmachine.rpc.transport import GOING_AWAY, CertificateRefused, Transport, TransportClosed

DIAL_TIMEOUT: Final = 3.0
"""Seconds for one attempt to connect."""

GOODBYE_TIMEOUT = 5.0
"""Seconds that Disconnecting may take."""

_NO_CONNECTION: Final = (TransportClosed, Rejected, HandshakeFailed, PeerFault, PeerSilent)
"""What an attempt ends with that comes to nothing."""


class Connecting:
    """Handlers of `ClientStates`. `pause` is the shortest time until the next attempt, as a server has asked for it.

    `where` tells the log of what there is no connection to.
    """

    __slots__ = (
        "_attempt",
        "_backoff",
        "_connections",
        "_lost_at",
        "_outage",
        "_pause",
        "_transport",
        "_where",
        "pause",
    )

    def __init__(self, connections: Connections, backoff: Backoff, where: str) -> None:
        self.pause = 0.0
        self._connections = connections
        self._backoff = backoff
        self._transport: Transport | None = None
        self._attempt = 0
        self._lost_at = 0.0
        self._pause = Pause()
        self._outage: Outage | None = None
        self._where = where

    def nudge(self) -> None:
        """Ends the pause between two attempts."""
        self._pause.nudge()

    def StartState(self, e: Event) -> None:
        self._outage = None
        self._begin_anew()

    async def ConnectingState(self, e: Event) -> None:
        try:
            self._transport = transport = await self._connections.dialled()
        except TransportClosed as failure:
            e.machine.add_err(failure, state="ErrNetwork", e=e)
            if isinstance(failure, CertificateRefused):
                e.add("ConnRetryFailed")
            return
        if e.add("Connected").canceled:
            self._transport = None
            await transport.close(GOING_AWAY)

    def ConnectedState(self, e: Event) -> None:
        transport, self._transport = self._transport, None
        if transport is None:
            e.add("Disconnected")
        else:
            self._connections.begin(transport, e.machine)

    def StartEnd(self, e: Event) -> None:
        self._connections.give_up()

    def ConnectedEnd(self, e: Event) -> None:
        self._connections.hang_up()
        self._connections.connection = None

    def HandshakeDoneState(self, e: Event) -> None:
        if self._outage is not None:
            self._outage.over()
            self._outage = None
        if isinstance(e.machine.err, _NO_CONNECTION):
            e.machine._err = None
        self._begin_anew()

    async def DisconnectingState(self, e: Event) -> None:
        if self._connections.task is not None:
            await asyncio.wait([self._connections.task], timeout=GOODBYE_TIMEOUT)
        e.add("Disconnected")

    def DisconnectedState(self, e: Event) -> None:
        if "Start" not in e.machine:
            return
        if not self._connections.reconnect:
            e.remove("Start")
        elif "Disconnecting" not in e.tx.active_before:
            e.add("RetryingConn")

    async def RetryingConnState(self, e: Event) -> None:
        """Tries until it is connected, which removes this state and ends the loop, or until the back-off gives up."""
        loop = asyncio.get_running_loop()
        if self._attempt == 0:
            self._lost_at = loop.time()
        while True:
            delay = self._backoff.delay(self._attempt, loop.time() - self._lost_at)
            if delay is None:
                e.add("ConnRetryFailed")
                return
            self._attempt += 1
            await self._pause.wait(max(delay, self.pause))
            e.add("Connecting")
            await wait_any(e.machine.when_not("Connecting"), e.machine.when_not("Start"))

    def ConnRetryFailedState(self, e: Event) -> None:
        self._attempt = 0

    def CallRetryFailedState(self, e: Event) -> None:
        e.remove("CallRetryFailed")

    def ExceptionEnter(self, e: Event) -> bool:
        """A client that has left takes no notice of its connection's end."""
        error = e.args_or_none(ErrorArgs)
        leaving = "Disconnecting" in e.machine or "Start" not in e.machine
        return not (leaving and error is not None and isinstance(error.err, TransportClosed))

    def ExceptionState(self, e: Event) -> None:
        error = e.args_or_none(ErrorArgs)
        if (
            error is not None
            and isinstance(error.err, _NO_CONNECTION)
            and self._outage is None
            and "HandshakeDone" not in e.tx.active_before
        ):
            self._outage = Outage(f"{e.machine.id} cannot connect{self._where}", error.err)
        if error is not None and isinstance(error.err, ForeignSource):
            end_foreign(e.machine, error.err)
        e.remove("Exception")

    def ServerPayloadState(self, e: Event) -> None:
        e.remove("ServerPayload")

    def _begin_anew(self) -> None:
        self._attempt, self.pause = 0, 0.0
        self._pause.reset()
