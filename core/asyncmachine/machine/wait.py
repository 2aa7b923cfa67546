"""Waiting for something that happens once: from a coroutine of any loop, from a thread, or by a look at `done()`.

A `Wait` never holds a future of its own. Each awaiter makes one on its own loop, so cancelling one awaiter withdraws
just that one, and a wait made in one loop or thread can be awaited in another.

What a wait waits for holds it, since whoever left a callback need not. Once the last who awaited it has given up, only
those hold it who might await it again: it is filed `Loose`, and withdrawn when the last of them has let go of it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from asyncmachine.machine.errors import AmError, WaitCanceled, WaitTimeout
from asyncmachine.machine.settings import patience

Callback = Callable[[], object]

_lock = threading.Lock()

logger = logging.getLogger("asyncmachine")


class Shelf(Protocol):
    """Where something is filed until it ends: a dict whose keys it is one of, or what has to be told of the end.

    The latter gets a `Loose` in its place when it has not ended, but is nobody's any more, at any moment of any thread.
    """

    def pop(self, key: Any, default: None, /) -> object: ...


class Once:
    """Something that happens once. Whoever wants to know leaves a callback."""

    __slots__ = ("__weakref__", "_callbacks", "_ended", "_error", "_shelves")

    def __init__(self) -> None:
        self._ended = False
        self._error: Callable[[], AmError] | None = None
        self._callbacks: list[Callback] | None = None
        self._shelves: Sequence[Shelf] = ()

    def done(self) -> bool:
        """True once it has ended, for whatever reason."""
        return self._ended

    def then(self, callback: Callback) -> None:
        """Calls `callback` when it ends, at once if it has. It runs on the thread that ends it."""
        with _lock:
            if not self._ended:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(callback)
                if self._shelves and isinstance(loose := self._shelves[0], Loose):
                    self._shelves = loose.fasten(self)
                return
        callback()

    def forget(self, callback: Callback) -> None:
        """Takes a callback of `then` back."""
        with _lock:
            if self._callbacks and callback in self._callbacks:
                self._callbacks.remove(callback)
                if not self._callbacks and self._shelves:
                    self._loosen()

    def _file(self, *shelves: Shelf) -> None:
        """Files it in further shelves, where its end takes it out again."""
        with _lock:
            if not self._ended:
                if self._shelves and isinstance(loose := self._shelves[0], Loose):
                    self._shelves = loose.fasten(self)
                self._shelves = (*self._shelves, *shelves)
                return
        for shelf in shelves:
            shelf.pop(self, None)

    def _loosen(self) -> None:
        self._shelves = (Loose(self, self._shelves),)

    def _refile(self, before: Sequence[Shelf], after: Iterable[dict[Any, None]]) -> None:
        """Files it in other dicts than before, as loose as it is."""
        with _lock:
            loose = self._shelves[0] if self._shelves else None
            shelves = loose.fasten(self) if isinstance(loose, Loose) else self._shelves
            after = tuple(after)
            for shelf in after:
                shelf[self] = None
            self._shelves = (*after, *(kept for kept in shelves if not any(kept is each for each in before)))
            if isinstance(loose, Loose):
                self._loosen()

    def _end(self, error: Callable[[], AmError] | None = None) -> bool:
        """Ends it, met or with an error. Only the first call counts, and returns True."""
        with _lock:
            if self._ended:
                return False
            self._ended = True
            self._error = error
            callbacks, self._callbacks = self._callbacks, None
            shelves = self._shelves
        for shelf in shelves:
            shelf.pop(self, None)
        if callbacks:
            for callback in callbacks:
                try:
                    callback()
                except Exception:
                    # The others have to be told, and whoever ended this has nothing to do with it.
                    logger.exception("a callback raised")
        return True


class Loose:
    """Stands in the shelves for something that nobody awaits any more, and does not hold it.

    Takes itself out when that has ended, or is nobody's any more. The latter may happen in the middle of anything, on
    any thread, so it locks nothing.
    """

    __slots__ = ("_shelves", "held")

    def __init__(self, once: Once, shelves: Sequence[Shelf]) -> None:
        self.held = weakref.ref(once, self._let_go)
        self._shelves = shelves
        self._move(once, self)

    def fasten(self, once: Once) -> Sequence[Shelf]:
        """Puts it back into the shelves itself, which are returned."""
        self._move(self, once)
        return self._shelves

    def pop(self, key: object, default: None, /) -> None:
        """It has ended."""
        for shelf in self._shelves:
            shelf.pop(self if isinstance(shelf, dict) else key, None)

    def met(self, ticks: Sequence[int]) -> bool:
        """As that of the wait."""
        wait: Any = self.held()
        return wait is not None and bool(wait.met(ticks))

    def _end(self, error: Callable[[], AmError] | None = None) -> bool:
        once = self.held()
        return once is not None and once._end(error)

    def _move(self, key: Once | Loose, new: Once | Loose) -> None:
        # In both places for a moment, so that nothing is missed in between.
        for shelf in self._shelves:
            if isinstance(shelf, dict) and key in shelf:
                shelf[new] = shelf[key]
                shelf.pop(key, None)

    def _let_go(self, _: object = None) -> None:
        for shelf in self._shelves:
            shelf.pop(self, None)


def held(shelf: Iterable[Any]) -> Iterator[Any]:
    """What is filed in a shelf, loose or not."""
    for filed in tuple(shelf):
        found = filed.held() if isinstance(filed, Loose) else filed
        if found is not None:
            yield found


class Wait(Once):
    """Ends once: met, or failed with a typed error. Await it (it returns None when met). Its text says what for."""

    __slots__ = ()

    def __str__(self) -> str:
        return "this wait"

    def cancel(self) -> None:
        """Withdraws the wait: whoever awaits it gets `WaitCanceled`. Does nothing once it has ended."""
        self._end(lambda: WaitCanceled("the wait was canceled"))

    def wait(self, timeout: float | None = None) -> None:
        """Blocks this thread until the wait ends. Raises `WaitTimeout` after `timeout` seconds.

        Must not be called on a thread that runs an event loop; await the wait there.
        """
        block_until(self, timeout)
        self._raise()

    def __await__(self) -> Generator[object, None, None]:
        yield from until_ended(self)
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error()


def until_ended(wait: Once) -> Generator[object, None, None]:
    """Suspends the running task until the wait has ended."""
    if wait.done():
        return
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if asyncio._get_running_loop() is loop:
            finish()
        elif not loop.is_closed():
            loop.call_soon_threadsafe(finish)

    def finish() -> None:
        if not future.done():
            future.set_result(None)

    wait.then(wake)
    try:
        yield from future
    finally:
        wait.forget(wake)


def block_until(wait: Once, timeout: float | None, told: str = "") -> None:
    """Blocks a thread that runs no loop. The error calls the wait as it is `told`, else by its own text."""
    if wait.done():
        return
    if asyncio._get_running_loop() is not None:
        raise AmError("this thread runs an event loop that would stand still: use `await` instead of `.wait()`")
    event = threading.Event()
    wait.then(event.set)
    if not event.wait(timeout):
        wait.forget(event.set)
        raise WaitTimeout(f"not met within {timeout} s: {told or wait}")


async def wait_all(*waits: Wait, timeout: float | None = None) -> None:
    """Returns when all are met. Raises the error of the first that fails, or `WaitTimeout` after `timeout` seconds."""
    left = set(waits)
    over = Wait()

    def ended(wait: Wait) -> None:
        left.discard(wait)
        if wait._error is not None or not left:
            over._end()

    if waits and not await _in_time(over, {wait: partial(ended, wait) for wait in waits}, timeout):
        missing = "; ".join(str(wait) for wait in waits if wait in left)
        raise WaitTimeout(f"{len(left)} of {len(waits)} waits not met in {timeout} s: {missing}")
    for wait in waits:
        wait._raise()


async def wait_any(*waits: Wait, timeout: float | None = None) -> Wait:
    """Returns the first wait that is met (of several at once the first given). Raises its error if it failed."""
    if not waits:
        raise AmError("wait_any needs at least one wait")
    over = Wait()
    if not await _in_time(over, dict.fromkeys(waits, over._end), timeout):
        raise WaitTimeout(f"none of {len(waits)} waits met in {timeout} s: {'; '.join(map(str, waits))}")
    first = next(wait for wait in waits if wait.done())
    first._raise()
    return first


async def _in_time(over: Wait, callbacks: Mapping[Wait, Callback], timeout: float | None) -> bool:
    """Leaves the callbacks at the waits until `over` ends; False if the time is up before."""
    for wait, callback in callbacks.items():
        wait.then(callback)
    try:
        async with asyncio.timeout(patience(timeout)):
            await over
    except TimeoutError:
        return False
    finally:
        for wait, callback in callbacks.items():
            wait.forget(callback)
    return True
