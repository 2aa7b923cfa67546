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


class Result:
    """The outcome of a mutation, as far as it is known, and a way to wait for the rest.

    `bool(result)` is True only if the mutation is known to be executed. `await result` gives the final result. `tick`
    is the queue tick at which a queued mutation runs; 0 for those that go to the front of the queue, which do not tick
    (dry runs).
    """

    __slots__ = ("_error", "_outcome", "_wait", "tick")

    def __init__(self, outcome: Outcome, tick: int = 0) -> None:
        self._outcome = outcome
        self._error: BaseException | None = None
        self._wait: Wait | None = Wait() if outcome in (Outcome.QUEUED, Outcome.PENDING) else None
        self.tick = tick

    @classmethod
    def make_pending(cls) -> Result:
        """A result whose outcome comes from elsewhere, through `_settle` or `_fail`."""
        return cls(Outcome.PENDING)

    @property
    def outcome(self) -> Outcome:
        """What is known now. It changes from queued or pending to a final one when the mutation has run."""
        return self._outcome

    @property
    def executed(self) -> bool:
        return self._outcome is Outcome.EXECUTED

    @property
    def canceled(self) -> bool:
        return self._outcome is Outcome.CANCELED

    @property
    def queued(self) -> bool:
        return self._outcome is Outcome.QUEUED

    @property
    def pending(self) -> bool:
        return self._outcome is Outcome.PENDING

    def done(self) -> bool:
        """True once the outcome is final, or known to have failed."""
        return self._wait is None or self._wait.done()

    def __bool__(self) -> bool:
        if self._outcome is Outcome.PENDING:
            raise PendingResult("the outcome of a remote mutation is not known yet: use `await result` first")
        return self._outcome is Outcome.EXECUTED

    def __repr__(self) -> str:
        return f"<Result {self._outcome}{f' at {self.tick}' if self.queued else ''}>"

    def __eq__(self, other: object) -> bool:
        return (
            (self._outcome, self.tick) == (other._outcome, other.tick) if isinstance(other, Result) else NotImplemented
        )

    __hash__ = object.__hash__

    def __await__(self) -> Generator[object, None, Result]:
        if self._wait is not None:
            yield from until_ended(self._wait)
        return self._final()

    def wait(self, timeout: float | None = None) -> Result:
        """Blocks a thread until the outcome is final. Raises `WaitTimeout` after `timeout` seconds."""
        if self._wait is not None:
            block_until(self._wait, timeout)
        return self._final()

    def then(self, callback: Callable[[], object]) -> None:
        """Calls `callback()` once the outcome is final."""
        if self._wait is None:
            callback()
        else:
            self._wait.then(callback)

    def _final(self) -> Result:
        if self._error is not None:
            raise self._error
        return EXECUTED if self._outcome is Outcome.EXECUTED else CANCELED

    def _settle(self, outcome: Outcome) -> None:
        """Sets the final outcome and wakes those who wait. Only the first call counts."""
        if self._wait is not None and not self._wait.done():
            self._outcome = outcome
            self._wait._end()

    def _fail(self, error: AmError) -> None:
        """Ends a pending result with an error, raised to those who await it."""
        if self._wait is not None and not self._wait.done():
            self._error = error
            self._outcome = Outcome.CANCELED
            self._wait._end()


EXECUTED = Result(Outcome.EXECUTED)
CANCELED = Result(Outcome.CANCELED)
