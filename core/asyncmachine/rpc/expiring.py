"""The calls of a connection that is lost, while there is no other: their callers learn when their time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from asyncmachine.rpc.calling import Link
from asyncmachine.rpc.calls import NEVER
from asyncmachine.rpc.events import Event
from asyncmachine.rpc.timing import call_at


class Expiring:
    """Watches over the calls of one client. What becomes of them goes to `react`."""

    __slots__ = ("_react", "_timer")

    def __init__(self, react: Callable[[Link, Event], None]) -> None:
        self._react = react
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, lost: Link) -> None:
        """Fails each call of the lost connection when its time is over."""
        due = lost.session.calls.expires_at
        if due < NEVER:
            self._timer = call_at(asyncio.get_running_loop(), due, lambda: self._expire(lost))

    def stop(self) -> None:
        """There is another connection, whose session knows the time of its calls itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abandon(self, lost: Link) -> None:
        """Fails all of them: nothing continues the session."""
        self.stop()
        for event in lost.session.abandon():
            self._react(lost, event)

    def _expire(self, lost: Link) -> None:
        self._timer = None
        for event in lost.session.expired(asyncio.get_running_loop().time()):
            self._react(lost, event)
        self.watch(lost)
