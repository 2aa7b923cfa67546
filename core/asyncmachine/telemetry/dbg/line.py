"""A line: keeps a connection to one receiver, for a source of frames that never waits.

It dials, sends what the source has, and dials again when the connection ends, without end but ever more slowly. Nothing
is expected in return; what the other side says is not read.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from asyncmachine.telemetry.dbg.address import Dial, Transport, TransportClosed, failed_dial

REFUSALS: Final = frozenset({4401, 4403, 4404, 4406})
"""Close codes after which dialling again is of no use: not let in, no such target, another version."""

DIAL_TIMEOUT: Final = 10.0
FAREWELL: Final = 1.0
"""Seconds for what is left to send when the line is told to stop."""

CLOSING: Final = 0.1
"""Seconds for the end of a connection that took nothing."""

FIRST_DELAY, LONGEST_DELAY = 0.1, 10.0
STEADY: Final = 5.0
"""A connection that lasted so many seconds was a good one: the delays begin anew."""

NORMAL, GOING_AWAY, LOST = 1000, 1001, 1006
FIRST_COMPLAINT: Final = 4000
"""Close codes from here on say that the receiver found something wrong."""

logger = logging.getLogger("asyncmachine.telemetry")


@dataclass(frozen=True, slots=True)
class Absence:
    """What is done about a receiver never reached: seconds before the second try, at most, and what is said."""

    first: float
    longest: float
    cure: str


NATIVE: Final = Absence(FIRST_DELAY, LONGEST_DELAY, "`am relay rotate-dbg` starts a recorder")
IN_PAGE: Final = Absence(
    15.0, 120.0, "the page's own server has to, by [dbg] of `am relay wasm` or by Relay(recorder=...)"
)
"""A browser writes an error to its console for each try, which nobody can keep it from."""


class Source(Protocol):
    """What is to be sent."""

    def opening(self) -> Iterable[bytes]:
        """The first frames of a new connection."""

    async def due(self) -> None:
        """Returns when there is something to send, or after a nudge."""

    def nudge(self) -> None:
        """Lets `due` return."""

    def frames(self) -> Iterable[bytes]:
        """Takes what there is to send."""

    def closing(self) -> Iterable[bytes]:
        """The last frames of a connection that is ended on purpose."""

    @property
    def is_finished(self) -> bool:
        """True if nothing will ever be sent again."""


class Line:
    """One connection after the other, until the source is finished, the receiver refuses it, or `close`."""

    def __init__(self, dial: Dial, source: Source, name: str, absence: Absence = NATIVE) -> None:
        self.name = name
        self.connected = False
        self.connections = 0
        self.refusal = ""
        """Why the receiver does not want this line; empty while it does."""
        self._dial = dial
        self._source = source
        self._absence = absence
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Begins, in the running loop. The task ends when the line has ended for good."""
        self._task = self._task or asyncio.get_running_loop().create_task(self._run(), name=f"{self.name}.line")
        return self._task

    async def close(self, farewell: float = FAREWELL) -> None:
        """Sends what is left, says goodbye, and ends; after `farewell` seconds without the first two."""
        self._closing.set()
        self._source.nudge()
        if self._task is not None:
            # Who takes nothing does not answer a closing handshake either: the first cancellation begins one, the
            # second does not wait for it.
            for patience in (farewell, CLOSING):
                await asyncio.wait({self._task}, timeout=patience)
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def _is_over(self) -> bool:
        return self._closing.is_set() or self._source.is_finished

    async def _run(self) -> None:
        attempt = 0
        loop = asyncio.get_running_loop()
        while not self._is_over:
            begun = loop.time()
            ended = await self._connect()
            if ended.code in REFUSALS:
                self.refusal = str(ended)
                logger.warning("%s does not take the debug stream: %s", self.name, ended)
                return
            if loop.time() - begun >= STEADY:
                attempt = 0
            if not self._is_over:
                self._tell(ended, attempt)
                known, never = self.connections > 0, self._absence
                await self._pause(delay(attempt) if known else delay(attempt, never.first, never.longest))
            attempt += 1

    def _tell(self, ended: TransportClosed, attempt: int) -> None:
        if ended.code >= FIRST_COMPLAINT:
            logger.warning("%s: %s; trying again", self.name, ended)
        elif attempt == 0 and self.connections == 0:
            told = "%s: nobody records there (%s): %s; trying again, ever more rarely"
            logger.warning(told, self.name, ended, self._absence.cure)
        elif attempt == 0:
            logger.info("%s: %s; trying again", self.name, ended)

    async def _connect(self) -> TransportClosed:
        """One connection from dial to end."""
        try:
            async with asyncio.timeout(DIAL_TIMEOUT):
                transport = await self._dial()
        except TransportClosed as error:
            return error
        except Exception as error:  # noqa: BLE001 (the application's function; it means that there is no connection)
            return failed_dial(error, DIAL_TIMEOUT)
        self.connected = True
        self.connections += 1
        try:
            return await self._carry(transport)
        finally:
            self.connected = False

    async def _carry(self, transport: Transport) -> TransportClosed:
        loop = asyncio.get_running_loop()
        reading = loop.create_task(self._read(transport), name=f"{self.name}.read")
        writing = loop.create_task(self._write(transport), name=f"{self.name}.write")
        code = GOING_AWAY
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            code = NORMAL
            return (reading if reading.done() else writing).result()
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)
            await _end(transport, code)

    async def _read(self, transport: Transport) -> TransportClosed:
        while True:
            try:
                await transport.recv()
            except TransportClosed as error:
                return error

    async def _write(self, transport: Transport) -> TransportClosed:
        try:
            for frame in self._source.opening():
                await transport.send(frame)
            while True:
                for frame in self._source.frames():
                    await transport.send(frame)
                if self._is_over:
                    break
                await self._source.due()
            for frame in self._source.closing():
                await transport.send(frame)
        except TransportClosed as error:
            return error
        return TransportClosed(NORMAL)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass


async def _end(transport: Transport, code: int) -> None:
    """Closes it, and drops it if that is not waited for."""
    try:
        await transport.close(code)
    except asyncio.CancelledError:
        abort = getattr(transport, "abort", None)
        if abort is not None:
            abort()
        raise


def delay(attempt: int, first: float = FIRST_DELAY, longest: float = LONGEST_DELAY) -> float:
    """Seconds before attempt number `attempt` (from 0): doubling, and spread so that many do not come at once."""
    return min(longest, first * 2.0 ** min(attempt, 30)) * random.uniform(0.8, 1.2)
