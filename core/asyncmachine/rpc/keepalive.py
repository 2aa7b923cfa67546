"""Whether the peer is still there. Pure: the caller knows the time."""

from __future__ import annotations

from enum import Enum

from asyncmachine.rpc.timing import Timing


class Due(Enum):
    """What has to be done about silence."""

    NOTHING = "nothing"
    PING = "ping"
    GONE = "gone"


class Keepalive:
    """After `silence` seconds without a frame a PING is due; after `dead` seconds in all the peer is gone.

    The rest of the time counts from the PING: a process that slept, or a page with throttled timers, asks first.
    `patience` is added to the silence of one side, so that not both ask at the same moment.
    """

    __slots__ = ("_greeting", "_patience", "_sent_at", "_timing", "asked_at", "heard_at", "pings", "rtt")

    def __init__(self, now: float, timing: Timing, patience: float = 0.0) -> None:
        self._timing = timing
        self._patience = patience
        self.heard_at = now
        self.asked_at: float | None = None
        self.pings = 0
        self._sent_at: float | None = None
        self.rtt: float | None = None
        self._greeting = 0.0

    def heard(self, now: float) -> None:
        """Notes a frame, of whatever kind."""
        self.heard_at = now
        self.asked_at = None

    def greeted(self, now: float) -> None:
        """Notes the answer to the first message, before `heard`: a first idea of how long one takes."""
        self._greeting = now - self.heard_at

    @property
    def slowest(self) -> float:
        """Seconds that an answer has taken."""
        return max(self._greeting, self.rtt or 0.0)

    def asked(self, now: float) -> int:
        """Notes that a PING goes out. Returns its number. The time of a peer that is gone counts from the first one."""
        if self.asked_at is None:
            self.asked_at = now
        self.pings += 1
        self._sent_at = now
        return self.pings

    def answered(self, nonce: int, now: float) -> None:
        """Notes the PONG: an answer to the last PING tells the round trip time, whatever has come before it."""
        if nonce == self.pings and self._sent_at is not None:
            self.rtt, self._sent_at = now - self._sent_at, None

    @property
    def deadline(self) -> float:
        """When to look again."""
        if self.asked_at is None:
            return self.heard_at + self._timing.silence + self._patience
        return self.asked_at + self._timing.dead - self._timing.silence

    def due(self, now: float) -> Due:
        """What has to be done now."""
        if now < self.deadline:
            return Due.NOTHING
        return Due.PING if self.asked_at is None else Due.GONE
