"""A server's WebSocket as a `Transport`.

Two coroutines share it: whoever uses the transport, and `pump`, which reads for as long as the WebSocket lives. A page
that leaves is therefore noticed at once, whatever the user is doing, and what the peer sent before is still delivered.

Memory is bounded both ways. Received bytes wait in `_inbox` up to `buffer_high`; then nothing more is read, and the
peer's TCP window closes. `send` waits while the server's own buffer for the peer is full.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from asyncmachine.rpc.errors import TooLarge
from asyncmachine.rpc.transport import LOST, NORMAL, Peer, TransportClosed
from asyncmachine_relay.limits import Limits, RateGate
from asyncmachine_relay.policy import Reason, Refused, clip

_NO_CODE = 1005
_UNSENDABLE = frozenset({1004, _NO_CODE, LOST, 1015})


@dataclass(frozen=True)
class TransportStatistics:
    """Counts since the start, and the bytes that were received and not yet taken."""

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
        self._peer = peer
        self._limits = limits
        self._caller = caller
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[bytes] = deque()
        self._waiting = 0
        self._arrived: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._sending = asyncio.Lock()
        self._ended: TransportClosed | None = None
        self._refused: Refused | None = None
        self._opened = self._said = self._heard = self._loop.time()
        self._gate = RateGate(limits, self._opened)
        self._frames_in = self._bytes_in = self._frames_out = self._bytes_out = 0

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

    def statistics(self) -> TransportStatistics:
        """A look at the counters."""
        return TransportStatistics(
            self._frames_in, self._bytes_in, self._frames_out, self._bytes_out, bytes_waiting=self._waiting
        )

    async def send(self, data: bytes) -> None:
        """Sends one message; waits while the peer is slow to take what it was sent before.

        Raises `TransportClosed`, also when the peer took nothing for `limits.congested`, and `TooLarge`, which sends
        nothing. A cancelled send has sent the message whole or not at all.
        """
        if len(data) > self._limits.frame:
            raise TooLarge(f"a message of {len(data)} bytes: {self._limits.frame} at most; send chunks")
        try:
            # One at a time: when the peer takes something again, all who wait for it would write at once.
            async with self._sending, asyncio.timeout(self._limits.congested):
                if self._ended is None:
                    await self._socket.send_bytes(data)
        except TimeoutError:
            await self.refuse(Refused(Reason.DEADLINE, f"you took nothing for {self._limits.congested:g} s"))
        except (WebSocketDisconnect, RuntimeError):
            # RuntimeError: the server ended the WebSocket and the news has not reached `pump` yet.
            self._end(LOST, "")
        if self._ended is not None:
            raise TransportClosed(self._ended.code, self._ended.reason)
        self._said = self._loop.time()
        self._frames_out += 1
        self._bytes_out += len(data)

    async def recv(self) -> bytes:
        """The next message. Raises `TransportClosed` after the last. For one reader; a cancelled recv loses nothing."""
        while not self._inbox:
            if self._ended is not None:
                raise TransportClosed(self._ended.code, self._ended.reason)
            self._arrived = self._loop.create_future()
            await self._arrived
        data = self._inbox.popleft()
        self._waiting -= len(data)
        if self._waiting <= self._limits.buffer_low:
            self._room.set()
        return data

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Ends the tunnel; what arrived and was not taken is dropped. The second call does nothing.

        Waits until the close frame is on its way, at most `limits.close` for a peer that takes nothing.
        """
        if self._ended is not None:
            return
        if code in _UNSENDABLE or not (1000 <= code < 1015 or 3000 <= code < 5000):
            code = Reason.INTERNAL.close_code
        self._end(code, clip(reason))
        self._inbox.clear()
        self._waiting = 0
        try:
            async with asyncio.timeout(self._limits.close):
                await self._socket.close(code, clip(reason))
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            pass  # it is gone, or so slow that the server drops it

    async def refuse(self, refused: Refused) -> None:
        """Closes for a rule that the peer broke."""
        if self._ended is None:
            self._refused = refused
            await self.close(refused.reason.close_code, refused.close_reason)

    async def pump(self) -> None:
        """Reads until the WebSocket has ended, whoever ends it. Run it once."""
        watch = asyncio.create_task(self._watch(), name=f"deadlines of {self._peer.id}")
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    self._refused = self._refused or message.get("refused")
                    self._end(message.get("code") or _NO_CODE, message.get("reason") or "")
                    return
                if self._ended is None:
                    try:
                        await self._take(message)
                    except Refused as refused:
                        await self.refuse(refused)
        finally:
            self._end(LOST, "")
            watch.cancel()

    async def _take(self, message: Message) -> None:
        """Puts a message into the inbox, then waits until another one may come. Raises `Refused`."""
        data = message.get("bytes")
        limits = self._limits
        if data is None:
            raise Refused(Reason.TEXT, "text frames are not taken; send binary ones")
        if len(data) > limits.frame:
            raise Refused(Reason.TOO_LARGE, f"a frame has at most {limits.frame} bytes; send chunks")
        self._heard = self._loop.time()
        self._frames_in += 1
        self._bytes_in += len(data)
        self._inbox.append(data)
        self._waiting += len(data)
        self._wake()
        wait = self._gate.admit(len(data), self._heard)
        if wait is None:
            raise Refused(
                Reason.LIMIT, f"more than {limits.bytes_per_second} bytes or {limits.frames_per_second} frames a second"
            )
        if wait:
            await asyncio.sleep(wait)
        if self._waiting >= limits.buffer_high:
            self._room.clear()
            try:
                async with asyncio.timeout(limits.congested):
                    await self._room.wait()
            except TimeoutError:
                raise Refused(Reason.DEADLINE, f"what you sent was not taken for {limits.congested:g} s") from None

    async def _watch(self) -> None:
        """Ends a tunnel that says nothing for too long."""
        limits = self._limits
        if self._caller:
            await asyncio.sleep(limits.hello)
            if not self._frames_in:
                await self.refuse(Refused(Reason.DEADLINE, f"no first frame within {limits.hello:g} s"))
        while self._ended is None:
            rest = max(self._heard, self._said) + limits.idle - self._loop.time()
            if rest <= 0:
                await self.refuse(Refused(Reason.DEADLINE, f"no frame for {limits.idle:g} s; ping, or dial again"))
            else:
                await asyncio.sleep(rest)

    def _end(self, code: int, reason: str) -> None:
        if self._ended is None:
            self._ended = TransportClosed(code, reason)
        self._room.set()
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)
