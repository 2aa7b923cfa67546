"""One of many connections inside of a carrier: its messages in parts, and its windows (`many_frames`)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from asyncmachine.rpc.transport import GOING_AWAY, LOST, NORMAL, Peer, TransportClosed
from asyncmachine.rpc.transport.inbox import Inbox, wake
from asyncmachine.rpc.transport.many_frames import (
    CHUNK,
    COST,
    DATA,
    FINISH,
    HEAD,
    INITIAL,
    LONGEST_REASON,
    PART,
    RESET,
    U16,
    U32,
    WINDOW,
    Fault,
)

if TYPE_CHECKING:
    from asyncmachine.rpc.transport.many import Many


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
        self._granting = False
        """Whether a frame that gives it back waits to be sent."""
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
            text = reason.encode(errors="replace")[:LONGEST_REASON].decode(errors="ignore").encode()
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
            raise Fault("a frame with a wrong payload")

    def _take_data(self, kind: int, payload: bytes) -> None:
        many, limits = self._many, self._many.limits
        if self._inbox.ended:
            if self._heard_all:
                raise Fault("data after FINISH")
            return
        cost = len(payload) + COST
        self._size += cost
        if len(payload) > CHUNK or self._size + self._read > limits.window + CHUNK + COST:
            raise Fault("more data than its window")
        if kind == PART or self._parts:
            self._parts.append(payload)
            self._assembled += len(payload)
            many._assembling += len(payload)
            # Without the second rule, empty parts would cost nothing for ever.
            if self._assembled > limits.message or len(self._parts) > 4 * limits.message // CHUNK + 4:
                raise Fault("a message that is too large")
            if many._assembling > limits.assembling:
                raise Fault("too many messages that are not finished")
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
        if self._read >= self._many.limits.window // 4 and not self._granting and self._number in self._many._open:
            self._granting = True
            self._many._say_window(self)

    def _window_frame(self) -> bytes:
        """Gives back all that was read until now, in the moment it is told: what is not told may not be used."""
        told, self._read, self._granting = self._read, 0, False
        return HEAD.pack(WINDOW, self._number) + U32.pack(told)

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
