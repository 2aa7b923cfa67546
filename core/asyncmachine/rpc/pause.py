"""The pause between two attempts to connect, which may end early: the network is back, the page is visible again."""

from __future__ import annotations

import asyncio

from asyncmachine.machine.wait import Wait


class Pause:
    """One pause after another. A nudge ends the one that is, or the next one if none is."""

    __slots__ = ("_nudge",)

    def __init__(self) -> None:
        # None while nobody waits or has nudged: most connections never need one.
        self._nudge: Wait | None = None

    async def wait(self, seconds: float) -> None:
        """Returns after `seconds`, or at once when nudged."""
        try:
            async with asyncio.timeout(seconds):
                await self._next()
            self.reset()
        except TimeoutError:
            pass

    def nudge(self) -> None:
        """Ends the pause."""
        self._next()._end()

    def reset(self) -> None:
        """Forgets a nudge that nothing has waited for: it was meant for a connection that has come since."""
        self._nudge = None

    def _next(self) -> Wait:
        if self._nudge is None:
            self._nudge = Wait()
        return self._nudge
