"""Run a coroutine test in an event loop of its own, in asyncio's debug mode, and see what it leaves behind.

It fails when a task it started is still running at its end, and when the loop was told of an exception
that nobody handled.
"""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Awaitable, Callable
from typing import Any

# A task that was told to end may need a few turns of the loop to do so; one that needs more was forgotten.
GRACE_TURNS = 20


def in_own_loop(test: Callable[..., Awaitable[object]], limit: float | None) -> Callable[..., None]:
    """Make a plain function that runs the coroutine function to its end and checks what it left."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(checked(test(*args, **kwargs), limit), debug=True)

    return run


async def checked(body: Awaitable[object], limit: float | None) -> None:
    """Await the test; raise when it leaves tasks running or exceptions unhandled."""
    unhandled: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    async with asyncio.timeout(limit):
        await body
    leaked = await running_tasks()
    gc.collect()  # an exception is known to be unhandled only when its task is gone
    if unhandled:
        raise AssertionError(
            "the event loop met exceptions nobody handled:\n" + "\n".join(describe(context) for context in unhandled)
        ) from unhandled[0].get("exception")
    if leaked:
        raise AssertionError("tasks still run after the test:\n" + "\n".join(f"  {task!r}" for task in leaked))


async def running_tasks() -> list[asyncio.Task[Any]]:
    """Tasks other than this one that are still running after a few turns of the loop."""
    own = asyncio.current_task()
    for _ in range(GRACE_TURNS):
        if asyncio.all_tasks() == {own}:
            return []
        await asyncio.sleep(0)
    return sorted(asyncio.all_tasks() - {own}, key=lambda task: task.get_name())


def describe(context: dict[str, Any]) -> str:
    """One line for one call of the loop's exception handler."""
    exception = context.get("exception")
    return f"  {context['message']}" + (f": {exception!r}" if exception is not None else "")
