"""Scopes: lifetimes that work can be bound to.

The scope of a state ends when the state's tick next changes. Made for an active state it lives as long as this
activation; made for an inactive one it lives until the state activates. Tasks in it are cancelled at its end.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Self, TypeVar

from asyncmachine.machine.errors import AmError
from asyncmachine.machine.wait import Once, until_ended

_making = threading.Lock()

R = TypeVar("R")


class Scope(Once):
    """A lifetime. `await scope` returns when it ends.

    `state` and `tick` tell which activation it stands for (empty and 0 for a free-standing one).
    """

    __slots__ = ("_bodies", "_tasks", "_waits", "state", "tick")

    def __init__(self, state: str = "", tick: int = 0) -> None:
        super().__init__()
        self.state = state
        self.tick = tick
        self._tasks: set[asyncio.Task[Any]] | None = None
        self._bodies: list[_Body] | None = None
        self._waits: dict[Once, Callable[[], AmError] | None] | None = None

    def __repr__(self) -> str:
        return f"<Scope {self.state or 'free'}:{self.tick}{' ended' if self._ended else ''}>"

    @property
    def expired(self) -> bool:
        """True once it has ended."""
        return self._ended

    def end(self) -> None:
        """Ends it: tasks are cancelled, waits bound to it raise `ScopeEnded`. The second call does nothing."""
        if not self._end():
            return
        if self._waits:
            for wait, error in tuple(self._waits.items()):
                wait._end(error)
        if self._tasks:
            for task in tuple(self._tasks):
                _cancel(task)

    def on_end(self, callback: Callable[[], object]) -> None:
        """Calls `callback` at the end, at once if it has ended."""
        self.then(callback)

    def bind(self, wait: Once, error: Callable[[], AmError] | None) -> None:
        """Ends a wait when the scope ends: with an error, or None for met."""
        with _making:
            if self._waits is None:
                self._waits = {}
            waits = self._waits
        # Filed first, looked at second: a scope that ends in between ends it too, or it is seen.
        waits[wait] = error
        wait._file(waits)
        if self._ended:
            wait._end(error)

    def __await__(self) -> Generator[object, None, None]:
        return until_ended(self)

    async def wait(self) -> None:
        """Returns when the scope ends."""
        await self

    def create_task(self, body: Coroutine[Any, Any, R], *, name: str | None = None) -> asyncio.Task[R] | None:
        """Runs a coroutine on the running loop until it returns or the scope ends. None if the scope has ended."""
        if self._ended:
            body.close()
            return None
        task = asyncio.get_running_loop().create_task(body, name=name)
        self.adopt(task)
        return task

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Cancels a running task when the scope ends."""
        if self._tasks is None:
            self._tasks = set()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._ended:
            _cancel(task)

    async def __aenter__(self) -> Self:
        """The body of `async with scope:` is left quietly when the scope ends."""
        task = asyncio.current_task()
        assert task is not None
        body = _Body(task)
        if self._bodies is None:
            self._bodies = []
        self._bodies.append(body)
        self.then(body.interrupt)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        task, bodies = asyncio.current_task(), self._bodies or []
        body = next(found for found in reversed(bodies) if found.task is task)
        bodies.remove(body)
        self.forget(body.interrupt)
        return body.leave(kind)


ENDED = Scope()
"""A lifetime that is over."""
ENDED.end()


class _Body:
    """One running `async with scope:` block."""

    __slots__ = ("cancelling", "interrupted", "left", "task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        # Cancellations under way already, of which the block is not to swallow any.
        self.cancelling = task.cancelling()
        self.interrupted = False
        self.left = False

    def interrupt(self) -> None:
        loop = self.task.get_loop()
        if asyncio._get_running_loop() is not loop:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._cancel)
        elif asyncio.current_task() is self.task:
            # The block ends its own scope: let it reach its next await, or its end, first.
            loop.call_soon(self._cancel)
        else:
            self._cancel()

    def _cancel(self) -> None:
        # On the loop's thread, where the block is either still open or left for good.
        if not self.left:
            self.interrupted = True
            self.task.cancel()

    def leave(self, kind: type[BaseException] | None) -> bool:
        self.left = True
        # As asyncio.timeout does: swallow only the cancellation this scope asked for.
        return self.interrupted and self.task.uncancel() <= self.cancelling and kind is asyncio.CancelledError


def _cancel(task: asyncio.Task[Any]) -> None:
    """Cancels a task from any thread."""
    loop = task.get_loop()
    if asyncio._get_running_loop() is loop:
        task.cancel()
    elif not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)
