"""Many connections inside of one: each is a transport of its own, and none can stop another.

A message of the carrier is one frame: ``u8 kind  u32 connection  payload`` (big-endian)::

    1 OPEN               a new connection; odd numbers are of whoever dialled the carrier, even ones of the other side
    2 DATA    bytes      a message, or the last part of one
    3 PART    bytes      a part of a message, of which more follows
    4 WINDOW  u32        the receiver has taken so much, as much again may be sent
    5 FINISH             this side sends nothing more; the other direction goes on
    6 RESET   u16 text   this side has closed: code and reason. What was sent before is still read
    7 GOAWAY  u32        (connection 0) open no more: the carrier ends in so many milliseconds

There is no answer to OPEN: the opener sends at once, and learns of a refusal by a RESET. Numbers only grow. A frame for
a connection that has ended is what crossed that end, and is dropped. Each side may send 64 KiB of a connection before
the other has to give more, which it may do at once. DATA and PART have at most 32 KiB, and cost that and 32 bytes, so
that a flood of empty messages ends as well. The last one may overdraw the window. Parts of the message that is to be
read next are given back as they arrive, since it may be larger than the window; those of later ones are not.

Why not Wisp, and why not yamux: see docs/relay.md.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from struct import Struct
from typing import Final, Self

from asyncmachine.rpc.transport import GOING_AWAY, LOST, MAX_FRAME, NORMAL, Peer, Transport, TransportClosed
from asyncmachine.rpc.transport.backlog import Backlog
from asyncmachine.rpc.transport.inbox import Inbox, wake

OPEN, DATA, PART, WINDOW, FINISH, RESET, GOAWAY = range(1, 8)

HEAD: Final = Struct(">BI")
U16: Final = Struct(">H")
U32: Final = Struct(">I")

COST: Final = 32
"""Bytes that a frame costs beside its payload."""

INITIAL: Final = 64 << 10
"""What may be sent of a connection before anything was given back."""

CHUNK: Final = 32 << 10
"""Largest payload of one frame: with more, one connection would hold the others up."""

LONGEST_REASON: Final = 123
BAD_FRAME, LIMIT = 4400, 4429


@dataclass(frozen=True, slots=True)
class ManyLimits:
    """`connections` at a time; `window` (64 KiB at least) and `message` in bytes.

    `assembling` is for the parts of unfinished messages, of all connections together.
    """

    connections: int = 32
    window: int = 128 << 10
    message: int = MAX_FRAME
    assembling: int = 4 * MAX_FRAME


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
        self._control: deque[bytes] = deque()
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
        except _Fault as fault:
            broken = TransportClosed(BAD_FRAME, f"BAD_FRAME: {fault}")
            await self._end(broken)
            await self._carrier.close(broken.code, broken.reason)

    def _take(self, frame: bytes) -> None:
        """Raises `_Fault` for what is not allowed; then nothing more is read."""
        if len(frame) < HEAD.size:
            raise _Fault("a frame without a head")
        kind, number = HEAD.unpack_from(frame)
        payload = frame[HEAD.size :]
        if kind == GOAWAY and number == 0 and len(payload) == U32.size:
            self._leave_within = U32.unpack(payload)[0] / 1000
            self._leaving.set()
        elif kind == OPEN and not payload:
            self._take_open(number)
        elif kind not in (DATA, PART, WINDOW, FINISH, RESET):
            raise _Fault(f"a frame of kind {kind}")
        elif (connection := self._open.get(number)) is not None:
            connection._take(kind, payload)
        elif not self._has_been(number):
            raise _Fault("a connection that was not opened")

    def _take_open(self, number: int) -> None:
        if number <= self._theirs or number % 2 == self._next % 2:
            raise _Fault("OPEN with a number that cannot be")
        self._theirs = number
        if len(self._control) > 4 * self.limits.connections + 64:
            raise _Fault("more to be told than the other side listens to")
        if len(self._open) < self.limits.connections and self._backlog.put(self._made(number)) is None:
            return
        self._forget(number)
        self._say(RESET, number, U16.pack(LIMIT) + b"LIMIT: close another connection first")

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
                    await self._carrier.send(self._control.popleft())
                self._told.set()
        except TransportClosed:
            self._told.set()  # `_read` finds out too, and so does whoever sends

    async def _send(self, frame: bytes) -> None:
        """Sends data, after all that had to be told before."""
        while not self._told.is_set():
            await self._told.wait()
        await self._carrier.send(frame)

    def _say(self, kind: int, number: int, payload: bytes = b"") -> None:
        if self._ended is None:
            self._control.append(HEAD.pack(kind, number) + payload)
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


class ManyConnection:
    """One connection inside of a carrier: a `Transport` that can be half-closed as well."""

    def __init__(self, many: Many, number: int) -> None:
        carrier = many._carrier.peer
        self.peer = Peer("many", f"{carrier.address}#{number}", carrier.id, carrier.grants, carrier.names)
        self._many = many
        self._number = number
        self._inbox = Inbox()
        self._costs: deque[int] = deque()
        """What each message of the inbox gives back."""
        self._window = INITIAL
        """What may be sent."""
        self._room: asyncio.Future[None] | None = None
        self._sending = asyncio.Lock()
        self._read = 0
        """What was read and not given back yet."""
        self._size = 0
        """What was received and is not read yet."""
        self._assembled = 0
        self._kept = 0
        """What the parts cost that are not given back, since a message before theirs is not read yet."""
        self._parts: list[bytes] = []
        self._finished = False
        self._heard_all = False

    @property
    def closed(self) -> bool:
        """True once nothing can be sent any more."""
        return self._finished or (self._inbox.ended and not self._heard_all)

    async def send(self, data: bytes) -> None:
        """Sends one message; waits while the other side has not read enough of those before."""
        if len(data) > self._many.limits.message:
            raise ValueError(f"a message of {len(data)} bytes: {self._many.limits.message} at most")
        async with self._sending:
            at = 0
            try:
                while True:
                    part = data[at : at + CHUNK]
                    await self._have_room()
                    self._window -= len(part) + COST
                    kind = DATA if at + CHUNK >= len(data) else PART
                    await self._many._send(HEAD.pack(kind, self._number) + part)
                    at += CHUNK
                    if kind == DATA:
                        return
            except asyncio.CancelledError:
                if at:
                    # The rest of this message will never come, and no other can follow a part of it.
                    await self.close(LOST, "a message was cut")
                raise

    async def recv(self) -> bytes:
        """The next message. Raises `TransportClosed` after the last, with 1000 when the other side has finished."""
        message = await self._inbox.get()
        self._give_back(self._costs.popleft())
        if not self._costs and self._kept:
            self._give_back(self._kept)
            self._kept = 0
        return message

    def finish(self) -> None:
        """Sends nothing more; the other direction goes on."""
        if not self.closed:
            self._finished = True
            self._many._say(FINISH, self._number)
            self._forget_if_over()
            wake(self._room)

    async def going_away(self) -> float:
        """As that of the carrier: it ends with it."""
        return await self._many.going_away()

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Ends both directions."""
        if self._number in self._many._open:
            text = reason.encode()[:LONGEST_REASON].decode(errors="ignore").encode()
            self._many._say(RESET, self._number, U16.pack(code if 1000 <= code < 5000 else GOING_AWAY) + text)
        self._end(code, reason)
        self._many._forget(self._number)

    async def _have_room(self) -> None:
        while self._window <= 0:
            self._check()
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        self._check()

    def _check(self) -> None:
        if self._inbox.ended and not self._heard_all:
            self._inbox.check()
        if self._finished:
            raise TransportClosed(NORMAL, "this side has finished")

    # From the carrier

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == WINDOW and len(payload) == U32.size:
            self._window = min(self._window + U32.unpack(payload)[0], 1 << 40)
            wake(self._room)
        elif kind == FINISH and not payload:
            self._heard_all = self._inbox.end(NORMAL) or self._heard_all
            self._forget_if_over()
        elif kind == RESET and len(payload) >= U16.size:
            self._end(U16.unpack_from(payload)[0], payload[U16.size :].decode(errors="replace"))
            self._many._forget(self._number)
        elif kind in (DATA, PART):
            self._take_data(kind, payload)
        else:
            raise _Fault("a frame with a wrong payload")

    def _take_data(self, kind: int, payload: bytes) -> None:
        many, limits = self._many, self._many.limits
        if self._inbox.ended:
            if self._heard_all:
                raise _Fault("data after FINISH")
            return
        cost = len(payload) + COST
        self._size += cost
        if len(payload) > CHUNK or self._size + self._read > limits.window + CHUNK + COST:
            raise _Fault("more data than its window")
        if kind == PART or self._parts:
            self._parts.append(payload)
            self._assembled += len(payload)
            many._assembling += len(payload)
            # Without the second rule, empty parts would cost nothing for ever.
            if self._assembled > limits.message or len(self._parts) > 4 * limits.message // CHUNK + 4:
                raise _Fault("a message that is too large")
            if many._assembling > limits.assembling:
                raise _Fault("too many messages that are not finished")
        if kind == PART:
            if self._costs:
                self._kept += cost
            else:
                self._give_back(cost)
            return
        if self._parts:
            payload = b"".join(self._parts)
            cost += self._kept
            self._kept = 0
            self._drop_parts()
        self._costs.append(cost)
        self._inbox.put(payload)

    def _give_back(self, cost: int) -> None:
        self._size -= cost
        self._read += cost
        if self._read >= self._many.limits.window // 4 and self._number in self._many._open:
            self._many._say(WINDOW, self._number, U32.pack(self._read))
            self._read = 0

    def _drop_parts(self) -> None:
        self._many._assembling -= self._assembled
        self._assembled = 0
        self._parts.clear()

    def _end(self, code: int, reason: str) -> None:
        self._finished = True
        self._heard_all = False
        self._inbox.end(code, reason)
        self._drop_parts()
        wake(self._room)

    def _forget_if_over(self) -> None:
        if self._finished and self._heard_all:
            self._many._forget(self._number)


class _Fault(Exception):
    """The other side broke the rules."""
