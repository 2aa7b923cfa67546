"""An event loop without waiting: when nothing is ready, its time jumps to the next timer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from tests.own_loop import checked


class TimeLoop(asyncio.SelectorEventLoop):
    """Starts at time 0. Only for code that waits for timers and for itself, not for sockets or threads."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__()

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]
            # To the next timer that was not cancelled: the others would have the loop wait in earnest for what is left.
            due = (timer.when() for timer in self._scheduled if not timer.cancelled())  # type: ignore[attr-defined]
            self.now = max(self.now, min(due, default=0.0))
        super()._run_once()  # type: ignore[misc]


def run(body: Coroutine[Any, Any, None], *, debug: bool = True) -> None:
    """Runs a coroutine to its end in such a loop, and checks what it leaves, as for every coroutine test."""
    with asyncio.Runner(debug=debug, loop_factory=TimeLoop) as runner:
        runner.run(checked(body, None))
