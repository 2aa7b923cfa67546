"""The life of a client's connection, as the handlers of its machine.

::

    Start ─▶ Connecting ─▶ Connected, Handshaking ─▶ HandshakeDone, Ready
                ▲                  │ drop
                └── RetryingConn ◀─┴─ Disconnected

Each state's handler does that state's work, so `Connecting`, `Disconnecting` and `Disconnected` may be added by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from asyncmachine.machine.args import ErrorArgs
from asyncmachine.machine.event import Event
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.wait import wait_any
from asyncmachine.rpc.asking import ClientSession
from asyncmachine.rpc.backoff import Backoff
from asyncmachine.rpc.calling import Link
from asyncmachine.rpc.calls import NEVER
from asyncmachine.rpc.connection import Connection
from asyncmachine.rpc.events import Event as SessionEvent
from asyncmachine.rpc.legality import Phase
from asyncmachine.rpc.messages import Hello, Resume
from asyncmachine.rpc.pause import Pause
from asyncmachine.rpc.timing import Timing, call_at
from asyncmachine.rpc.transport import (
    GOING_AWAY,
    CertificateRefused,
    Dial,
    Peer,
    Transport,
    TransportClosed,
    failed_dial,
)

DIAL_TIMEOUT: Final = 3.0
"""Seconds for one attempt to connect."""

GOODBYE_TIMEOUT = 5.0
"""Seconds that Disconnecting may take."""


class Lost(Protocol):
    """Told of the end of a connection, and whether another one will be made."""

    def __call__(self, session: ClientSession, *, coming_back: bool) -> None: ...


class Connecting:
    """Handlers of `ClientStates`. `connection` is the current one; its session may not be ready yet."""

    __slots__ = (
        "_attempt", "_backoff", "_dial", "_dial_timeout", "_expiry", "_hello", "_last", "_lost", "_lost_at", "_pause",
        "_react", "_reconnect", "_timing", "_transport", "connection", "end", "pause", "session", "task",
    )  # fmt: skip

    def __init__(
        self,
        dial: Dial,
        hello: Callable[[Resume | None, Peer], Hello],
        react: Callable[[Link, SessionEvent], None],
        lost: Lost,
        *,
        timing: Timing,
        backoff: Backoff,
        dial_timeout: float,
        reconnect: bool,
    ) -> None:
        self.connection: Link | None = None
        self.session: ClientSession | None = None
        self.task: asyncio.Task[None] | None = None
        self.pause = 0.0
        self.end: TransportClosed | None = None
        self._dial = dial
        self._hello = hello
        self._react = react
        self._lost = lost
        self._expiry: asyncio.TimerHandle | None = None
        self._timing = timing
        self._backoff = backoff
        self._dial_timeout = dial_timeout
        self._reconnect = reconnect
        self._transport: Transport | None = None
        self._attempt = 0
        self._lost_at = 0.0
        self._last: Link | None = None
        self._pause = Pause()

    def ready_link(self) -> Link | None:
        """The connection if calls may be made on it."""
        found = self.connection
        return found if found is not None and found.session.phase is Phase.READY else None

    def nudge(self) -> None:
        """Ends the pause between two attempts."""
        self._pause.nudge()

    def StartState(self, e: Event) -> None:
        self._attempt, self.pause = 0, 0.0
        self._pause.reset()

    async def ConnectingState(self, e: Event) -> None:
        try:
            async with asyncio.timeout(self._dial_timeout):
                self._transport = transport = await self._dial()
        except Exception as error:  # noqa: BLE001 (the application's function; it means that there is no connection)
            failure = failed_dial(error, self._dial_timeout)
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
            return
        session = ClientSession(asyncio.get_running_loop().time(), self._timing, self.session)
        session.hello(self._hello(session.resume, transport.peer))
        self.session = session
        self.connection = connection = Connection(session, transport, self._react)
        name = f"{e.machine.id}.connection"
        self.task = asyncio.get_running_loop().create_task(self._carry(connection, e.machine), name=name)

    def StartEnd(self, e: Event) -> None:
        if self._last is not None and (self.task is None or self.task.done()):
            self._abandon(self._last)

    def ConnectedEnd(self, e: Event) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.session.bye()
            connection.close(GOING_AWAY, "the client leaves")

    def HandshakeDoneState(self, e: Event) -> None:
        self._attempt, self.pause = 0, 0.0
        self._pause.reset()

    async def DisconnectingState(self, e: Event) -> None:
        if self.task is not None:
            await asyncio.wait([self.task], timeout=GOODBYE_TIMEOUT)
        e.add("Disconnected")

    def DisconnectedState(self, e: Event) -> None:
        if "Start" not in e.machine:
            return
        if not self._reconnect:
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
        e.remove("Exception")

    def ServerPayloadState(self, e: Event) -> None:
        e.remove("ServerPayload")

    async def _carry(self, connection: Link, machine: Machine[Any]) -> None:
        self._stop_expiry()
        self.end = await connection.run()
        self._last, session = connection, connection.session
        # Who has said goodbye, or does not call again, cannot continue the session.
        coming_back = self._reconnect and self.connection is connection and "Start" in machine
        if isinstance(self.end, CertificateRefused) and coming_back:
            machine.add_err(self.end)
            machine.add("ConnRetryFailed")  # it would be refused again
            coming_back = False
        self._lost(session, coming_back=coming_back)
        if not coming_back:
            self._abandon(connection)
        else:
            self._watch_expiry(session)
        if self.connection is connection:
            self.connection = None
            machine.add("Disconnected")

    def _abandon(self, connection: Link) -> None:
        self._stop_expiry()
        for event in connection.session.abandon():
            self._react(connection, event)

    def _expire(self) -> None:
        """Tells the callers whose time is over while there is no connection."""
        assert self._last is not None
        self._expiry, link = None, self._last
        for event in link.session.expired(asyncio.get_running_loop().time()):
            self._react(link, event)
        self._watch_expiry(link.session)

    def _watch_expiry(self, session: ClientSession) -> None:
        if session.calls.expires_at < NEVER:
            self._expiry = call_at(asyncio.get_running_loop(), session.calls.expires_at, self._expire)

    def _stop_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
