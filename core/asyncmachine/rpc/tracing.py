"""W3C trace context: which span a mutation or a payload belongs to, on its way from one process to another.

Off unless a client or server is given a `Tracing`; then each mutation and payload that belongs to a span carries 25
bytes, and runs within that span at the other side if that one is given a `Tracing` as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Final, Protocol

TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
"""Version 00 of the header ``traceparent``: trace, span, flags."""


class Tracing(Protocol):
    """How a program's tracer is asked and told."""

    def current(self) -> str:
        """The ``traceparent`` of what is being done now, empty without one."""

    def continued(self, traceparent: str) -> AbstractContextManager[object]:
        """While it is entered, this is the current one."""


class ContextTracing:
    """A `Tracing` without a tracer: it hands on what it is given."""

    _current: ContextVar[str] = ContextVar("traceparent", default="")

    def current(self) -> str:
        """The one that was given last in this context."""
        return self._current.get()

    @contextmanager
    def continued(self, traceparent: str) -> Iterator[None]:
        """While it is entered, this is the current one."""
        token = self._current.set(traceparent)
        try:
            yield
        finally:
            self._current.reset(token)


def packed(tracing: Tracing | None) -> bytes:
    """The current context as it travels, empty without one, and for what is no ``traceparent`` of version 00."""
    found = TRACEPARENT.fullmatch(tracing.current()) if tracing is not None else None
    return b"" if found is None else bytes.fromhex("".join(found.groups()))


def within(tracing: Tracing | None, trace: bytes) -> AbstractContextManager[object]:
    """Runs its body in the context that came with a message, if there was one and somebody wants to know."""
    if tracing is None or len(trace) != 25:
        return nullcontext()
    return tracing.continued(f"00-{trace[:16].hex()}-{trace[16:24].hex()}-{trace[24:].hex()}")
