"""How long to wait before the next attempt. Pure: the caller knows the time and does the waiting."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass

from asyncmachine.rpc.options import check_seconds, check_share, check_whole


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays in seconds. They double from `first` to `cap`; for the first `eager_for` seconds `eager_cap` is the cap.

    Each is spread by `jitter` (a share, both ways), so that many clients of one server do not come back at once.
    `tries` and `total` (seconds since the loss) end it; None never does.
    """

    first: float = 1.0
    cap: float = 10.0
    tries: int | None = 50
    total: float | None = 300.0
    jitter: float = 0.2
    eager_cap: float | None = None
    eager_for: float = 0.0

    def __post_init__(self) -> None:
        """Raises `InvalidArgs` for what no pause can be: some would dial thousands of times in a second."""
        check_seconds("first", self.first, more_than_none=True)
        check_seconds("cap", self.cap, more_than_none=True)
        check_share("jitter", self.jitter)
        check_seconds("eager_for", self.eager_for)
        if self.tries is not None:
            check_whole("tries", self.tries, 0)
        if self.total is not None:
            check_seconds("total", self.total)
        if self.eager_cap is not None:
            check_seconds("eager_cap", self.eager_cap, more_than_none=True)

    def delay(self, attempt: int, elapsed: float, draw: Callable[[], float] = random.random) -> float | None:
        """Seconds to wait before attempt number `attempt` (from 0), `elapsed` seconds after the loss. None: give up."""
        if self.tries is not None and attempt >= self.tries:
            return None
        if self.total is not None and elapsed >= self.total:
            return None
        cap = self.cap
        if self.eager_cap is not None and elapsed < self.eager_for:
            cap = min(cap, self.eager_cap)
        # The exponent is bounded, so that a long outage does not end in a number too large for a float.
        return min(cap, self.first * 2.0 ** min(attempt, 60)) * (1 + self.jitter * (2 * draw() - 1))


NATIVE = Backoff()
"""Of clients, and of servers behind a relay."""

BROWSER = Backoff(first=0.1, tries=None, total=None, eager_cap=0.5, eager_for=60.0)
"""A page has somebody waiting in front of it: quick for a minute, and never giving up."""


def default_backoff() -> Backoff:
    """What fits the interpreter this runs in."""
    return BROWSER if sys.platform == "emscripten" else NATIVE
