"""A loop whose clock leaps: tests of time-outs and pauses take no time, and their figures are exact.

    @in_virtual_time
    async def test_a_pause() -> None:
        begin = asyncio.get_running_loop().time()
        await asyncio.sleep(3600)
        assert asyncio.get_running_loop().time() - begin == 3600

Nothing may wait for another thread or a socket: the clock would leap past it.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

from tests.own_loop import checked


class LeapingSelector(selectors.SelectSelector):
    """Adds the time it is asked to wait to the clock, instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout is None:
            raise AssertionError("everybody waits, and no timer is set: this would hang")
        if not found and timeout is not None:
            self.now += timeout
        return found


class LeapingLoop(asyncio.SelectorEventLoop):
    """A loop on the clock of its selector."""

    def __init__(self) -> None:
        self._leaping = LeapingSelector()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now


def in_virtual_time(test: Callable[..., Awaitable[object]]) -> Callable[..., None]:
    """Make a plain test of a coroutine function, run on a loop whose clock leaps."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(debug=True, loop_factory=LeapingLoop) as runner:
            runner.run(checked(test(*args, **kwargs), None))

    return run
