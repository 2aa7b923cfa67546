"""The sender: one receiver, any number of machines, and the outbox between them.

Tracers append from whatever thread a machine runs on. The sender wakes when there is something, lets a little more
gather, packs all of it, and waits for the transport; while it waits, the outbox drops its oldest notes if it has to.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import PurePath
from secrets import token_hex
from typing import Any, Final
from weakref import WeakSet

from asyncmachine.machine.view import View
from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.address import Dial
from asyncmachine.telemetry.dbg.codec import encode
from asyncmachine.telemetry.dbg.line import FAREWELL, NATIVE, Absence, Line
from asyncmachine.telemetry.dbg.outbox import Outbox, OutboxLimits
from asyncmachine.telemetry.dbg.packing import Packer
from asyncmachine.telemetry.dbg.texts import clipped
from asyncmachine.telemetry.dbg.tracer import DbgTracer, tracer_for

GATHER: Final = 0.05
"""Seconds between the first note and its sending."""

LOOK_EVERY: Final = 1.0
"""Seconds between two looks for log entries that no transition takes along."""

INTERNAL_TAGS: Final = ("rpc-", "relay")
"""How the tags begin of machines that aRPC and the relay run for themselves."""

SESSION: Final = token_hex(8)
"""Of this run of the program."""


@dataclass(frozen=True, slots=True)
class SenderOptions:
    """`internal`: machines of aRPC and the relay are watched too, if they are children of a watched one.

    `stacks`: queued mutations tell who made them. `trace_filter` is taken out of these stacks, and those of errors.
    """

    limits: OutboxLimits = field(default_factory=OutboxLimits)
    internal: bool = False
    stacks: bool = True
    trace_filter: str = ""


@dataclass(frozen=True, slots=True)
class SenderStatistics:
    """`machines` are watched, `waiting` notes are in the outbox or on their way out of it.

    `dropped` and `unsendable` records were not sent: there was no room, or no frame could hold them. `frames` and
    `bytes` were handed to a transport, in `connections`.
    """

    machines: int
    waiting: int
    dropped: int
    unsendable: int
    frames: int
    bytes: int
    connections: int


class Sender:
    """Sends what its machines do to whoever `dial` connects to. Ends by itself when the last machine has ended."""

    def __init__(
        self, dial: Dial, *, name: str = "debugger", options: SenderOptions | None = None, absence: Absence = NATIVE
    ) -> None:
        self.options = options or SenderOptions()
        self.outbox = Outbox(self.options.limits, self._wake)
        self._packer = Packer(m.Hello(m.MAGIC, m.VERSION, SESSION, this_process()), self.options.trace_filter)
        self._line = Line(dial, self, name, absence)
        self._tracers: WeakSet[DbgTracer] = WeakSet()
        # Reentrant: an output of the machine's log may attach another machine.
        self._guard = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = asyncio.Event()
        self._urgent = asyncio.Event()
        self._look_at = 0.0
        self._packed: Iterator[bytes] = iter(())
        self._underway = 0
        self._frames = 0
        self._bytes = 0
        self.is_finished = False
        self._closer: asyncio.Task[None] | None = None
        self._ended: Future[None] = Future()
        # Nobody who stops waiting for the end takes it from the others.
        self._ended.set_running_or_notify_cancel()

    # Machines

    def attach(self, machine: View[Any]) -> DbgTracer | None:
        """Watches a machine, and those that are made as its children. A second time returns the same tracer.

        None if the machine is disposed of, or the sender has ended. From any thread.
        """
        with self._guard:
            for tracer in machine.tracers:
                if isinstance(tracer, DbgTracer) and tracer in self._tracers:
                    return tracer
            if self.is_finished or machine.is_disposed:
                return None
            tracer = tracer_for(machine, self.outbox, self._attach_child, stacks=self.options.stacks)
            self._tracers.add(tracer)
            machine.trace(tracer)
        return tracer

    def detach(self, machine: View[Any]) -> None:
        """Watches a machine no longer. Does nothing if it is not watched."""
        for tracer in machine.tracers:
            if isinstance(tracer, DbgTracer) and tracer in self._tracers:
                machine.untrace(tracer.id)
                tracer.end()

    def _attach_child(self, machine: View[Any]) -> None:
        if self.options.internal or not any(tag.startswith(INTERNAL_TAGS) for tag in machine.tags):
            self.attach(machine)

    # Lifetime

    def start(self) -> asyncio.Task[None]:
        """Begins to send, in the running loop."""
        self._loop = asyncio.get_running_loop()
        task = self._line.start()
        task.add_done_callback(lambda _: self._end())
        if self.outbox:
            self.nudge()
        return task

    async def close(self, farewell: float = FAREWELL) -> None:
        """Sends what waits, if that takes no longer than `farewell` seconds, and ends. From any loop and thread."""
        loop = self._loop
        if loop is None or loop is asyncio.get_running_loop():
            await self._line.close(farewell)
            self._end()
            return
        try:
            loop.call_soon_threadsafe(self._close_here, farewell)
            async with asyncio.timeout(2 * farewell):
                await asyncio.wrap_future(self._ended)
        except (RuntimeError, TimeoutError):
            # Its loop is closed, or does not run: nobody sends any more.
            self._end()

    def statistics(self) -> SenderStatistics:
        """Counters since the beginning."""
        return SenderStatistics(
            machines=len(self._watching()),
            waiting=len(self.outbox) + self._underway,
            dropped=self.outbox.dropped,
            unsendable=self._packer.unsendable,
            frames=self._frames,
            bytes=self._bytes,
            connections=self._line.connections,
        )

    def _close_here(self, farewell: float) -> None:
        self._closer = asyncio.get_running_loop().create_task(self._line.close(farewell))

    def _end(self) -> None:
        """Lets go of the machines: nobody will ever take what they note."""
        with self._guard:
            self.is_finished = True
        for tracer in self._watching():
            machine = tracer.machine()
            if machine is not None:
                machine.untrace(tracer.id)
                tracer.end()
        self.outbox.take()
        with self._guard:
            if not self._ended.done():
                self._ended.set_result(None)

    # For the line

    def opening(self) -> Iterator[bytes]:
        """Who speaks, and the machines."""
        # Packed for a connection that has ended: who speaks next begins after them.
        for _ in self._packed:
            pass
        self._underway = 0
        yield from map(self._counted, self._packer.opening())

    async def due(self) -> None:
        """Returns a little after the first note; at once if many wait."""
        loop = asyncio.get_running_loop()
        while not self._due.is_set():
            if not await waited(self._due, max(0.0, self._look_at - loop.time())):
                self._look()
                if self.outbox:
                    break
        if not self._urgent.is_set():
            await waited(self._urgent, GATHER)
        if loop.time() >= self._look_at:
            self._look()
        self._due.clear()
        self._urgent.clear()

    def nudge(self) -> None:
        """Lets `due` return at once."""
        self._due.set()
        self._urgent.set()

    def frames(self) -> Iterator[bytes]:
        """What waits in the outbox."""
        yield from self._taken()
        with self._guard:
            # Under the guard, so that a machine is either attached before or finds that this sender has ended.
            idle = not self.outbox and all(tracer.has_ended for tracer in self._tracers)
            self.is_finished = self.is_finished or (idle and self._packer.has_begun)

    def closing(self) -> Iterator[bytes]:
        """The last log entries, and a goodbye."""
        self._look()
        yield from self._taken()
        yield self._counted(encode(m.Bye()))

    def _taken(self) -> Iterator[bytes]:
        losses, items = self.outbox.take()
        self._underway = len(items)
        self._packed = self._packer.frames(losses, items)
        for frame in self._packed:
            yield self._counted(frame)
        self._underway = 0

    def _look(self) -> None:
        self._look_at = asyncio.get_running_loop().time() + LOOK_EVERY
        for tracer in self._watching():
            tracer.look()

    def _watching(self) -> list[DbgTracer]:
        with self._guard:
            return [tracer for tracer in self._tracers if not tracer.has_ended]

    def _counted(self, frame: bytes) -> bytes:
        self._frames += 1
        self._bytes += len(frame)
        return frame

    def _wake(self, urgent: bool) -> None:
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._woken, urgent)
            except RuntimeError:
                # The loop is closed, or closing: nobody sends any more.
                self._loop = None

    def _woken(self, urgent: bool) -> None:
        self._due.set()
        if urgent:
            self._urgent.set()


async def waited(event: asyncio.Event, seconds: float) -> bool:
    """True if the event was set within this time."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def this_process() -> m.Process:
    """The program that runs here. Without its arguments."""
    program = PurePath(sys.argv[0]).name if sys.argv else ""
    return m.Process(
        clipped(program or PurePath(sys.executable or "python").name, m.ID_LENGTH),
        os.getpid(),
        sys.version.split()[0],
        sys.platform,
    )
