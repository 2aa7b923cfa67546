"""When a served client is told of changes: with the answers to its calls, else by pushes that are kept apart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from asyncmachine.machine.errors import AmError
from asyncmachine.rpc.answering import ServerSession
from asyncmachine.rpc.connection import Connection
from asyncmachine.rpc.debounce import Debounce
from asyncmachine.rpc.errors import Code, Outgrown, TooLarge, Unsendable, close_code
from asyncmachine.rpc.exposure import Exposure
from asyncmachine.rpc.legality import Phase
from asyncmachine.rpc.telling import Telling
from asyncmachine.rpc.timing import call_at


class Pushing:
    """Pushes what `telling` tells of the source. A clock that cannot be told ends the connection, as `failed` hears.

    While `holds` is true nothing is pushed: an answer will tell it. `interval` are seconds between two pushes.
    """

    __slots__ = ("_connection", "_debounce", "_failed", "_loop", "_scheduled", "_timer", "holds", "telling")

    def __init__(
        self,
        source: Any,
        connection: Connection[ServerSession],
        exposure: Exposure,
        watcher: str,
        interval: float,
        failed: Callable[[AmError], object],
    ) -> None:
        self._connection = connection
        self._debounce = Debounce(interval)
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self.telling = Telling(source, connection.session, exposure, watcher, self.source_changed, self.source_gone)
        self.holds = False

    def begin(self) -> None:
        """The client is ready: what has changed since the welcome follows."""
        if self._differs():
            self._push_now()

    def close(self) -> None:
        """Stops watching the source."""
        self.telling.stop()
        if self._timer is not None:
            self._timer.cancel()

    def source_changed(self) -> None:
        """On the thread that drains the source: one push for all of a drain, and none if a reply tells it."""
        if self._scheduled or self.holds or not self._debounce.interval:
            return
        self._scheduled = True
        if asyncio._get_running_loop() is self._loop:
            self._loop.call_soon(self._push)
        else:
            self._loop.call_soon_threadsafe(self._push)

    def source_gone(self) -> None:
        """On the thread that disposes of the source: the client is told, and comes back in case there is another."""
        if not self._loop.is_closed():
            # A turn later: those who wait for something of the source are told first that it will not come.
            self._loop.call_soon_threadsafe(self._loop.call_soon, self._say_goodbye)

    def _say_goodbye(self) -> None:
        why = "the source was disposed of"
        self._connection.session.bye(why)
        self._connection.close(close_code(Code.SHUTDOWN), why)

    def has_room(self) -> None:
        """The connection takes more again: what was held back is pushed as one."""
        if self._debounce.deadline is not None:
            self._push()

    def tell(self, send: Callable[[], None]) -> None:
        """Sends what tells the whole clock, an answer say: a push is not needed any more."""
        self._send(send)
        self._debounce.told()

    def _push(self) -> None:
        self._scheduled = False
        if self._connection.session.phase is not Phase.READY or not self._debounce.interval:
            return
        now = self._loop.time()
        if not self._differs():
            self._debounce.told()
        elif not self._debounce.changed(now):
            self._wake_at(self._debounce.deadline)
        elif self._connection.congested:
            self._connection.session.counters.conflated += 1  # it goes out with what comes until there is room
        else:
            self._push_now()

    def _differs(self) -> bool:
        try:
            return self.telling.differs()
        except Outgrown as error:
            self._outgrown(error)
            return False

    def _push_now(self) -> None:
        self._debounce.pushed(self._loop.time())
        self._send(self.telling.changes)
        self._connection.flush()

    def _wake_at(self, due: float | None) -> None:
        if due is not None and self._timer is None:
            self._timer = call_at(self._loop, due, self._awake)

    def _awake(self) -> None:
        # A loop may be a little early; then there is no timer any more, and another one is made.
        self._timer = None
        self._push()

    def _send(self, send: Callable[[], None]) -> None:
        # A mirror that is not told could not be right any more.
        try:
            send()
        except Outgrown as error:
            self._outgrown(error)
        except Unsendable as error:
            self._failed(error)
            code = Code.TOO_LARGE if isinstance(error, TooLarge) else Code.INTERNAL
            self._connection.close(close_code(code), f"{code}: {error}")

    def _outgrown(self, error: Outgrown) -> None:
        # Not with BYE: the session goes on, and its welcome tells everything.
        self._connection.close(close_code(Code.OUTGROWN), f"{Code.OUTGROWN}: {error}")
