"""Results that follow other results."""

from __future__ import annotations

from asyncmachine.helpers.errors import MutationCanceled
from asyncmachine.machine.errors import AmError
from asyncmachine.machine.result import Outcome, Result


def follow(result: Result, answer: Result) -> None:
    """Gives `answer`, which is pending, the outcome of `result` once that is final."""

    def settle() -> None:
        try:
            final = result._final()
            answer._settle(final.outcome, final._why)
        except AmError as error:
            answer._fail(error)

    result.then(settle)


def executed(result: Result, what: str = "the mutation") -> Result:
    """The result itself, unless it is canceled: then `MutationCanceled` is raised, with `what` in its text."""
    if result.outcome is Outcome.CANCELED:
        raise MutationCanceled(f"{what} was canceled{f': {result.reason}' if result.reason else ''}")
    return result
