"""The recorder: takes the frames of many connections, trusts none of them, and writes what is sound to a dump.

Sans-IO in its heart: `connect` gives an `Inlet`, which is fed with frames and says at once if one is not allowed.
`serve` does that for a transport. `run` is the clock: it rotates files by age, and keeps the lines to other recorders.

    recorder = Recorder(RotatingDumps(Path("dumps")))
    async with recorder.running():
        await recorder.serve(transport)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import Final

from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.address import Dial, Transport, TransportClosed
from asyncmachine.telemetry.dbg.codec import decode, encode
from asyncmachine.telemetry.dbg.dumps import Entry, Output
from asyncmachine.telemetry.dbg.errors import BAD_FRAME, BAD_VERSION, FRAME_TOO_LARGE, LIMIT, StreamFault
from asyncmachine.telemetry.dbg.forward import Forwarder, ForwardLimits, Onward
from asyncmachine.telemetry.dbg.line import FAREWELL, GOING_AWAY
from asyncmachine.telemetry.dbg.sender import SESSION, this_process
from asyncmachine.telemetry.dbg.stream import Stream, Track

TICK: Final = 1.0
"""Seconds between two looks at the clock."""

RETRY_OUTPUT: Final = 60
"""Seconds until a file is begun again after one could not be written."""

REASONS: Final = {
    BAD_FRAME: "BAD_FRAME",
    BAD_VERSION: "VERSION",
    FRAME_TOO_LARGE: "TOO_LARGE",
    GOING_AWAY: "SHUTDOWN",
    LIMIT: "LIMIT",
}

logger = logging.getLogger("asyncmachine.telemetry")


@dataclass(frozen=True, slots=True)
class RecorderLimits:
    """What strangers may ask for, all of them together: connections, machines, and bytes of their descriptions.

    `machines_each` and `forwarded_each` are for one connection.
    """

    connections: int = 1_000
    machines: int = 5_000
    machines_each: int = 1_000
    forwarded_each: int = 1_000
    described_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class RecorderStatistics:
    """`connections` and `machines` are there now; all others count from the beginning.

    `lost` records are those that senders told of having dropped. `faults` ended connections, `output_failures` files.
    """

    connections: int
    machines: int
    records: int
    lost: int
    frames: int
    bytes: int
    faults: int
    files: int
    output_failures: int
    forward_dropped: int


class Recorder:
    """Records. Without an output it only checks, counts and forwards."""

    def __init__(
        self,
        output: Output | None = None,
        *,
        forward: Iterable[Dial] = (),
        limits: RecorderLimits | None = None,
        forward_limits: ForwardLimits | None = None,
        clock: Callable[[], int] = time_ns,
    ) -> None:
        self.limits = limits or RecorderLimits()
        self.files: list[Path] = []
        """Finished files, the newest 1,000."""
        self.farewell = FAREWELL
        """Seconds for what is still to be sent on when `run` ends."""
        self._output = output
        self._clock = clock
        self._inlets: dict[int, Inlet] = {}
        self._last_number = 0
        self._machines = 0
        self._described = 0
        self._is_closed = False
        self.is_running = False
        """Whether somebody runs it: else files are not rotated, and the last one is never finished."""
        self._records = self._lost = self._frames = self._bytes = self._faults = self._files = self._failures = 0
        self._no_output_before = 0
        hello = m.Hello(m.MAGIC, m.VERSION, SESSION, this_process())
        self._forwarders = [
            Forwarder(dial, hello, self._known_onward, name=f"forwarder {number}", limits=forward_limits)
            for number, dial in enumerate(forward, 1)
        ]

    # Connections

    def connect(self, peer: str = "") -> Inlet:
        """A new connection; `peer` is for log lines. Raises `StreamFault` if there are too many."""
        if self._is_closed:
            raise StreamFault("the recorder has ended", GOING_AWAY)
        if len(self._inlets) >= self.limits.connections:
            raise StreamFault(f"{len(self._inlets)} connections are there already", LIMIT)
        self._last_number += 1
        inlet = self._inlets[self._last_number] = Inlet(self, self._last_number, peer)
        return inlet

    async def serve(self, transport: Transport) -> StreamFault | None:
        """Records what comes over a transport, to its end. Closes it with the reason if the sender does wrong.

        Returns what that was.
        """
        try:
            inlet = self.connect(transport.peer.address)
        except StreamFault as fault:
            await transport.close(fault.close, reason_of(fault))
            return fault
        try:
            while True:
                inlet.receive(await transport.recv())
        except TransportClosed:
            return None
        except StreamFault as fault:
            logger.warning("the stream from %s is not recorded any more: %s", inlet.peer or "a sender", fault)
            await transport.close(fault.close, reason_of(fault))
            return fault
        finally:
            inlet.close()

    # Time

    def tick(self) -> None:
        """To be called now and then: ends a file that is old enough, and lets readers see what was written."""
        output = self._output
        if output is not None and output.is_open:
            self._to_output(lambda now: self._finish(now) if output.is_full(now) else output.flush())

    def dump(self) -> Path | None:
        """Ends the file that is being written, if any, and returns it."""
        before = self._files
        if self._output is not None and self._output.is_open:
            self._to_output(self._finish)
        return self.files[-1] if self._files > before else None

    async def run(self) -> None:
        """Keeps time and forwards, until it is cancelled; then ends as `close` does."""
        self.is_running = True
        try:
            for forwarder in self._forwarders:
                forwarder.line.start()
            while True:
                await asyncio.sleep(TICK)
                self.tick()
        finally:
            self.is_running = False
            self.close()
            await asyncio.gather(*(forwarder.line.close(self.farewell) for forwarder in self._forwarders))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Recorder]:
        """`run`, for as long as the block."""
        task = asyncio.get_running_loop().create_task(self.run(), name="recorder")
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def close(self) -> None:
        """Ends all connections and the file. What is sent after that is refused."""
        self._is_closed = True
        for inlet in tuple(self._inlets.values()):
            inlet.close()
        self.dump()

    # What is known

    def machines(self) -> Iterator[Track]:
        """The machines that are there now."""
        for inlet in self._inlets.values():
            yield from inlet.stream.tracks.values()

    def statistics(self) -> RecorderStatistics:
        """Counters."""
        return RecorderStatistics(
            len(self._inlets),
            self._machines,
            self._records,
            self._lost,
            self._frames,
            self._bytes,
            self._faults,
            self._files,
            self._failures,
            sum(forwarder.dropped for forwarder in self._forwarders),
        )

    # For inlets

    def _admit(self, frame: bytes, *, is_new: bool) -> None:
        limits = self.limits
        if is_new and self._machines >= limits.machines:
            raise StreamFault(f"{self._machines} machines are there already", LIMIT)
        if self._described + len(frame) > limits.described_bytes:
            raise StreamFault("the descriptions of all machines take too many bytes", LIMIT)

    def _make_ready(self) -> None:
        """Begins a file if none is open, with all that is known before what comes now."""
        output = self._output
        if output is not None and not output.is_open and self._clock() >= self._no_output_before:
            self._to_output(lambda now: output.begin(now, self._known(now)))

    def _keep(self, inlet: Inlet, received: int, frame: bytes, records: int = 0, lost: int = 0) -> None:
        self._records += records
        self._lost += lost
        self._frames += 1
        self._bytes += len(frame)
        for forwarder in self._forwarders:
            forwarder.put((str(inlet.number), received, frame))
        output = self._output
        if output is not None and output.is_open:
            self._to_output(lambda _: output.write((inlet.number, received, frame), records))
            self._to_output(lambda now: self._finish(now) if output.is_full(now) else None)

    def _forget(self, inlet: Inlet) -> None:
        self._inlets.pop(inlet.number, None)
        output = self._output
        if not self._inlets and output is not None and output.is_open and output.ends_when_idle:
            self._to_output(self._finish)

    def _known(self, now: int) -> Iterator[Entry]:
        for inlet in self._inlets.values():
            for frame in inlet.stream.known():
                yield inlet.number, now, frame

    def _known_onward(self) -> Iterator[Onward]:
        for connection, received, frame in self._known(self._clock()):
            yield str(connection), received, frame

    def _finish(self, now: int) -> None:
        assert self._output is not None
        path = self._output.finish(now)
        if path is not None:
            self._files += 1
            self.files[:] = [*self.files[-999:], path]
            logger.info("%s written", path)

    def _to_output(self, act: Callable[[int], object]) -> None:
        """Does something to the output. A disk that fails ends the file, not the recorder."""
        now = self._clock()
        try:
            act(now)
        except OSError as error:
            self._failures += 1
            self._no_output_before = now + RETRY_OUTPUT * 1_000_000_000
            logger.error("nothing is recorded for %d seconds: %s", RETRY_OUTPUT, error)  # noqa: TRY400 (it tells all)
            if self._output is not None:
                self._output.abandon()


def reason_of(fault: StreamFault) -> str:
    """What a sender is told when its connection is closed."""
    return f"{REASONS.get(fault.close, 'BAD_FRAME')}: {fault}"


class Inlet:
    """One connection of a recorder. Feed it with `receive`, and `close` it at the end."""

    def __init__(self, recorder: Recorder, number: int, peer: str) -> None:
        self.number = number
        self.peer = peer
        self.stream = Stream(recorder.limits.machines_each)
        self._recorder = recorder
        self._through: dict[str, Inlet] = {}
        # Bytes that are kept of each machine, by number.
        self._described: dict[int, int] = {}
        self._is_closed = False

    def receive(self, frame: bytes) -> None:
        """Takes a frame. Raises `StreamFault` if it is not allowed: then close the connection with the fault's code."""
        if self._is_closed:
            raise StreamFault("the connection is closed")
        try:
            message = decode(frame)
            if isinstance(message, m.Forwarded):
                self._receive_forwarded(message)
            else:
                self._take(frame, message, self._recorder._clock())
        except StreamFault:
            self._recorder._faults += 1
            raise

    def close(self) -> None:
        """The connection has ended, with or without a goodbye."""
        if self._is_closed:
            return
        self._is_closed = True
        recorder = self._recorder
        for inlet in tuple(self._through.values()):
            inlet.close()
        if self.stream.hello is not None and not self.stream.has_ended:
            self.stream.has_ended = True
            recorder._keep(self, recorder._clock(), encode(m.Bye()))
        for number in tuple(self._described):
            self._release(number)
        self.stream.tracks.clear()
        recorder._forget(self)

    def _receive_forwarded(self, envelope: m.Forwarded) -> None:
        if self.stream.hello is None:
            raise StreamFault("expected Hello first, got Forwarded")
        message = decode(envelope.frame)
        inlet = self._through.get(envelope.connection)
        if inlet is None:
            if len(self._through) >= self._recorder.limits.forwarded_each:
                raise StreamFault("too many forwarded connections", LIMIT)
            inlet = self._recorder.connect(f"{self.peer} {envelope.connection}")
            self._through[envelope.connection] = inlet
        inlet._take(envelope.frame, message, envelope.received)
        if inlet.stream.has_ended:
            del self._through[envelope.connection]
            inlet.close()

    def _take(self, frame: bytes, message: m.AnyMessage, received: int) -> None:
        recorder, stream = self._recorder, self.stream
        if isinstance(message, m.Machine | m.Pipes):
            recorder._admit(frame, is_new=message.machine not in stream.tracks)
        elif isinstance(message, m.Transitions | m.Log | m.Gap):
            recorder._make_ready()
        track = stream.take(message, frame)
        records = lost = 0
        match message:
            case m.Machine() | m.Pipes() if track is not None:
                self._release(track.number)
                self._claim(track)
            case m.Gone():
                self._release(message.machine)
            case m.Transitions():
                records = len(message.which)
            case m.Gap():
                lost = message.lost
        recorder._keep(self, received, frame, records, lost)

    def _claim(self, track: Track) -> None:
        size = self._described[track.number] = len(track.description) + len(track.pipes)
        self._recorder._described += size
        self._recorder._machines += 1

    def _release(self, number: int) -> None:
        size = self._described.pop(number, None)
        if size is not None:
            self._recorder._described -= size
            self._recorder._machines -= 1
