"""Whether the peer is there, for somebody who wants to know it within a second. Pure: the caller knows the time.

The keep-alive finds a cut that tells neither side after a minute. A `Probe` finds it sooner, once somebody has reason
to ask; a call that has no answer yet is one (`Doubt`).
"""

from __future__ import annotations

import math
from typing import Final

from asyncmachine.rpc.keepalive import Due

WITHIN: Final = 1.0
"""Seconds in which something has to be heard, unless somebody says otherwise."""

LOOKS: Final = 4
"""How often a probe looks at the clock. One look that comes late has the peer asked anew."""

ANEW: Final = 3
"""How often it is. Timers that are late again are slowed down: the keep-alive judges then, which has more time."""

ROUNDS: Final = 2
"""So many times the round trip, as it was measured, are waited for in any case."""

SLOW: Final = 32 * 1024
"""Bytes that any link carries in a second. What is on its way when the peer is asked goes ahead of the question."""

LONGEST_DOUBT: Final = 30.0
"""Seconds between two probes about calls, which double."""


class Probe:
    """One question, of which something has to be heard `within` so many seconds, or the peer is gone.

    A frame that has come while this side stood still, as a page that was frozen, may not have been read yet. So the
    time is looked at on the way.
    """

    __slots__ = ("_anew", "_looks", "_step", "deadline")

    def __init__(self, now: float, within: float) -> None:
        self._step = within / LOOKS
        self._anew = ANEW
        self._begin(now)

    @property
    def is_over(self) -> bool:
        """Whether it judges no more."""
        return self.deadline == math.inf

    def due(self, now: float) -> Due:
        """What has to be done now, if nothing was heard."""
        if now < self.deadline:
            return Due.NOTHING
        if now - self.deadline > self._step:
            return self._late(now)
        self._looks -= 1
        self.deadline += self._step
        return Due.NOTHING if self._looks else Due.GONE

    def _begin(self, now: float) -> None:
        self._looks = LOOKS
        self.deadline = now + self._step

    def _late(self, now: float) -> Due:
        if not self._anew:
            self.deadline = math.inf
            return Due.NOTHING
        self._anew -= 1
        self._begin(now)
        return Due.PING


class Doubt:
    """When calls without an answer are reason to ask: after `first` seconds of silence, then doubling.

    Whatever is heard is a sign of life. So a source that takes its time for an answer is asked a few times, and one
    that talks meanwhile is not.
    """

    __slots__ = ("_first", "_pause", "at")

    def __init__(self, first: float) -> None:
        self._first = self._pause = first
        self.at = math.inf

    def called(self, now: float) -> None:
        """A call goes out: somebody is waiting, and has just begun to."""
        self._pause = self._first
        self.at = min(self.at, now + self._first)

    def looks(self, now: float, heard_at: float, *, waiting: bool) -> bool:
        """True if the source is to be asked; `waiting`: some call has no answer."""
        if now < self.at:
            return False
        if not waiting:
            self.at = math.inf
            return False
        silent = heard_at + self._pause  # the same sum in both places: a rounded one would be due for ever
        if silent > now:
            self.at = silent
            return False
        self._pause = min(LONGEST_DOUBT, self._pause * 2)
        self.at = now + self._pause
        return True
