"""Expressions that many pages need, to be bound as they are: `page.bind("#up", text=ago("Start"))`."""

from __future__ import annotations

from collections.abc import Callable

from asyncmachine_web.page.reads import Source


def progress(done: str, of: str | int, *, since: str | None = None) -> Callable[[Source], float]:
    """How much is done, from 0 to 1: activations of `done` over those of `of`, or over a number.

    With `since`, only activations after its last one count, as for rounds of work. 0 while there is nothing to do.
    An activation whose handler raised counts as well: its ticks have passed.
    """

    def share(m: Source) -> float:
        def count(state: str) -> int:
            return m.count(state) if since is None else m.since(since, state)

        whole = of if isinstance(of, int) else count(of)
        return min(count(done) / whole, 1.0) if whole > 0 else 0.0

    return share


def ago(state: str, never: str = "–") -> Callable[[Source], str]:
    """How long a state has been active, in words of the largest unit: 5 s, 3 min, 2 h, 4 d.

    Of a mirror without a connection, how long it had been when that was cut.
    """

    def words(m: Source) -> str:
        seconds = m.elapsed(state)
        return never if seconds is None else duration(seconds)

    return words


def duration(seconds: float) -> str:
    """In the largest unit of which there is at least one."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0) // 1:.0f} s"
