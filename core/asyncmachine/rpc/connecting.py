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
from contextlib import suppress
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
from asyncmachine.rpc.moving import Moving
from asyncmachine.rpc.pause import Pause
from asyncmachine.rpc.timing import Timing, call_at
from asyncmachine.rpc.transport import (
    GOING_AWAY,
    CertificateRefused,
    Dial,
    Peer,
    Transport,
    TransportClosed,
    Warned,
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
        "_attempt",
        "_backoff",
        "_dial",
        "_dial_timeout",
        "_expiry",
        "_hello",
        "_last",
        "_lost",
        "_lost_at",
        "_moving",
        "_next_task",
        "_nothing_came",
        "_pause",
        "_react",
        "_reconnect",
        "_timing",
        "_transport",
        "connection",
        "end",
        "pause",
        "session",
        "task",
    )  # fmt: skip

    def __init__(
        self,
        dial: Dial,
        hello: Callable[[Resume | None, Peer], Hello],
        react: Callable[[Link, SessionEvent], None],
        lost: Lost,
        nothing_came: Callable[[], None],
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
        self._nothing_came = nothing_came
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
        self._moving: Moving | None = None
        self._next_task: asyncio.Task[None] | None = None

    def ready_link(self) -> Link | None:
        """The connection if calls may be made on it."""
        found = self.connection
        return found if found is not None and found.session.phase is Phase.READY else None

    def hang_up(self) -> None:
        """Says goodbye on the connection that there is, and makes no other one."""
        if self._moving is not None:
            self._moving.stop()
        if self.connection is not None:
            self.connection.session.bye()
            self.connection.close(GOING_AWAY, "the client leaves")

    # Going over to another connection

    def is_between(self) -> bool:
        """Whether the next connection has said HELLO: what is sent now may reach nobody on the first one."""
        return self._moving is not None and self._moving.next is not None

    @property
    def next(self) -> Link | None:
        """The connection that will take the place of this one once it is welcomed."""
        return None if self._moving is None else self._moving.next

    def move(self, machine: Machine[Any], within: float) -> None:
        """The connection ends `within` so many seconds: makes the next one meanwhile, if there may be one."""
        first = self.connection
        if first is None or not self._reconnect:
            return

        def greet(transport: Transport) -> Link:
            link = self._greet(transport)
            self._next_task = self._carrying(link, machine)
            return link

        self._moving = self._moving or Moving(self._dialled, greet, self._backoff)
        self._moving.begin(first, within)

    def refused(self, retry_after: float | None) -> None:
        """The next connection is refused. The first one goes on."""
        if self._moving is not None:
            self._moving.refused(retry_after)

    def take_over(self) -> list[SessionEvent]:
        """The next connection is welcomed, and counts from now on. Returns what was held back on the first."""
        first, moving = self.connection, self._moving
        assert first is not None
        assert moving is not None
        assert moving.next is not None
        self.connection = moving.next
        self.session, self.task = moving.next.session, self._next_task
        moving.decide(welcomed=True)
        first.flush()
        held = first.session.leave()
        first.close(GOING_AWAY, "the session goes on in another connection")
        return held

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
        self.connection = connection = self._greet(transport)
        self.session = connection.session
        self.task = self._carrying(connection, e.machine)

    def StartEnd(self, e: Event) -> None:
        if self._last is not None and (self.task is None or self.task.done()):
            self._abandon(self._last)

    def ConnectedEnd(self, e: Event) -> None:
        self.hang_up()
        self.connection = None

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
        if isinstance(connection.transport, Warned):
            async with asyncio.TaskGroup() as group:
                heeding = group.create_task(self._heed(connection, connection.transport, machine))
                end = await connection.run()
                heeding.cancel()
        else:
            end = await connection.run()
        if self._moving is not None:
            if connection is self._moving.next:
                self._moving.decide(welcomed=False)
                self._nothing_came()
                return
            # The server may have closed this one because of the next, of which the welcome is still on its way.
            await self._moving.decision()
        if connection.session.is_left:
            return
        self.end = end
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

    async def _heed(self, connection: Link, warned: Warned, machine: Machine[Any]) -> None:
        """Goes over to the next connection when what carries this one tells of its end."""
        with suppress(TransportClosed):
            within = await warned.going_away()
            if connection is self.connection:
                self.move(machine, within)

    def _carrying(self, connection: Link, machine: Machine[Any]) -> asyncio.Task[None]:
        work = self._carry(connection, machine)
        return asyncio.get_running_loop().create_task(work, name=f"{machine.id}.connection")

    def _greet(self, transport: Transport) -> Link:
        """Begins a session, in continuation of the last one."""
        session = ClientSession(asyncio.get_running_loop().time(), self._timing, self.session)
        session.hello(self._hello(session.resume, transport.peer))
        return Connection(session, transport, self._react)

    async def _dialled(self) -> Transport:
        """A transport. Raises `TransportClosed`, whatever the application's function raises."""
        try:
            async with asyncio.timeout(self._dial_timeout):
                return await self._dial()
        except Exception as error:
            raise failed_dial(error, self._dial_timeout) from error

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
