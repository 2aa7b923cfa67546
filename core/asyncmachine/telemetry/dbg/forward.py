"""Forwarding: what a recorder has taken goes on to another one, as fast as that takes it.

The queue has an end. When it is reached the connection is begun anew, and with it all that is known of the machines and
their clocks: from the numbers of their records the other side learns how many it has missed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.address import Dial, TransportClosed
from asyncmachine.telemetry.dbg.codec import encode
from asyncmachine.telemetry.dbg.line import GOING_AWAY, Line

Onward = tuple[str, int, bytes]
"""Name of the connection, receiver's time, frame."""


@dataclass(frozen=True, slots=True)
class ForwardLimits:
    """How much may wait for one forwarder."""

    frames: int = 10_000
    bytes: int = 16 << 20


class Forwarder:
    """The line to one other recorder. `known` gives the frames that tell all that is known now."""

    is_finished = False

    def __init__(
        self,
        dial: Dial,
        hello: m.Hello,
        known: Callable[[], Iterable[Onward]],
        *,
        name: str = "forwarder",
        limits: ForwardLimits | None = None,
    ) -> None:
        self.line = Line(dial, self, name)
        self.dropped = 0
        """Frames that were not forwarded."""
        self._hello = hello
        self._known = known
        self._limits = limits or ForwardLimits()
        self._queue: deque[Onward] = deque()
        self._size = 0
        self._is_behind = False
        self._due = asyncio.Event()

    def put(self, onward: Onward) -> None:
        """Takes a frame to be sent. Never waits."""
        if not self.line.connected:
            # The next connection begins with all that is known then.
            self.dropped += 1
            return
        self._queue.append(onward)
        self._size += len(onward[2])
        if len(self._queue) > self._limits.frames or self._size > self._limits.bytes:
            self._clear()
            self._is_behind = True
        self._due.set()

    # For the line

    def opening(self) -> Iterator[bytes]:
        """Who speaks, and all that is known at this moment; what comes later is in the queue."""
        known = list(self._known())
        self._clear()
        self._is_behind = False
        yield encode(self._hello)
        yield from map(enveloped, known)

    async def due(self) -> None:
        """Returns when there is a frame."""
        await self._due.wait()
        self._due.clear()

    def nudge(self) -> None:
        """Lets `due` return."""
        self._due.set()

    def frames(self) -> Iterator[bytes]:
        """What waits. Raises `TransportClosed` after an overflow, so that there is a new connection."""
        while self._queue or self._is_behind:
            if self._is_behind:
                raise TransportClosed(GOING_AWAY, "fell behind")
            onward = self._queue.popleft()
            self._size -= len(onward[2])
            yield enveloped(onward)

    def closing(self) -> Iterator[bytes]:
        """A goodbye."""
        yield from self.frames()
        yield encode(m.Bye())

    def _clear(self) -> None:
        self.dropped += len(self._queue)
        self._queue.clear()
        self._size = 0


def enveloped(onward: Onward) -> bytes:
    """A frame in its envelope."""
    connection, received, frame = onward
    return encode(m.Forwarded(connection, received, frame))
