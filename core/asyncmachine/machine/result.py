"""What a mutation returns."""

from __future__ import annotations

from collections.abc import Callable, Generator
from enum import StrEnum

from asyncmachine.machine.errors import AmError, PendingResult
from asyncmachine.machine.wait import Wait, block_until, until_ended


class Outcome(StrEnum):
    """How far a mutation has come. `queued` and `pending` become one of the other two."""

    EXECUTED = "executed"
    CANCELED = "canceled"
    QUEUED = "queued"
    PENDING = "pending"


Why = str | Callable[[], str]
"""A reason, or what makes it when it is asked for."""


class FinalResult:
    """How a mutation ended: executed or canceled. True if it was executed.

    It is what `await result` gives, and cannot be awaited itself: JavaScript, which adopts whatever is awaitable until
    nothing is, would go on for ever with a result that awaits to a result.
    """

    __slots__ = ("_outcome", "_why", "tick")

    def __init__(self, outcome: Outcome, tick: int = 0, why: Why = "") -> None:
        self._outcome = outcome
        self.tick = tick
        self._why = why

    @property
    def outcome(self) -> Outcome:
        """What is known now. A `Result` goes on from queued or pending to a final one when the mutation has run."""
        return self._outcome

    @property
    def executed(self) -> bool:
        """True if the mutation was carried out."""
        return self._outcome is Outcome.EXECUTED

    @property
    def canceled(self) -> bool:
        """True if relations or a handler refused it, or it broke."""
        return self._outcome is Outcome.CANCELED

    @property
    def reason(self) -> str:
        """Why it was canceled, for a person to read: the relation, the handler, or what else was in the way.

        Empty unless it was, and where it is not known: a source tells its clients only what they may read.
        """
        if not isinstance(self._why, str):
            self._why = self._why()
        return self._why

    @property
    def queued(self) -> bool:
        """True while it waits in the queue of this process."""
        return self._outcome is Outcome.QUEUED

    @property
    def pending(self) -> bool:
        """True while the answer of a remote machine is out."""
        return self._outcome is Outcome.PENDING

    def __bool__(self) -> bool:
        if self._outcome is Outcome.PENDING:
            raise PendingResult("the outcome of a remote mutation is not known yet: use `await result` first")
        return self._outcome is Outcome.EXECUTED

    def __repr__(self) -> str:
        more = f" at {self.tick}" if self.queued else f": {self.reason}" if self.reason else ""
        return f"<{type(self).__name__} {self._outcome}{more}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FinalResult):
            return NotImplemented
        return (self._outcome, self.tick) == (other._outcome, other.tick)

    __hash__ = object.__hash__


class Result(FinalResult):
    """The outcome of a mutation, as far as it is known, and a way to wait for the rest.

    `bool(result)` is True only if the mutation is known to be executed. `await result` gives the final result. `tick`
    is the queue tick at which a queued mutation runs; 0 for those that go to the front of the queue, which do not tick
    (dry runs).
    """

    __slots__ = ("_error", "_wait")

    def __init__(self, outcome: Outcome, tick: int = 0, why: Why = "") -> None:
        super().__init__(outcome, tick, why)
        self._error: BaseException | None = None
        self._wait: Wait | None = Wait() if outcome in (Outcome.QUEUED, Outcome.PENDING) else None

    @classmethod
    def refused(cls, why: Why) -> Result:
        """A canceled one, and why."""
        return cls(Outcome.CANCELED, why=why)

    @classmethod
    def make_pending(cls) -> Result:
        """A result whose outcome comes from elsewhere, through `_settle` or `_fail`."""
        return cls(Outcome.PENDING)

    def done(self) -> bool:
        """True once the outcome is final, or known to have failed."""
        return self._wait is None or self._wait.done()

    def __await__(self) -> Generator[object, None, FinalResult]:
        if self._wait is not None:
            yield from until_ended(self._wait)
        return self._final()

    def wait(self, timeout: float | None = None) -> FinalResult:
        """Blocks a thread until the outcome is final. Raises `WaitTimeout` after `timeout` seconds."""
        if self._wait is not None:
            block_until(self._wait, timeout, f"the outcome of queue tick {self.tick}" if self.tick else "the outcome")
        return self._final()

    def then(self, callback: Callable[[], object]) -> None:
        """Calls `callback()` once the outcome is final."""
        if self._wait is None:
            callback()
        else:
            self._wait.then(callback)

    def _final(self) -> FinalResult:
        if self._error is not None:
            raise self._error
        if self._outcome is Outcome.EXECUTED:
            return _EXECUTED
        return FinalResult(Outcome.CANCELED, why=self._why) if self._why else _CANCELED

    def _settle(self, outcome: Outcome, why: Why = "") -> None:
        """Sets the final outcome and wakes those who wait. Only the first call counts."""
        if self._wait is not None and not self._wait.done():
            self._outcome = outcome
            self._why = why
            self._wait._end()

    def _fail(self, error: AmError) -> None:
        """Ends a pending result with an error, raised to those who await it."""
        if self._wait is not None and not self._wait.done():
            self._error = error
            self._outcome = Outcome.CANCELED
            self._why = str(error)
            self._wait._end()


EXECUTED = Result(Outcome.EXECUTED)
CANCELED = Result(Outcome.CANCELED)
_EXECUTED = FinalResult(Outcome.EXECUTED)
_CANCELED = FinalResult(Outcome.CANCELED)
