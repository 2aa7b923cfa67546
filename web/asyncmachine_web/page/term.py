"""As long as a tab leads, and no longer, it may take over what all tabs share.

`shared` calls an application's `open` within a `Term`. Before `durable.open` takes anything over it asks whether that
lasts, however long the application has taken until then.
"""

from __future__ import annotations

from contextvars import ContextVar, Token

import asyncmachine as am


class TermOver(am.AmError):
    """The tab leads no more, so it has taken nothing over."""


class Term:
    """Whoever opens within it, is bound to it. Tasks that were made there and outlive the opening are free."""

    def __init__(self) -> None:
        self.over = False
        self._opens: Token[Term | None] | None = None

    def __enter__(self) -> None:
        self._opens = _TERM.set(self)

    def __exit__(self, *_: object) -> None:
        assert self._opens is not None
        _TERM.reset(self._opens)
        self._opens = None


_TERM: ContextVar[Term | None] = ContextVar("term", default=None)


def check() -> None:
    """Raises `TermOver` where the term is over."""
    term = _TERM.get()
    if term is not None and term.over and term._opens is not None:
        raise TermOver("this tab leads no more: another one opens the machine")
