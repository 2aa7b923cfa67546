"""What carries a client's session: one connection after another, each from its HELLO to its end.

A connection that ends is followed by another one when `connecting` makes one. One that is about to end is followed by
another one before (`moving`), which takes its place with the welcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

from asyncmachine.machine.machine import Machine
from asyncmachine.rpc.asking import ClientSession
from asyncmachine.rpc.backoff import Backoff
from asyncmachine.rpc.calling import Link
from asyncmachine.rpc.connection import Connection
from asyncmachine.rpc.events import Event
from asyncmachine.rpc.expiring import Expiring
from asyncmachine.rpc.legality import Phase
from asyncmachine.rpc.messages import Hello, Resume
from asyncmachine.rpc.moving import Moving
from asyncmachine.rpc.timing import Timing
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

PARTING: Final = 1.0
"""Seconds that a client stays which leaves, to hear whether its notifications have come."""


class Lost(Protocol):
    """Told of the end of a connection, and whether another one will be made."""

    def __call__(self, session: ClientSession, *, coming_back: bool) -> None: ...


class Connections:
    """The connections of one client. `connection` is the current one; its session may not be ready yet.

    `hello(resume, peer)` is what each begins with, `react` gets the events. `lost` is told of the end of one,
    `nothing_came` of a next one that has not taken the place of the first. Without `reconnect` there is only one.

    `parting` is one that was left, and has still to tell whether the client's notifications have come.
    """

    __slots__ = (
        "_backoff", "_dial", "_dial_timeout", "_expiring", "_hello", "_last", "_left", "_lost", "_moving", "_next_task",
        "_nothing_came", "_parted", "_react", "_timing", "connection", "end", "parting", "reconnect", "session", "task",
    )  # fmt: skip

    def __init__(
        self,
        dial: Dial,
        hello: Callable[[Resume | None, Peer], Hello],
        react: Callable[[Link, Event], None],
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
        self.end: TransportClosed | None = None
        self.reconnect = reconnect
        self._dial = dial
        self._hello = hello
        self._react = react
        self._lost = lost
        self._nothing_came = nothing_came
        self._timing = timing
        self._backoff = backoff
        self._dial_timeout = dial_timeout
        self._last: Link | None = None
        self._expiring = Expiring(react)
        self._moving: Moving | None = None
        self._next_task: asyncio.Task[None] | None = None
        self._left: tuple[asyncio.Task[None], ...] = ()
        self.parting: Link | None = None
        self._parted: asyncio.TimerHandle | None = None

    @property
    def running(self) -> tuple[asyncio.Task[None], ...]:
        """What goes on still: connections, those included that were left, and the making of the next one."""
        making = None if self._moving is None else self._moving.task
        return tuple([task for task in (*self._left, self.task, self._next_task, making) if task and not task.done()])

    def ready_link(self) -> Link | None:
        """The connection if calls may be made on it."""
        found = self.connection
        return found if found is not None and found.session.phase is Phase.READY else None

    async def dialled(self) -> Transport:
        """A transport. Raises `TransportClosed`, whatever the application's function raises."""
        try:
            async with asyncio.timeout(self._dial_timeout):
                return await self._dial()
        except TransportClosed:
            raise
        except Exception as error:
            raise failed_dial(error, self._dial_timeout) from error

    def begin(self, transport: Transport, machine: Machine[Any]) -> None:
        """Says HELLO on a transport, and carries the session on it from now on."""
        self._come_back()
        self.connection = connection = self._greet(transport)
        self.session = connection.session
        self._retire(self.task)
        self.task = self._run(connection, machine)

    def hang_up(self, *, at_once: bool = False) -> None:
        """Says goodbye on the connection that there is, and makes no other one.

        Of notifications that may not have come it asks first, and stays for the answer. Else each stop behind one
        would leave it unknown, though it has come.
        """
        if self._moving is not None:
            self._moving.stop()
        if self.connection is None:
            return
        self.parting = link = self.connection
        calls, is_ready = link.session.calls, link.session.phase is Phase.READY
        if at_once or not calls.notifications or not is_ready:
            self._part()
            return
        calls.told = partial(link.soon, self._part)  # not while a message is reacted to
        self._parted = link.later(PARTING, self._part)
        link.session.ask_arrived(link.now)
        link.flush()

    def _part(self) -> None:
        """Says goodbye on the connection that was left."""
        left = self._end_parting()
        if left is not None:
            left.session.bye()
            left.close(GOING_AWAY, "the client leaves")

    def _come_back(self) -> None:
        """The client has started again before it has said goodbye: the session goes on in the next connection."""
        left = self._end_parting()
        if left is not None:
            for event in left.session.leave():
                self._react(left, event)
            left.close(GOING_AWAY, "the session goes on in another connection")
            self._lost(left.session, coming_back=True)

    def _end_parting(self) -> Link | None:
        left, self.parting = self.parting, None
        if self._parted is not None:
            self._parted.cancel()
            self._parted = None
        if left is not None:
            left.session.calls.told = None
        return left

    def give_up(self) -> None:
        """None will be made after the last one, if it has ended."""
        if self._last is not None and (self.task is None or self.task.done()):
            self._expiring.abandon(self._last)

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
        if first is None or not self.reconnect:
            return

        def greet(transport: Transport) -> Link:
            link = self._greet(transport)
            self._retire(self._next_task)
            self._next_task = self._run(link, machine)
            return link

        self._moving = self._moving or Moving(self.dialled, greet, self._backoff)
        self._moving.begin(first, within)

    def refused(self, retry_after: float | None) -> None:
        """The next connection is refused. The first one goes on."""
        if self._moving is not None:
            self._moving.refused(retry_after)

    def take_over(self) -> list[Event]:
        """The next connection is welcomed, and counts from now on. Returns what was held back on the first."""
        first, moving = self.connection, self._moving
        assert first is not None
        assert moving is not None
        assert moving.next is not None
        self.connection = moving.next
        self._retire(self.task)
        self.session, self.task = moving.next.session, self._next_task
        moving.decide(welcomed=True)
        first.flush()
        held = first.session.leave()
        first.close(GOING_AWAY, "the session goes on in another connection")
        return held

    # Inside

    def _greet(self, transport: Transport) -> Link:
        """Begins a session, in continuation of the last one."""
        timing = self._timing.towards(transport.peer)
        session = ClientSession(asyncio.get_running_loop().time(), timing, self.session)
        session.hello(self._hello(session.resume, transport.peer))
        return Connection(session, transport, self._react)

    def _run(self, connection: Link, machine: Machine[Any]) -> asyncio.Task[None]:
        work = self._carry(connection, machine)
        return asyncio.get_running_loop().create_task(work, name=f"{machine.id}.connection")

    def _retire(self, task: asyncio.Task[None] | None) -> None:
        """Another connection comes after that of this task, which may take its time to end."""
        if task is not None and not task.done():
            self._left = (*(each for each in self._left if not each.done()), task)

    async def _carry(self, connection: Link, machine: Machine[Any]) -> None:
        self._expiring.stop()
        if isinstance(connection.transport, Warned):
            async with asyncio.TaskGroup() as group:
                heeding = group.create_task(self._heed(connection, connection.transport, machine))
                end = await connection.run()
                heeding.cancel()
        else:
            end = await connection.run()
        if connection is self.parting:
            self._part()
        if self._moving is not None:
            if connection is self._moving.next:
                self._moving.decide(welcomed=False)
                self._nothing_came()
                return
            # The server may have closed this one because of the next, of which the welcome is still on its way.
            await self._moving.decision()
        if not connection.session.is_left:
            self._ended(connection, end, machine)

    def _ended(self, connection: Link, end: TransportClosed, machine: Machine[Any]) -> None:
        self.end, self._last = end, connection
        # Who has said goodbye, or does not call again, cannot continue the session.
        coming_back = self.reconnect and self.connection is connection and "Start" in machine
        if isinstance(end, CertificateRefused) and coming_back:
            machine.add_err(end)
            machine.add("ConnRetryFailed")  # it would be refused again
            coming_back = False
        self._lost(connection.session, coming_back=coming_back)
        if coming_back:
            self._expiring.watch(connection)
        else:
            self._expiring.abandon(connection)
        if self.connection is connection:
            self.connection = None
            machine.add("Disconnected")

    async def _heed(self, connection: Link, warned: Warned, machine: Machine[Any]) -> None:
        """Goes over to the next connection when what carries this one tells of its end."""
        with suppress(TransportClosed):
            within = await warned.going_away()
            if connection is self.connection:
                self.move(machine, within)
