"""A client's calls as its server sees them: each number is run once, and in the order of the numbers."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

from asyncmachine.rpc.calls import MAX_CALLS
from asyncmachine.rpc.errors import CallRefused
from asyncmachine.rpc.limits import clipped, sendable
from asyncmachine.rpc.messages import NAME

MAX_UNASKED: Final = 64
"""Errors of notifications that are told again in the next connection."""

Answer = bool | str | CallRefused
"""Executed, canceled, canceled for a reason that the client is told, or an error."""


class Known(Enum):
    """What is to be done with a call."""

    NEW = "new"
    RUNNING = "running"
    ANSWERED = "answered"
    EARLY = "early"
    FORGOTTEN = "forgotten"


class Requests:
    """The calls of one client over all its connections. `last` is the number of the last one that was taken.

    Remembered are the outcomes of as many calls as a client may have open. Most were executed, so that only the others
    are noted. Of an error or a reason the beginning of its text is kept: it may quote all that the client has sent.
    """

    __slots__ = ("_others", "_running", "_unasked", "last")

    def __init__(self) -> None:
        self.last = 0
        self._unasked: deque[int] | None = None
        # A dict, as an empty set takes three times as much, and there is one for each client.
        self._running: dict[int, None] = {}
        self._others: dict[int, Answer] = {}

    def judge(self, number: int) -> Known:
        """What is to be done with a call of this number. Changes nothing."""
        if number > self.last:
            # EARLY: one before it is missing. That one comes again, and this one behind it.
            return Known.NEW if number == self.last + 1 else Known.EARLY
        if number in self._running:
            return Known.RUNNING
        known = number in self._others or number > self.last - MAX_CALLS
        return Known.ANSWERED if known else Known.FORGOTTEN

    def take(self, number: int) -> None:
        """Notes that a new call is run."""
        self.last = number
        self._running[number] = None

    def answered(self, number: int, answer: Answer) -> None:
        """Notes the answer to a call."""
        self._running.pop(number, None)
        if answer is not True or number <= self.last - MAX_CALLS:
            self._others[number] = _kept(answer)
            if len(self._others) > MAX_CALLS:
                del self._others[next(iter(self._others))]

    def failed(self, number: int, error: CallRefused) -> None:
        """Notes the error of a notification, which no client asks for."""
        self.answered(number, error)
        if self._unasked is None:
            self._unasked = deque(maxlen=MAX_UNASKED)
        self._unasked.append(number)

    @property
    def unasked(self) -> list[tuple[int, CallRefused]]:
        """The latest errors of notifications. A connection may have taken them along when it ended."""
        found = [(number, self._others.get(number)) for number in self._unasked or ()]
        return [(number, error) for number, error in found if isinstance(error, CallRefused)]

    @property
    def refused(self) -> int:
        """How many answers are remembered that have a text."""
        return sum(not isinstance(answer, bool) for answer in self._others.values())

    def answer(self, number: int) -> Answer:
        """The answer to a call that is `ANSWERED`."""
        return self._others.get(number, True)


def _kept(answer: Answer) -> Answer:
    match answer:
        case bool():
            return answer
        case str():
            return clipped(answer, NAME)
    # Without its traceback and cause, whose frames hold all that the call brought along.
    kept = sendable(answer, NAME)
    return CallRefused(kept.code, kept.message, retryable=kept.retryable, details=kept.details)
