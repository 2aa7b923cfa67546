"""Batches: many small inputs become one mutation."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, TypeVar

from asyncmachine.helpers.results import follow
from asyncmachine.machine.api import Api
from asyncmachine.machine.result import EXECUTED, Result

T = TypeVar("T")


class Batcher(Generic[T]):
    """Collects items, and adds a Multi state with a list of them, at most once in `window` seconds::

        incoming = Batcher(machine, "Msgs", window=0.5)
        incoming.put(message)

        def MsgsState(self, e: am.Event) -> None:
            for message in e.raw_args["items"]: ...

    A batch also goes when it has `size` items, and when the batcher is closed. Belongs to the thread of its loop.
    """

    def __init__(
        self, machine: Api[Any], state: str, *, window: float = 1.0, key: str = "items", size: int = 1000
    ) -> None:
        self._machine = machine
        self._state = state
        self._window = window
        self._key = key
        self._size = size
        self._items: list[T] = []
        self._answer: Result | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Items that wait."""
        return len(self._items)

    def put(self, item: T) -> Result:
        """Adds an item to the batch. Returns the result of the mutation that will carry it; pending until then."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._window, self.flush)
        if self._answer is None:
            self._answer = Result.make_pending()
        self._items.append(item)
        answer = self._answer
        if len(self._items) >= self._size:
            self.flush()
        return answer

    def flush(self) -> Result:
        """Sends what waits now. Returns its result; executed if nothing waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answer, self._answer = self._answer, None
        if answer is None:
            return EXECUTED
        items, self._items = self._items, []
        follow(self._machine.add(self._state, {self._key: items}), answer)
        return answer

    close = flush
    """Sends what waits; nothing is left that could fire later."""
