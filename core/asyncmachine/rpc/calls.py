"""Calls that wait for their answers, over all connections of a session. Pure: the caller knows the time.

A call keeps its frame until it is answered. After a drop, or when no answer comes, the server tells the number of the
last call that has arrived: later ones are sent again, and it is asked for the answers of the others. It runs each
number once, and in their order (see `requests`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from asyncmachine.rpc.errors import Overloaded

MAX_CALLS: Final = 4096
"""Calls of one client that may wait for their answers."""

MAX_BYTES: Final = 64 << 20
"""Bytes that their frames may take together."""

LONGEST_PAUSE: Final = 60.0
"""Seconds between two questions about missing answers; they begin with `Timing.retry` and double."""

NEVER: Final = float("inf")


class Open(Struct):
    """A call without an answer. `is_told`: its caller knows already that the time is over."""

    frame: bytes
    made_at: float
    deadline: float
    is_told: bool = False


class Calls:
    """Numbers calls from 1, and knows which are open. Notifications are calls that are open until they arrive."""

    __slots__ = (
        "_bytes", "_due", "_look_at", "_notifications", "_open", "_pause", "_retry", "_unanswered", "emptied", "last",
        "limit", "told",
    )  # fmt: skip

    def __init__(self, retry: float) -> None:
        self._retry = retry
        self.limit = MAX_CALLS
        """How many may be open: fewer where the server says so."""
        self.emptied: Callable[[], None] | None = None
        """Called when the last open call is answered."""
        self.told: Callable[[], None] | None = None
        """Called when the last open notification has arrived."""
        self._begin()

    def _begin(self) -> None:
        self._pause = self._retry
        self._open: dict[int, Open] = {}
        self._notifications: deque[int] | None = None
        self._unanswered: deque[int] | None = None
        self._bytes = 0
        self._due = self._look_at = NEVER
        self.last = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def notifications(self) -> int:
        """How many of the open ones are notifications."""
        return len(self._notifications or ())

    def next(self) -> int:
        """The number of the next call. Raises `Overloaded` if there are too many already."""
        if len(self._open) >= self.limit or self._bytes >= MAX_BYTES:
            raise Overloaded(f"{len(self._open)} calls wait for their answers: await some of them first")
        return self.last + 1

    def made(self, frame: bytes, now: float, deadline: float) -> None:
        """Notes that the next call goes out. Without a deadline (`NEVER`) it is a notification."""
        self.last += 1
        self._open[self.last] = Open(frame, now, deadline)
        self._bytes += len(frame)
        if deadline == NEVER:
            self._notifications = self._notifications or deque()
            self._notifications.append(self.last)
            if self._unanswered is None:
                self._unanswered = deque(maxlen=MAX_CALLS)
            self._unanswered.append(self.last)
        elif deadline < self._due:
            self._due = deadline
        if self._look_at == NEVER:
            self._look_at = now + self._pause

    def was_made(self, number: int) -> bool:
        """Whether a call of this number was ever made."""
        return 0 < number <= self.last

    def answered(self, number: int, now: float) -> Open | None:
        """Notes an answer. None if nobody waits for it any more. It tells that all before it have arrived, too."""
        if self._notifications is not None:
            self.arrived(number, now)
        found = self._take(number, now)
        return None if found is None or found.is_told else found

    def failed(self, number: int) -> bool:
        """Whether an error that is told of this call is news: of a notification, of which nobody has heard since."""
        if self._unanswered is None or number not in self._unanswered:
            return False
        self._unanswered.remove(number)
        return True

    def arrived(self, last: int, now: float) -> None:
        """The server has taken all calls up to this number: notifications among them are done with."""
        waiting = self._notifications
        while waiting and waiting[0] <= last:
            self._take(waiting.popleft(), now)
        self._notifications = waiting or None
        if not waiting and self.told is not None:
            self.told()

    def _take(self, number: int, now: float) -> Open | None:
        found = self._open.pop(number, None)
        if found is not None:
            self._bytes -= len(found.frame)
            self._pause = self._retry
            # What is still open has the whole time again: the source is at work.
            self._look_at = now + self._pause if self._open else NEVER
            if not self._open:
                self._due = NEVER
                if self.emptied is not None:
                    self.emptied()
        return found

    @property
    def deadline(self) -> float:
        """When to look again; infinite without an open call. May be early."""
        return min(self._due, self._look_at)

    @property
    def expires_at(self) -> float:
        """When `expired` may have something to tell; infinite without an open call. May be early."""
        return self._due

    def expired(self, now: float) -> list[int]:
        """Calls whose time is over and whose callers have to be told. Each is returned once.

        They stay open, without their frames: a later call would not be taken while the server misses an earlier one.
        """
        if now < self._due:
            return []
        late = [number for number, call in self._open.items() if call.deadline <= now and not call.is_told]
        for number in late:
            call = self._open[number]
            self._bytes -= len(call.frame)
            call.frame, call.is_told = b"", True
        self._due = min((call.deadline for call in self._open.values() if not call.is_told), default=NEVER)
        return late

    def looks(self, now: float) -> bool:
        """True if no answer has come for so long that the server should be asked what has arrived."""
        if now < self._look_at:
            return False
        self._pause = min(LONGEST_PAUSE, self._pause * 2)
        self._look_at = now + self._pause if self._open else NEVER
        return True

    def missing(self, received: int, made_before: float) -> list[tuple[int, bytes]]:
        """Open calls made before this moment, in order: number, and frame if it has to be sent again.

        `received` is the last call that the server had then. Up to that one the frame is empty, as it is for calls
        whose callers have given up.
        """
        return [
            (number, call.frame if number > received else b"")
            for number, call in self._open.items()
            if call.made_at <= made_before
        ]

    def give_up(self) -> list[int]:
        """Nobody waits any more. Returns the calls whose callers have to be told, and notifications that may be lost.

        They stay open like expired ones.
        """
        left = [number for number, call in self._open.items() if not call.is_told]
        for number in left:
            self.failed(number)  # an error that the server tells later is no news
        for call in self._open.values():
            call.frame, call.is_told = b"", True
        self._bytes, self._due = 0, NEVER
        return left

    def reset(self) -> None:
        """Forgets everything and begins anew with 1: a server that knows nothing of them counts from there."""
        self._begin()
