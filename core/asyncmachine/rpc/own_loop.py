"""The event loop of a client or a server, whose methods may be called from any thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class OwnLoop:
    """Known from `enter` on."""

    __slots__ = ("_loop",)

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def enter(self) -> None:
        """The running loop is it."""
        self._loop = asyncio.get_running_loop()

    def get(self) -> asyncio.AbstractEventLoop | None:
        """The loop. None before it is known."""
        return self._loop

    @property
    def now(self) -> float:
        """Its time; 0 before it is known."""
        return 0.0 if self._loop is None else self._loop.time()

    def call(self, function: Callable[..., None], *args: object) -> None:
        """Calls it in the loop: at once from there, and before there is one."""
        if self._loop is None or asyncio._get_running_loop() is self._loop:
            function(*args)
        else:
            self._loop.call_soon_threadsafe(function, *args)
