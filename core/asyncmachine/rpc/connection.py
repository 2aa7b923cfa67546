"""A session on a transport: the loop that carries frames, events and deadlines between the two."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Final, Generic, TypeVar, cast

from asyncmachine.machine.errors import AmError
from asyncmachine.rpc.errors import Code, PeerFault, RpcError, close_code
from asyncmachine.rpc.events import Event, SessionFailed
from asyncmachine.rpc.legality import Phase
from asyncmachine.rpc.session import Session
from asyncmachine.rpc.timing import call_at
from asyncmachine.rpc.transport import MAX_FRAME, NEAR, NORMAL, Direct, Transport, TransportClosed

logger = logging.getLogger("asyncmachine.rpc")

GOODBYE_TIMEOUT: Final = 3.0
"""Seconds for the last frames to leave before the transport is closed anyway."""

BACKLOG: Final = 256
BACKLOG_SIZE: Final = 16 * MAX_FRAME
"""Frames waiting to be sent, and their bytes, above which no more is read from a peer that does not read itself.

Far more than a payload that is on its way may have: two sides that send each other much must not both stop reading.
"""

TURN: Final = 256
TURN_SIZE: Final = 1 << 20
"""Frames taken in one turn of the loop, and bytes of what they are answered with. A flood has to let others in."""

S = TypeVar("S", bound=Session)

React = Callable[["Connection[S]", Event], None]


class Connection(Generic[S]):
    """Runs one session until its transport ends.

    `react(connection, event)` is called for each event, in order; what it raises ends the connection and comes back to
    it as `SessionFailed`. `drained()`, if it is set, is called when everything has been sent. To send something, use
    the session and then `flush`.
    """

    __slots__ = (
        "_acting", "_backlog", "_closer", "_closing", "_direct", "_due", "_emptied", "_loop", "_react", "_timer",
        "_writer", "drained", "session", "transport",
    )  # fmt: skip

    def __init__(self, session: S, transport: Transport, react: React[S]) -> None:
        self.session = session
        self.transport = transport
        self._direct = cast("Direct | None", transport if hasattr(transport, "deliver") else None)
        self._react = react
        self.drained: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._backlog: list[bytes] = []
        self._writer: asyncio.Task[None] | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._acting = False
        self._closing: tuple[int, str] | None = None
        self._closer: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf  # kept here: the timers of a browser's loop do not tell

    @property
    def now(self) -> float:
        """The loop's time, which the session goes by."""
        return self._loop.time()

    def soon(self, call: Callable[[], None]) -> None:
        """Calls it in the loop's next turn, behind what has arrived meanwhile."""
        self._loop.call_soon(call)

    def later(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Calls it after that time."""
        return call_at(self._loop, self.now + seconds, call)

    @property
    def congested(self) -> bool:
        """True while something waits to be sent."""
        return self._writer is not None

    @property
    def unsent(self) -> tuple[int, int]:
        """How many frames wait to be sent, and their bytes."""
        return len(self._backlog), sum(map(len, self._backlog))

    async def run(self) -> TransportClosed:
        """Carries frames until the transport ends, and returns how. The transport is closed in any case."""
        self.flush()
        try:
            while True:
                if self._direct is not None:
                    self._direct.deliver(self._arrived)
                # No name for the frame: it would keep it until the next one comes.
                self._take(self.session.receive(await self.transport.recv(), self._loop.time()))
                if self._is_full:
                    await self._until_drained()
                elif self.session.counters.frames_in % TURN == 0:
                    await asyncio.sleep(0)  # to receive what is there already gives nobody else a turn
        except TransportClosed as end:
            if self._closing is None:
                for event in self.session.torn(end):
                    self._react(self, event)
            return end
        except Exception as error:  # noqa: BLE001 (told to the shell, whose own code it may come from)
            self._failed(error)
            return TransportClosed(*(self._closing or (NORMAL, "")))
        finally:
            await self._shut()

    def flush(self) -> None:
        """Sends what the session has put out, and notes its next deadline. While events are acted on it waits for the
        last of them, so that all answers leave together.
        """
        if self._acting:
            return
        frames = self.session.outgoing()
        if frames and (self._writer is not None or self._direct is None or not self._direct.send_now(frames)):
            self._backlog.extend(frames)
            self.session.counters.backlog = max(self.session.counters.backlog, len(self._backlog))
            if self._writer is None:
                self._writer = self._loop.create_task(self._write())
        self._arm()

    def probe(self, within: float) -> None:
        """Asks the peer now, if it is one that may vanish without a word; see the session."""
        if self.transport.peer.kind not in NEAR:
            self.session.probe(self.now, within)
            self.flush()

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Ends the connection once everything is sent, or after 3 s; `run` then returns. The first call counts."""
        if self._closing is None:
            self.flush()
            self._closing = (code, reason)
            self._closer = self._loop.create_task(self._close(code, reason))

    # Inside

    def _arrived(self, frames: list[bytes]) -> int:
        """What `run` does with a frame, for transports that hand them over themselves. Returns how many were taken."""
        session, taken = self.session, 0
        enough = session.counters.bytes_out + TURN_SIZE
        try:
            now = self._loop.time()
            for frame in frames:
                self._act(session.receive(frame, now))
                taken += 1
                if taken == TURN or session.counters.bytes_out > enough:
                    break
            self._settle()
        except Exception as error:  # noqa: BLE001 (as in `run`)
            assert self._direct is not None
            self._direct.deliver(_drop)
            self._failed(error)
            return len(frames)
        if self._direct is not None and self._is_full:
            self._direct.deliver(None)  # `run` takes the next one, and then waits
        return taken

    @property
    def _is_full(self) -> bool:
        return len(self._backlog) > BACKLOG or sum(map(len, self._backlog)) > BACKLOG_SIZE

    def _take(self, events: list[Event]) -> None:
        self._act(events)
        self._settle()

    def _act(self, events: list[Event]) -> None:
        self._acting = True
        try:
            for event in events:
                if isinstance(event, SessionFailed):
                    self.close(close_code(Code.DEADLINE), f"{Code.DEADLINE}: {event.error}")
                self._react(self, event)
        finally:
            self._acting = False

    def _settle(self) -> None:
        self.flush()
        if self.session.phase is Phase.ENDED:
            self.close()

    def _failed(self, error: Exception) -> None:
        if isinstance(error, PeerFault):
            self.close(error.close, f"{error.code}: {error}")
        else:
            if not isinstance(error, AmError):
                logger.error("a connection (%s) ends: this side has failed", self.transport.peer.kind, exc_info=error)
            # Errors of the application may say what is none of the peer's business.
            text = error if isinstance(error, RpcError) else "this side failed"
            self.close(close_code(Code.INTERNAL), f"{Code.INTERNAL}: {text}")
        self._react(self, SessionFailed(error))

    async def _write(self) -> None:
        """Sends until nothing is left. An idle connection has no writer."""
        try:
            while self._backlog:
                frames, self._backlog = self._backlog, []
                for frame in frames:
                    await self.transport.send(frame)
        except TransportClosed:
            self._backlog.clear()
        except AmError as error:  # a transport with narrower limits than ours
            self._backlog.clear()
            self._failed(error)
        finally:
            self._writer = None
            if self._emptied is not None and not self._emptied.done():
                self._emptied.set_result(None)
        if self.drained is not None and self._closing is None:
            self.drained()

    async def _until_drained(self) -> None:
        self._emptied = self._loop.create_future()
        await self._emptied
        self._emptied = None

    async def _close(self, code: int, reason: str) -> None:
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=GOODBYE_TIMEOUT)
        await self.transport.close(code, reason)

    async def _shut(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            self.close()
            assert self._closer is not None
            await self._closer
        finally:
            if self._writer is not None:
                self._writer.cancel()
            for event in self.session.end():
                self._react(self, event)

    def _arm(self) -> None:
        """One timer for the session's deadlines. One that is early is left alone: it looks again when it fires."""
        due = self.session.deadline
        if due is None or self._due <= due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = call_at(self._loop, due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._due = math.inf
        if self._closing is not None:
            return  # what was due is due no more, and would be again at once until everything is sent
        try:
            self._take(self.session.tick(self._loop.time()))
        except Exception as error:  # noqa: BLE001 (as in `run`)
            self._failed(error)


def _drop(frames: list[bytes]) -> int:
    """Takes what still comes after the end."""
    return len(frames)
