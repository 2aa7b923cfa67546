"""asyncio on the browser's own loop: many callbacks in one turn.

Pyodide's loop crosses into JavaScript and back for each callback, and runs what is due within 2 ms at once. This one
keeps the callbacks in Python. A turn begins with a message from JavaScript and ends when nothing is left to do, or
after `SLICE` seconds: then the browser may draw and take input before the next turn. Timers wait in a heap, for the
earliest of which the browser has a timer; they never fire early, and those due at the same time fire in the order they
were made.

A callback may wait for a promise by `run_sync`, which leaves its turn unfinished. Other turns run meanwhile, so nothing
here may rely on the end of a turn.

`install` puts it in place of Pyodide's, before any future exists. Everything that asyncio defines for a loop which
already runs and never ends works as there: debug mode, exception handlers, task factories, `asyncio.run` (where the
browser can suspend Python). There are no sockets, pipes, processes or threads.

Of Pyodide's loop nothing private is used: what it keeps of the turn, of debug mode and of generators is kept here.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import inspect
import itertools
import logging
import math
import sys
import time
import warnings
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from typing import Any, Final, TypeVar, TypeVarTuple, cast
from weakref import WeakSet

from pyodide.webloop import PyodideFuture, WebLoop

SLICE: Final = 0.004
"""Seconds after which the browser gets its turn."""

LOOK: Final = 8
"""Callbacks between two looks at the clock."""

LONGEST: Final = 2**31 - 1
"""Milliseconds that a browser's timer can be set to."""

ORIGIN_DEPTH: Final = 10
"""Frames that debug mode keeps of where a coroutine was made."""

MANY: Final = 100
"""Cancelled timers that are let lie as long as they are fewer than the others."""

_logger = logging.getLogger("asyncio")

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")


class BatchLoop(WebLoop):
    def __init__(self) -> None:
        from js import MessageChannel, WebAssembly, setTimeout
        from pyodide.ffi import create_proxy

        super().__init__()
        self.slow_callback_duration = 0.1
        """Seconds from which on debug mode logs a callback."""
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._cancelled_timers = 0
        self._numbers = itertools.count()
        self._called = False
        self._alarm = math.inf
        self._debugs = self.get_debug()
        self._watched: asyncio.Handle | None = None
        self._generators: WeakSet[AsyncGenerator[Any, Any]] = WeakSet()
        self._generators_were_shut_down = False
        self._hooks = (self._generator_begins, self._generator_is_dropped)
        channel = MessageChannel.new()
        turn = create_proxy(self._turn)  # lives as long as this Python
        if hasattr(WebAssembly, "Suspending"):
            turn = turn.callPromising.bind(turn)  # so that callbacks may `run_sync`
        channel.port1.onmessage = turn
        self._channel = channel
        self._call = channel.port2.postMessage.bind(channel.port2)
        self._set_timeout = setTimeout

    def call_soon(
        self,
        callback: Callable[[*_Arguments], object],
        *args: *_Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        if self._debugs:
            _check_callback(callback, "call_soon")
        handle = asyncio.Handle(callback, args, self, context)
        if self._debugs:
            _forget_caller(handle)
        self._ready.append(handle)
        if not self._called:
            self._called = True
            self._call(None)
        return handle

    call_soon_threadsafe = call_soon  # there is one thread

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Arguments], object],
        *args: *_Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """A negative delay is none; what is due in infinite time is never called."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Arguments], object],
        *args: *_Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        if self._debugs:
            _check_callback(callback, "call_at")
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if self._debugs:
            _forget_caller(handle)
        if when < math.inf:
            handle._scheduled = True  # type: ignore[attr-defined]
            heapq.heappush(self._timers, (when, next(self._numbers), handle))
            if when < self._alarm:
                self._set_alarm(when)
        return handle

    def create_future(self) -> PyodideFuture[Any]:
        """One with `then`: JavaScript that awaits a promise made of a future needs that."""
        return PyodideFuture(loop=self)

    def create_task(
        self, coro: Generator[Any, None, _Result] | Coroutine[Any, Any, _Result], **options: Any
    ) -> asyncio.Task[_Result]:
        """`options` are those of `asyncio.Task`. A task may begin in here: `eager_start`."""
        factory = self.get_task_factory()
        if factory is not None:
            return cast(asyncio.Task[_Result], factory(self, coro, **options))
        task = asyncio.Task(coro, loop=self, **options)
        if self._debugs:
            _forget_caller(task)
        return task

    def set_debug(self, enabled: bool) -> None:
        super().set_debug(enabled)
        self._debugs = enabled

    def default_exception_handler(self, context: Mapping[str, Any]) -> None:
        """In debug mode it tells where the callback was made in which the error came up."""
        made = getattr(self._watched, "_source_traceback", None)
        told = {"handle_traceback": made} if made and "source_traceback" not in context else {}
        super().default_exception_handler({**told, **context})

    async def shutdown_asyncgens(self) -> None:
        self._generators_were_shut_down = True
        generators = list(self._generators)
        self._generators.clear()
        ends = await asyncio.gather(*(each.aclose() for each in generators), return_exceptions=True)
        for each, end in zip(generators, ends, strict=True):
            if isinstance(end, Exception):
                message = f"an error came up when the asynchronous generator {each!r} was closed"
                self.call_exception_handler({"message": message, "exception": end, "asyncgen": each})
        await super().shutdown_asyncgens()  # those of `run_until_complete`

    def _generator_begins(self, generator: AsyncGenerator[Any, Any]) -> None:
        if self._generators_were_shut_down:
            told = f"the asynchronous generator {generator!r} begins after loop.shutdown_asyncgens()"
            warnings.warn(told, ResourceWarning, stacklevel=2, source=self)
        self._generators.add(generator)

    def _generator_is_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._generators.discard(generator)
        self.call_soon(asyncio.ensure_future, generator.aclose())

    def _turn(self, _event: object = None) -> None:
        # From here on another turn can be called for: this one may be left unfinished.
        self._called = False
        self._begin_turn()
        if self._timers:
            self._take_due()
        try:
            self._run_ready()
        finally:
            if self._ready and not self._called:
                self._called = True
                self._call(None)

    def _begin_turn(self) -> None:
        """Three things are a turn's own where the browser can suspend Python."""
        asyncio._set_running_loop(self)
        sys.set_asyncgen_hooks(*self._hooks)
        if self._debugs:
            sys.set_coroutine_origin_tracking_depth(ORIGIN_DEPTH)

    def _run_ready(self) -> None:
        ready = self._ready
        clock = time.perf_counter
        end = clock() + SLICE
        while ready:
            for _ in range(min(len(ready), LOOK)):
                handle = ready.popleft()
                if handle._cancelled:
                    continue
                if self._debugs:
                    self._run_watched(handle)
                else:
                    handle._run()
            if clock() >= end:
                break

    def _run_watched(self, handle: asyncio.Handle) -> None:
        self._watched = handle
        begin = time.perf_counter()
        try:
            handle._run()
        finally:
            self._watched = None
        seconds = time.perf_counter() - begin
        if seconds >= self.slow_callback_duration:
            _logger.warning("Executing %r took %.3f seconds", handle, seconds)

    def _take_due(self) -> None:
        timers, now = self._timers, self.time()
        if now >= self._alarm:
            self._alarm = math.inf
        while timers and (timers[0][0] <= now or timers[0][2]._cancelled):
            handle = heapq.heappop(timers)[2]
            handle._scheduled = False  # type: ignore[attr-defined]
            if handle._cancelled:
                self._cancelled_timers -= 1
            else:
                self._ready.append(handle)
        if timers and timers[0][0] < self._alarm:
            self._set_alarm(timers[0][0])

    def _set_alarm(self, when: float) -> None:
        """The alarm that was set before stays: it will find nothing to do."""
        self._alarm = when
        milliseconds = math.ceil((when - self.time()) * 1000)
        # The alarm calls for a turn and is none: a turn within it would make the browser round up what it sets next.
        self._set_timeout(self._call, min(max(milliseconds, 0), LONGEST), None)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._cancelled_timers += 1
        if self._cancelled_timers > max(MANY, len(self._timers) // 2):
            self._timers = [entry for entry in self._timers if not entry[2]._cancelled]
            heapq.heapify(self._timers)
            self._cancelled_timers = 0


def install() -> BatchLoop:
    """Replace Pyodide's loop. What was scheduled on that one still runs there."""
    loop = BatchLoop()
    asyncio.set_event_loop(loop)
    asyncio._set_running_loop(loop)
    return loop


_running: set[asyncio.Future[Any]] = set()


def run_main(main: Callable[..., object], *args: object) -> object:
    """Calls it, and returns what it does; what is to be awaited is started, and held to its end.

    JavaScript, which awaits it, does not hold it: a main that waits for what nobody else knows would be collected.
    """
    result = main(*args)
    if not inspect.isawaitable(result):
        return result
    future: asyncio.Future[Any] = asyncio.ensure_future(result)
    _running.add(future)
    future.add_done_callback(_running.discard)
    return future


def _check_callback(callback: object, method: str) -> None:
    if asyncio.iscoroutine(callback) or asyncio.iscoroutinefunction(callback):
        raise TypeError(f"coroutines cannot be used with {method}()")
    if not callable(callback):
        raise TypeError(f"a callable object was expected by {method}(), got {callback!r}")


def _forget_caller(made: Any) -> None:
    """Where debug mode says that something was made is not here, but where we were called."""
    if made._source_traceback:
        del made._source_traceback[-1]
