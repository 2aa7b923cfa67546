"""A message channel without a browser: messages arrive on a later turn of the loop, as they do there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class FakePort:
    """One end. `silenced` drops what this end posts, as a terminated worker does."""

    def __init__(self) -> None:
        self.other: FakePort = self
        self.posted: list[bytes] = []
        self.silenced = False
        self.open = True
        self._arrived: Callable[[bytes | None], None] | None = None

    def listen(self, arrived: Callable[[bytes | None], None]) -> None:
        self._arrived = arrived

    def post(self, message: bytes | None) -> None:
        if message is not None:
            self.posted.append(message)
        if not self.silenced:
            asyncio.get_running_loop().call_soon(self.other._take, message)

    def close(self) -> None:
        self.open = False

    def _take(self, message: bytes | None) -> None:
        if self.open and self._arrived is not None:
            self._arrived(message)


def wires() -> tuple[FakePort, FakePort]:
    """Both ends."""
    a, b = FakePort(), FakePort()
    a.other, b.other = b, a
    return a, b
