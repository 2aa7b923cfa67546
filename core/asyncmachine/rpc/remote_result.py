"""Results of what happens elsewhere, whose failures do not get lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from asyncmachine.machine.errors import AmError
from asyncmachine.machine.result import FinalResult, Outcome, Result


class RemoteResult(Result):
    """A pending result. If it fails and is let go before anybody awaited it, `unheard(error)` is called on the loop."""

    __slots__ = ("_heard", "_loop", "_unheard")

    def __init__(self, unheard: Callable[[AmError], object], loop: asyncio.AbstractEventLoop | None) -> None:
        super().__init__(Outcome.PENDING)
        self._heard = False
        self._unheard = unheard
        self._loop = loop

    def _fail(self, error: AmError) -> None:
        # A traceback holds on to the frames it passed, and one of them to this result: it would never be let go.
        super()._fail(error.with_traceback(None))

    def _final(self) -> FinalResult:
        self._heard = True
        return super()._final()

    def __del__(self) -> None:
        # Anything may be going on when an object is let go, and on any thread; so the loop is asked to do it later.
        error, loop = self._error, self._loop
        if isinstance(error, AmError) and not self._heard and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._unheard, error)


class Delivery(RemoteResult):
    """What becomes of a payload. Of its `size` in bytes, the client has `acknowledged` so many.

    One that fits into a frame is acknowledged as a whole. The number goes back when the client has to begin anew.
    """

    __slots__ = ("acknowledged", "size")

    def __init__(
        self, unheard: Callable[[AmError], object], loop: asyncio.AbstractEventLoop | None, size: int = 0
    ) -> None:
        super().__init__(unheard, loop)
        self.size = size
        self.acknowledged = 0

    def on(self, loop: asyncio.AbstractEventLoop) -> None:
        """There is a loop now, on which a failure can be told."""
        self._loop = loop

    def tell(self, unheard: Callable[[AmError], object]) -> None:
        """Somebody else is told of a failure that nobody awaits."""
        self._unheard = unheard
