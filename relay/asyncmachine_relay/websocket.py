"""A server's WebSocket as a `Transport`.

Two coroutines share it: whoever uses the transport, and `pump`, which waits for the WebSocket's end. A page that leaves
is therefore noticed at once, whatever the user is doing, and what the peer sent before is still delivered.

Memory is bounded both ways. Received bytes wait in `_inbox` up to `buffer_high`; then nothing more is read, and the
peer's TCP window closes. `send` waits while the server's own buffer for the peer is full. Neither may last: `_watch`
knows every deadline of the tunnel and is one timer, so that an idle tunnel costs a timer and a busy one nothing.

Under `RelayServer` messages pass between the socket and the inbox without a task in between (`wire.Wire`); under
another ASGI server they come through `receive`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from asyncmachine.rpc.errors import TooLarge
from asyncmachine.rpc.transport import LOST, NORMAL, Peer, TransportClosed
from asyncmachine_relay.holding import OVERHEAD
from asyncmachine_relay.limits import Limits, RateGate
from asyncmachine_relay.policy import Reason, Refused, clip

WIRE = "asyncmachine.wire"
"""The ASGI extension under which a scope holds its `Wire`."""

NOTICE = 0.25
"""Seconds of waiting, either way, from which on a tunnel is called congested."""

_NO_CODE = 1005
_UNSENDABLE = frozenset({1004, _NO_CODE, LOST, 1015})


class Wire(Protocol):
    """The socket itself, for a server that hands it over."""

    def attach(self, arrived: Callable[[bytes], None], room: Callable[[], None]) -> None:
        """From now on messages go to `arrived`, earlier ones first. `room` is told when one may write again."""

    def write(self, data: bytes) -> bool:
        """Writes a message, or returns False if the peer is behind. Raises `ConnectionResetError` after the end."""

    def hold(self, *, on: bool) -> None:
        """Reads nothing more from the socket, or goes on."""


@dataclass(frozen=True)
class TransportStatistics:
    """Counts since the start, and the bytes that were received and not yet taken, with `OVERHEAD` for each message."""

    frames_in: int
    bytes_in: int
    frames_out: int
    bytes_out: int
    bytes_waiting: int


class WebSocketTransport:
    """Made of an accepted WebSocket. Nothing arrives until `pump` runs.

    `caller` says that the peer dialled and so has to speak first, within `limits.hello`.
    """

    def __init__(self, socket: WebSocket, peer: Peer, limits: Limits, *, caller: bool) -> None:
        self._socket = socket
        self._wire: Wire | None = socket.scope.get("extensions", {}).get(WIRE)
        self._peer = peer
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[bytes] = deque()
        self._waiting = 0
        self._arrived: asyncio.Future[None] | None = None
        self._room: asyncio.Event | None = None
        self._paced: asyncio.TimerHandle | None = None
        self._sending = asyncio.Lock()
        self._unblocked: asyncio.Future[None] | None = None
        self._end_waiter: asyncio.Future[None] | None = None
        self._ended: TransportClosed | None = None
        self._refused: Refused | None = None
        self._opened = self._said = self._heard = self._loop.time()
        self._gate = RateGate(limits, self._opened)
        self._frames_in = self._bytes_in = self._frames_out = self._bytes_out = self._in_a_row = 0
        self._must_speak = caller
        self._may_idle = False
        self._unread_since: float | None = None
        self._unsent_since: float | None = None
        self._tell_congested: Callable[[bool], object] | None = None
        self._is_congested = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def peer(self) -> Peer:
        return self._peer

    @property
    def closed(self) -> bool:
        return self._ended is not None

    @property
    def refused(self) -> Refused | None:
        """The rule that the peer broke, if that is what ended the tunnel."""
        return self._refused

    @property
    def torn(self) -> bool:
        """Whether it ended without a close frame of either side."""
        return self._ended is not None and self._ended.code == LOST

    def statistics(self) -> TransportStatistics:
        """A look at the counters."""
        return TransportStatistics(
            self._frames_in, self._bytes_in, self._frames_out, self._bytes_out, bytes_waiting=self._waiting
        )

    async def ended(self) -> TransportClosed:
        """How it ended, as soon as it has, whatever still waits to be taken."""
        while self._ended is None:
            if self._end_waiter is None:
                self._end_waiter = self._loop.create_future()
            await asyncio.shield(self._end_waiter)
        return self._ended

    def on_congested(self, tell: Callable[[bool], object]) -> None:
        """`tell` is called when one side has waited for the other for a while, and when it waits no more."""
        self._tell_congested = tell

    @property
    def congested(self) -> bool:
        return self._is_congested

    def may_idle(self, allowed: bool) -> None:
        """Whether silence is all right: the tunnel waits for somebody to call it."""
        self._may_idle = allowed
        self._heard = self._loop.time()
        self._look_within(self._limits.idle)

    async def send(self, data: bytes) -> None:
        """Sends one message; waits while the peer is slow to take what it was sent before.

        Raises `TransportClosed`, also when the peer took nothing for `limits.congested`, and `TooLarge`, which sends
        nothing. A cancelled send has sent the message whole or not at all.
        """
        if len(data) > self._limits.frame:
            raise TooLarge(f"a message of {len(data)} bytes: {self._limits.frame} at most; send chunks")
        if self._ended is not None:
            raise TransportClosed(self._ended.code, self._ended.reason)
        try:
            # Whoever waits already is first.
            if self._wire is None or self._sending.locked() or not self._wire.write(data):
                await self._send_in_turn(data)
        except ConnectionResetError:
            raise await self.ended() from None  # the news is on its way to `pump`, with the code
        self._said = self._loop.time()
        self._frames_out += 1
        self._bytes_out += len(data)
        self._in_a_row += len(data) + OVERHEAD
        if self._in_a_row > self._limits.buffer_high:
            # To a peer that takes everything at once nothing waits, so others would never have their turn.
            self._in_a_row = 0
            await asyncio.sleep(0)

    async def recv(self) -> bytes:
        """The next message. Raises `TransportClosed` after the last. For one reader; a cancelled recv loses nothing."""
        while not self._inbox:
            if self._ended is not None:
                raise TransportClosed(self._ended.code, self._ended.reason)
            self._arrived = self._loop.create_future()
            await self._arrived
        data = self._inbox.popleft()
        self._waiting -= len(data) + OVERHEAD
        if self._unread_since is not None and self._waiting <= self._limits.buffer_low:
            self._unread_since = None
            self._go_on()
        return data

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Ends the tunnel; what arrived and was not taken is dropped. The second call does nothing.

        Waits until the close frame is on its way, at most `limits.close` for a peer that takes nothing.
        """
        if self._ended is not None:
            return
        if code in _UNSENDABLE or not (1000 <= code < 1015 or 3000 <= code < 5000):
            code = Reason.INTERNAL.close_code
        await self._say_goodbye(code, clip(reason))

    def refuse(self, refused: Refused) -> None:
        """Closes for a rule that the peer broke. The tunnel has ended when this returns; the close frame follows."""
        if self._ended is None:
            self._refused = refused
            task = self._loop.create_task(self._say_goodbye(refused.reason.close_code, refused.close_reason))
            _KEPT.add(task)
            task.add_done_callback(_KEPT.discard)
            self._end(refused.reason.close_code, refused.close_reason)

    async def pump(self) -> None:
        """Reads until the WebSocket has ended, whoever ends it. Run it once."""
        self._watch()
        try:
            if self._wire is not None:
                self._wire.attach(self._arrive, self._has_room)
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    self._refused = self._refused or message.get("refused")
                    self._end(message.get("code") or _NO_CODE, message.get("reason") or "")
                    return
                if self._ended is None:
                    await self._take(message)
        finally:
            self._end(LOST, "")

    async def _send_in_turn(self, data: bytes) -> None:
        """One at a time: when the peer takes something again, all who wait for it would write at once."""
        async with self._sending:
            self._unsent_since = self._loop.time()
            self._look_within(min(NOTICE, self._limits.congested))
            try:
                await self._send_when_possible(data)
            except (WebSocketDisconnect, RuntimeError):
                # RuntimeError: the server ended the WebSocket and the news has not reached `pump` yet.
                self._end(LOST, "")
            finally:
                self._unsent_since = None
        if self._ended is not None:
            raise TransportClosed(self._ended.code, self._ended.reason)

    async def _send_when_possible(self, data: bytes) -> None:
        if self._wire is None:
            await self._socket.send_bytes(data)
            return
        while self._ended is None and not self._wire.write(data):
            self._unblocked = self._loop.create_future()
            await self._unblocked

    async def _take(self, message: Message) -> None:
        """What another server delivers. Waits until another message may come."""
        data = message.get("bytes")
        if data is None:
            self.refuse(Refused(Reason.TEXT, "text frames are not taken; send binary ones"))
            return
        self._arrive(data)
        if self._room is not None and self._ended is None:
            await self._room.wait()

    def _arrive(self, data: bytes) -> None:
        """Puts a message into the inbox, and reads no more for a while where that is due."""
        if self._ended is not None:
            return
        limits = self._limits
        if len(data) > limits.frame:
            self.refuse(Refused(Reason.TOO_LARGE, f"a frame has at most {limits.frame} bytes; send chunks"))
            return
        self._heard = self._loop.time()
        self._must_speak = False
        self._frames_in += 1
        self._bytes_in += len(data)
        self._inbox.append(data)
        self._waiting += len(data) + OVERHEAD
        _wake(self._arrived)
        wait = self._gate.admit(len(data), self._heard)
        if wait is None:
            much = f"more than {limits.bytes_per_second} bytes or {limits.frames_per_second} frames a second"
            self.refuse(Refused(Reason.LIMIT, f"{much} for {limits.over_rate:g} s; pause in between"))
            return
        if self._waiting >= limits.buffer_high and self._unread_since is None:
            self._unread_since = self._heard
            self._look_within(min(NOTICE, limits.congested))
            self._stop_reading()
        if wait:
            self._pace(wait)

    def _stop_reading(self) -> None:
        if self._wire is not None:
            self._wire.hold(on=True)
        elif self._room is None:
            self._room = asyncio.Event()

    def _go_on(self) -> None:
        """Reads again, unless there is another reason not to."""
        if self._unread_since is not None or self._paced is not None:
            return
        if self._wire is not None:
            self._wire.hold(on=False)
        elif self._room is not None:
            self._room.set()
            self._room = None

    def _pace(self, seconds: float) -> None:
        """Reads nothing for a while."""
        self._stop_reading()
        if self._paced is not None:
            self._paced.cancel()
        self._paced = self._loop.call_later(seconds, self._paced_enough)

    def _paced_enough(self) -> None:
        self._paced = None
        self._heard = self._loop.time()  # until now it was us who did not listen
        self._look_within(self._limits.idle)
        self._go_on()

    def _watch(self) -> None:
        """Judges every deadline, and comes back at the next."""
        self._timer = None
        if self._ended is not None:
            return
        now, limits = self._loop.time(), self._limits
        since = [each for each in (self._unread_since, self._unsent_since) if each is not None]
        self._set_congested(any(now - each >= NOTICE for each in since))
        due: list[tuple[float, Reason, str]] = [
            (self._opened + limits.lifetime, Reason.EXPIRED, f"a tunnel lives {limits.lifetime:g} s; dial again")
        ]
        if self._must_speak:
            due.append((self._opened + limits.hello, Reason.DEADLINE, f"no first frame within {limits.hello:g} s"))
        if not self._may_idle and self._paced is None:
            idle = max(self._heard, self._said) + limits.idle
            due.append((idle, Reason.DEADLINE, f"no frame for {limits.idle:g} s; ping, or dial again"))
        if self._unread_since is not None:
            what = f"what you sent was not taken for {limits.congested:g} s"
            due.append((self._unread_since + limits.congested, Reason.DEADLINE, what))
        if self._unsent_since is not None:
            what = f"you took nothing for {limits.congested:g} s"
            due.append((self._unsent_since + limits.congested, Reason.DEADLINE, what))
        at, reason, hint = min(due, key=lambda each: each[0])
        if at <= now:
            self.refuse(Refused(reason, hint))
        else:
            self._timer = self._loop.call_at(min(at, now + NOTICE) if since else at, self._watch)

    def _look_within(self, seconds: float) -> None:
        at = self._loop.time() + seconds
        if self._ended is None and (self._timer is None or self._timer.when() > at):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(at, self._watch)

    def _set_congested(self, now: bool) -> None:
        if now is not self._is_congested:
            self._is_congested = now
            if self._tell_congested is not None:
                self._tell_congested(now)

    async def _say_goodbye(self, code: int, reason: str) -> None:
        self._end(code, reason)
        self._inbox.clear()
        self._waiting = 0
        try:
            async with asyncio.timeout(self._limits.close):
                await self._socket.close(code, reason)
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            pass  # it is gone, or so slow that the server drops it

    def _end(self, code: int, reason: str) -> None:
        if self._ended is not None:
            return
        self._ended = TransportClosed(code, reason)
        for timer in (self._timer, self._paced):
            if timer is not None:
                timer.cancel()
        self._unread_since = self._paced = None
        self._set_congested(False)
        self._go_on()  # what still comes is thrown away, up to the close frame
        _wake(self._arrived)
        _wake(self._unblocked)
        _wake(self._end_waiter)

    def _has_room(self) -> None:
        _wake(self._unblocked)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


_KEPT: set[asyncio.Task[None]] = set()
"""A loop alone does not keep its tasks."""
