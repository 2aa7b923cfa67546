"""Whether anybody will hear of a failure."""

from __future__ import annotations

from asyncmachine.machine.result import Result


def is_watched(result: Result) -> bool:
    """True if somebody awaits the result now. A failure that nobody awaits becomes an error state."""
    return result._wait is not None and bool(result._wait._callbacks)
