"""Every error the library raises, in one family.

Two kinds are kept apart by where they show up: a *mistake of the caller* (unknown state, broken schema, wrong
arguments) is raised at once and changes nothing; a *failure inside a handler* never reaches the caller, it becomes the
`Exception` state of the machine and is kept in `machine.err`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class AmError(Exception):
    """Base of all errors of asyncmachine.

    A subclass may name the error state that `machine.add_err` adds for it:
    `class NoRoute(AmError): state = "ErrNetwork"`.
    """

    state: ClassVar[str] = ""


class SchemaError(AmError):
    """A schema, a binding or an import does not fit; the message names the state, the rule and the cure."""


class StateMissing(AmError):
    """A name that the machine does not have. `names` holds all of them. The machine's id may be empty: it has none."""

    def __init__(self, names: Iterable[str], machine_id: str, known: Iterable[str]) -> None:
        self.names = tuple(names)
        known = tuple(known)
        hints = [nearest(name, known) for name in self.names]
        what = ", ".join(
            f"{name!r} (did you mean {hint!r}?)" if hint else repr(name)
            for name, hint in zip(self.names, hints, strict=True)
        )
        subject, verb = ("state", "is") if len(self.names) == 1 else ("states", "are")
        owner = repr(machine_id) if machine_id else "a machine that has no id"
        super().__init__(f"{subject} {what} {verb} not defined in the schema of {owner}")


class InvalidArgs(AmError):
    """A mutation's arguments lack a record, or carry one of the wrong type."""


class HandlerError(AmError):
    """A handler broke a rule of its phase (wrong return type, no event loop for a coroutine, …)."""


class HandlerTimeout(AmError):
    """A handler took longer than `handler_timeout`; its transition was broken off."""

    state = "ErrHandlerTimeout"


class HandlerDeadline(HandlerTimeout):
    """A handler took longer than `handler_deadline`; the machine refuses mutations for `handler_backoff` seconds."""


class QueryFailed(AmError):
    """The condition given to `when_query` raised; the cause is chained."""


class Disposed(AmError):
    """The machine has been disposed, so what was waited for can no longer happen."""


class ScopeEnded(AmError):
    """The scope that a wait was bound to has ended before the wait was met."""


class WaitCanceled(AmError):
    """The wait was withdrawn by `Wait.cancel()`."""


class WaitTimeout(AmError, TimeoutError):
    """The given time passed before the wait was met."""


class PendingResult(AmError):
    """The result of a remote mutation was used as a bool before its outcome was known: await it first."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that looks most like `name`, or an empty text."""
    found = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else ""
