"""The browser's own timers, for what is counted in them: the loop's are rounded up, and drift.

After a freeze of this thread, however long, one fires once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyodide.ffi import JsDoubleProxy


class Timer:
    """Calls again and again, or once. It holds on to nothing while it does not run."""

    def __init__(self) -> None:
        self._number = 0
        self._running: JsDoubleProxy | None = None

    def start(self, seconds: float, call: Callable[[], None], *, once: bool = False) -> None:
        """From now on; what it did before ends."""
        import js
        from pyodide.ffi import create_proxy

        def fired() -> None:
            if once:
                self.stop()
            call()

        self.stop()
        self._running = create_proxy(fired)
        self._number = js.setInterval(self._running, seconds * 1000)

    def stop(self) -> None:
        import js

        running, self._running = self._running, None
        if running is not None:
            js.clearInterval(self._number)
            let_go(running)


def let_go(proxy: JsDoubleProxy) -> None:
    """Destroy it soon: not now, for it may be what is being called."""
    asyncio.get_running_loop().call_soon(proxy.destroy)
