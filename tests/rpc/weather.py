"""Connections in bad weather, of which everything is drawn from a seed.

A frame takes its time, and may be lost, doubled (the second copy at once, or behind frames that come later), overtaken
by the next one, or arrive with another byte. A connection may break, or go on without a word in one direction or both.
Whoever reads may pause. What happened is in `counts`.

Of clocks and calls and of what surrounds them, nothing is missed for long: sides ask again. What else is lost is told
again in the next connection only, so such a loss is `owed` one. A byte is changed where it can be noticed: the frame
is no message any more, or a clock whose checksum does not fit. That a call becomes another one is for the transport's
own sums to prevent.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode
from asyncmachine.rpc.compression import unpacked
from asyncmachine.rpc.errors import PeerFault
from asyncmachine.rpc.transport import LOST, NORMAL, Listener, Peer, Transport, TransportClosed
from asyncmachine.rpc.transport.backlog import Backlog
from asyncmachine.rpc.transport.inbox import Inbox, wake

CLOCKS = (m.ClockPush, m.ClockSteps, m.Full, m.Grown)
CALLS = (m.Add, m.Remove, m.Set, m.AddUnanswered, m.Result, m.Error)
HANDSHAKE = (m.Hello, m.Welcome, m.Ready, m.Reject)
ASKED_AGAIN = (*CLOCKS, *CALLS, *HANDSHAKE, m.SyncRequest, m.Ping, m.Pong, m.WhenCancel, m.GoAway, m.Bye)
"""Errors are among them, but nobody asks for that of a notification, which is `owed` as well."""
ORDERED = (m.Payload, m.Chunk)
"""That each comes behind the one before is the promise of the transport: none is lost without all that follow."""

Sent = tuple[type[m.Message], bytes]
"""What it is, and what arrives of it."""

NAMES: dict[type[m.Message], str] = {
    **dict.fromkeys(CLOCKS, "clocks"),
    **dict.fromkeys(CALLS, "calls"),
    **dict.fromkeys(HANDSHAKE, "the handshake"),
    **dict.fromkeys((m.Ping, m.Pong), "pings"),
    **dict.fromkeys((m.PayloadAck, m.PayloadNack), "acks"),
    **dict.fromkeys((m.WhenArgs, m.WhenCancel, m.WhenFired), "waits"),
    **dict.fromkeys((m.Payload, m.Chunk, m.PayloadWithdrawn), "payloads"),
    **dict.fromkeys((m.SyncRequest, m.ArgsRequest, m.Can, m.Reply), "questions"),
}


class Weather:
    """Decides about each frame. It clears up when the test wants to see the outcome."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.echo = random.Random(repr(draw.getstate()))  # of its own: it leaves the other draws as they are
        self.badness = draw.choice([0.0, 0.1, 0.3, 0.6])
        self.breakage = draw.choice([0.0, 0.0, 0.02, 0.1])
        self.counts: Counter[str] = Counter()
        self.owed: set[End] = set()
        self.ends: list[End] = []
        self.greeted: End | None = None
        """The server's end at which the last HELLO has arrived."""

    def connection(self) -> tuple[End, End]:
        """A new one: the server's end and the client's."""
        delay, room = self.draw.choice([0.0, 0.0, 0.001, 0.02, 0.1]), self.draw.choice([1 << 20, 1 << 20, 100])
        near, far = End("server", self, delay, room), End("client", self, delay, room)
        near.other, far.other = far, near
        self.ends = [*(end for end in self.ends if not end.closed), near, far]
        return near, far

    def cut_all(self) -> None:
        for end in self.ends:
            end.cut()

    def clear_up(self) -> None:
        """Nothing bad happens any more. What has happened is not undone, and connections that owe something end."""
        self.badness = self.breakage = 0.0
        for end in self.owed:
            end.cut()

    def frames(self, end: End, data: bytes) -> list[Sent]:
        """What is sent when this end sends a frame."""
        return [*self._fate(end, data), *end.echoes()]

    def _fate(self, end: End, data: bytes) -> list[Sent]:
        """What becomes of a frame."""
        found = decode(data)
        if isinstance(found, m.Compressed):
            self.counts["compressed"] += 1
            found = decode(unpacked(found.data))
        if self.draw.random() < self.breakage:
            self._break(end, found)
        kind = type(found)
        if self.echo.random() < self.badness * (0.5 if isinstance(found, (m.Full, m.Grown)) else 0.05):
            self.counts["repeat later"] += 1
            self.counts["full syncs repeated later"] += isinstance(found, (m.Full, m.Grown))
            end.later.append((self.echo.randint(1, 6), (kind, data)))
        if not self._is_bad_for(kind):
            held, end.held = end.held, []
            return [(kind, data), *held]
        what = self.draw.choice(["lose", "repeat", "hold", "damage", "pause"])
        if what in ("lose", "hold") and kind in ORDERED:
            what = "mute"
        self.counts[what] += 1
        self.counts[f"bad for {NAMES.get(kind, 'the rest')}"] += 1
        if what in ("lose", "hold") and (kind not in ASKED_AGAIN or kind is m.Error):
            self.owed.add(end)
        match what:
            case "mute":
                end.is_mute = True
                return []
            case "lose":
                return []
            case "repeat":
                return [(kind, data), (kind, data)]
            case "hold":
                end.held.append((kind, data))
                return []
            case "damage":
                return [(kind, self._damaged(data, found))]
        end.other.pause(self.draw.choice([0.01, 0.1, 0.3]))
        return [(kind, data)]

    def arrived(self, end: End, kind: type[m.Message]) -> None:
        """A frame has come to an end that is still open."""
        if kind is m.Hello:
            self.greeted = end
        elif kind in CALLS and end.peer.address == "server" and end is not self.greeted:
            self.counts["calls on a replaced connection"] += 1

    def _is_bad_for(self, kind: type[m.Message]) -> bool:
        # The handshake would hardly ever come to its end.
        return self.draw.random() < self.badness / (1 if kind in CLOCKS + CALLS else 4)

    def _break(self, end: End, found: m.AnyMessage) -> None:
        self.counts["cut in a film"] += isinstance(found, m.Chunk)
        match self.draw.choice(["cut", "cut", "here", "there", "both"]):
            case "cut":
                self.counts["cut"] += 1
                end.cut()
            case which:
                self.counts["half-open"] += 1
                end.is_mute |= which != "there"
                end.other.is_mute |= which != "here"

    def _damaged(self, data: bytes, found: m.AnyMessage) -> bytes:
        """The frame with another byte, at any place where that can be noticed."""
        draw = random.Random(self.draw.random())  # it may take any number of attempts
        while True:
            at = draw.randrange(len(data))
            other = data[:at] + bytes([data[at] ^ draw.randint(1, 255)]) + data[at + 1 :]
            if noticeable(other, found):
                return other


def noticeable(data: bytes, sent: m.AnyMessage) -> bool:
    """Whether a frame is not what was `sent`, as its reader can tell."""
    try:
        read = decode(data)
        if isinstance(read, m.Compressed):
            read = decode(unpacked(read.data))
    except PeerFault:
        return True
    return type(read) is type(sent) and isinstance(read, (*CLOCKS, m.Result)) and unsealed(read) == unsealed(sent)


def unsealed(message: Any) -> tuple[object, ...]:
    """What of a clock message, or of an answer, its checksum does not cover."""
    match message:
        case m.Result():
            return message.id, message.result, message.seq > 0
        case m.Full():
            return (message.reply_to,)
        case m.Grown():
            return message.reply_to, message.names, message.schema
    return ()


class End:
    """One end of a connection, as a transport. Frames come to the `other` after a delay, in their order.

    One that `is_mute` sends nothing any more, not even its end, and does not know it.
    """

    def __init__(self, name: str, weather: Weather, delay: float, room: int) -> None:
        self.peer = Peer("weather", name)
        self.other = self
        self.held: list[Sent] = []
        self.later: list[tuple[int, Sent]] = []
        """Second copies, each with the number of frames that go ahead of it."""
        self.is_mute = False
        self._weather = weather
        self._delay = delay
        self._room = room
        self._way: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._on_its_way = 0
        self._arrives = 0.0
        self._inbox = Inbox()
        self._writer: asyncio.Future[None] | None = None
        self._reads_at = 0.0
        self._warned = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @property
    def closed(self) -> bool:
        return self._inbox.ended

    async def send(self, data: bytes) -> None:
        self._inbox.check()
        for kind, frame in self._weather.frames(self, data):
            if not (self.is_mute or self.closed):
                self._on_its_way += len(frame)
                self._post(self.other._take, kind, frame)
        while self._on_its_way + self.other._inbox.size > self._room and not self.closed:
            self._writer = self._loop.create_future()
            await self._writer
        self._inbox.check()

    def echoes(self) -> list[Sent]:
        """The copies whose time has come; a frame goes ahead of them."""
        due = [sent for left, sent in self.later if not left]
        self.later = [(left - 1, sent) for left, sent in self.later if left]
        return due

    async def recv(self) -> bytes:
        while True:
            while self._inbox.empty:
                await self._inbox.filled()
            left = self._reads_at - self._loop.time()
            if left <= 0:
                break
            await asyncio.sleep(left)
        message = self._inbox.pop()
        wake(self.other._writer)
        return message

    async def going_away(self) -> float:
        await self._warned.wait()
        return 0.0

    def warn(self) -> None:
        """What carries the connection tells that it ends."""
        self._warned.set()

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        if not self.closed:
            if not self.is_mute:
                self._post(self.other._end, code, reason)
            self._end(code, reason)

    def cut(self) -> None:
        """Both ends see it lost, and with it what is on its way."""
        for end in (self, self.other):
            end._way.clear()
            end._end(LOST, "connection lost", drop=True)

    def pause(self, seconds: float) -> None:
        """Reads nothing for a while."""
        self._reads_at = self._loop.time() + seconds

    def _post(self, arrives: Callable[..., object], *what: Any) -> None:
        self._way.append((arrives, what))
        if self._delay or len(self._way) > 1:
            self._arrives = max(self._arrives, self._loop.time() + self._delay * self._weather.draw.random())
            self._loop.call_at(self._arrives, self._arrive)
        else:
            self._arrive()

    def _arrive(self) -> None:
        if self._way:  # else it was cut
            arrives, what = self._way.popleft()
            arrives(*what)

    def _take(self, kind: type[m.Message], frame: bytes) -> None:
        self.other._on_its_way -= len(frame)
        if not self.closed:
            self._weather.arrived(self, kind)
            self._inbox.put(frame)

    def _end(self, code: int, reason: str, *, drop: bool = False) -> None:
        self._inbox.end(code, reason, drop=drop)
        wake(self._writer)
        wake(self.other._writer)


class Door:
    """Where connections arrive: at the listener that was opened last."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self._listener: _Listener | None = None

    async def listen(self) -> Listener:
        self._listener = _Listener()
        return self._listener

    async def dial(self) -> Transport:
        near, far = self._weather.connection()
        if self._listener is None or self._listener.arrived.put(near) is not None:
            raise TransportClosed(LOST, "nobody is there")
        return far


class _Listener:
    def __init__(self) -> None:
        self.address = "stormy"
        self.arrived = Backlog()

    async def accept(self) -> Transport:
        return await self.arrived.get()

    async def close(self) -> None:
        await self.arrived.end()
