"""How many tasks of a coroutine handler run at once.

A Multi state may be called faster than its handler gets done. A pool lets a number of calls run side by side; further
ones wait their turn, in order, or are dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

Overflow = Literal["drop", "wait"]
"""What becomes of a call when the pool is full."""


@dataclass(frozen=True, slots=True, eq=False)
class Limit:
    """As declared by `@am.pool`. Handlers that are declared with the same limit share one pool in each binding."""

    size: int
    overflow: Overflow = "drop"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a pool runs at least one task at once, got {self.size}")
        if self.overflow not in ("drop", "wait"):
            raise ValueError(f"overflow is 'drop' or 'wait', got {self.overflow!r}")


class Pool:
    """The tasks of one binding under one limit."""

    __slots__ = ("_gate", "_limit", "_loop")

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate = asyncio.Semaphore(limit.size)

    async def run(self, body: Callable[[], Awaitable[object]]) -> None:
        """Runs the body now, later, or (`overflow="drop"`) not at all. A cancelled body frees its place."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # A semaphore serves one loop; the tasks of an earlier one are gone with it.
            self._loop, self._gate = loop, asyncio.Semaphore(self._limit.size)
        if self._limit.overflow == "drop" and self._gate.locked():
            return
        async with self._gate:
            await body()
