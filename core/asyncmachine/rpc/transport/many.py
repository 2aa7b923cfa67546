"""Many connections inside of one: each is a transport of its own, and none can stop another.

`many_frames` has the frames and their rules, `many_connection` what one connection does; here is what they share: the
carrier, the numbers, and the order of what has to be told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Self

from asyncmachine.rpc.transport import NORMAL, Transport, TransportClosed
from asyncmachine.rpc.transport.backlog import Backlog
from asyncmachine.rpc.transport.many_connection import ManyConnection
from asyncmachine.rpc.transport.many_frames import (
    BAD_FRAME,
    DATA,
    FINISH,
    GOAWAY,
    HEAD,
    INITIAL,
    LIMIT,
    OPEN,
    PART,
    RESET,
    U16,
    U32,
    WINDOW,
    Fault,
    ManyLimits,
)

__all__ = ["Many", "ManyConnection", "ManyLimits", "ManyStatistics"]


@dataclass(frozen=True, slots=True)
class ManyStatistics:
    """`open` connections now, `opened` in all, `waiting` bytes that nobody has read yet."""

    open: int
    opened: int
    waiting: int


class Many:
    """The connections inside of `carrier`. `dialled` says that this side has dialled it. Use it as a context.

    ::

        async with Many(carrier, dialled=True) as many:
            one, two = many.open(), many.open()
    """

    def __init__(self, carrier: Transport, *, dialled: bool, limits: ManyLimits | None = None) -> None:
        self.limits = limits or ManyLimits()
        self._carrier = carrier
        self._next = 1 if dialled else 2
        self._theirs = 0
        self._open: dict[int, ManyConnection] = {}
        self._opened = 0
        self._assembling = 0
        self._backlog = Backlog()
        # What has to be told: it is not sent where it comes up, since who reads must never wait for who reads there.
        # A connection stands for what it gives back, which is counted when it goes: once, however long that takes.
        self._control: deque[bytes | ManyConnection] = deque()
        self._due = asyncio.Event()
        self._told = asyncio.Event()
        self._told.set()
        self._ended: TransportClosed | None = None
        self._leaving = asyncio.Event()
        self._leave_within = 0.0
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    async def __aenter__(self) -> Self:
        self._tasks = (asyncio.create_task(self._read(), name="many"), asyncio.create_task(self._tell(), name="many"))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """True once the carrier has ended."""
        return self._ended is not None

    def open(self) -> ManyConnection:
        """A new connection. Raises `TransportClosed` when the carrier has ended, or too many are open."""
        if self._ended is not None:
            raise self._ended
        if len(self._open) >= self.limits.connections:
            raise TransportClosed(LIMIT, f"{len(self._open)} connections are open; close one")
        if self._is_not_heard:
            raise TransportClosed(LIMIT, "the other side takes nothing; try again later")
        number, self._next = self._next, self._next + 2
        self._say(OPEN, number)
        return self._made(number)

    async def accept(self) -> ManyConnection:
        """The next connection that the other side opens. Raises `TransportClosed` when the carrier has ended."""
        connection = await self._backlog.get()
        assert isinstance(connection, ManyConnection)
        return connection

    async def going_away(self) -> float:
        """Waits until the other side says that it will end; returns in how many seconds. Raises `TransportClosed`."""
        await self._leaving.wait()
        if self._ended is not None:
            raise self._ended
        return self._leave_within

    def go_away(self, seconds: float) -> None:
        """Tells the other side to open no more, and to be gone in that time."""
        self._say(GOAWAY, 0, U32.pack(round(seconds * 1000)))

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Ends the carrier, and with it all connections. The second call does nothing more."""
        await self._end(TransportClosed(code, reason))
        await self._carrier.close(code, reason)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def statistics(self) -> ManyStatistics:
        """Counters."""
        return ManyStatistics(len(self._open), self._opened, sum(each._inbox.size for each in self._open.values()))

    # From the carrier

    async def _read(self) -> None:
        try:
            while True:
                self._take(await self._carrier.recv())
        except TransportClosed as ended:
            await self._end(ended)
        except Fault as fault:
            broken = TransportClosed(BAD_FRAME, f"BAD_FRAME: {fault}")
            await self._end(broken)
            await self._carrier.close(broken.code, broken.reason)

    def _take(self, frame: bytes) -> None:
        """Raises `Fault` for what is not allowed; then nothing more is read."""
        if len(frame) < HEAD.size:
            raise Fault("a frame without a head")
        kind, number = HEAD.unpack_from(frame)
        payload = frame[HEAD.size :]
        if kind == GOAWAY and number == 0 and len(payload) == U32.size:
            self._leave_within = U32.unpack(payload)[0] / 1000
            self._leaving.set()
        elif kind == OPEN and not payload:
            self._take_open(number)
        elif kind not in (DATA, PART, WINDOW, FINISH, RESET):
            raise Fault(f"a frame of kind {kind}")
        elif (connection := self._open.get(number)) is not None:
            connection._take(kind, payload)
        elif not self._has_been(number):
            raise Fault("a connection that was not opened")

    def _take_open(self, number: int) -> None:
        if number <= self._theirs or number % 2 == self._next % 2:
            raise Fault("OPEN with a number that cannot be")
        self._theirs = number
        if self._is_not_heard:
            raise Fault("more to be told than the other side listens to")
        if len(self._open) < self.limits.connections and self._backlog.put(self._made(number)) is None:
            return
        self._forget(number)
        self._say(RESET, number, U16.pack(LIMIT) + b"LIMIT: close another connection first")

    @property
    def _is_not_heard(self) -> bool:
        return len(self._control) > 4 * self.limits.connections + 64

    def _has_been(self, number: int) -> bool:
        return 0 < number < self._next if number % 2 == self._next % 2 else 0 < number <= self._theirs

    # To the carrier

    async def _tell(self) -> None:
        """Sends what has to be told, apart from those who read and those who send."""
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                while self._control:
                    told = self._control.popleft()
                    await self._carrier.send(told if isinstance(told, bytes) else told._window_frame())
                self._told.set()
        except TransportClosed:
            self._told.set()  # `_read` finds out too, and so does whoever sends

    async def _send(self, frame: bytes) -> None:
        """Sends data, after all that had to be told before."""
        while not self._told.is_set():
            await self._told.wait()
        await self._carrier.send(frame)

    def _say(self, kind: int, number: int, payload: bytes = b"") -> None:
        self._queue(HEAD.pack(kind, number) + payload)

    def _say_window(self, connection: ManyConnection) -> None:
        self._queue(connection)

    def _queue(self, told: bytes | ManyConnection) -> None:
        if self._ended is None:
            self._control.append(told)
            self._told.clear()
            self._due.set()

    # Life

    def _made(self, number: int) -> ManyConnection:
        connection = self._open[number] = ManyConnection(self, number)
        self._opened += 1
        if self.limits.window > INITIAL:
            self._say(WINDOW, number, U32.pack(self.limits.window - INITIAL))
        return connection

    def _forget(self, number: int) -> None:
        self._open.pop(number, None)

    async def _end(self, ended: TransportClosed) -> None:
        if self._ended is not None:
            return
        self._ended = ended
        for connection in tuple(self._open.values()):
            connection._end(ended.code, ended.reason)
        self._open.clear()
        await self._backlog.end(ended.code, ended.reason)
        self._leaving.set()
