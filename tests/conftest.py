"""How tests run here: `async def test_…` needs no marker and no plugin, and leaves nothing behind.

A coroutine test runs in an event loop of its own, in asyncio's debug mode. It fails when a task it
started is still running at its end, and when the loop was told of an exception nobody handled.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.rounds import TAKEN, rounds

__all__ = ["rounds"]

# A task that was told to end may need a few turns of the loop to do so; one that needs more was forgotten.
GRACE_TURNS = 20
# A hung test is cancelled this long before pytest-timeout stops it from outside, so that the report shows the await.
CANCEL_BEFORE = 5.0


def pytest_collection_finish() -> None:
    """Leave what was imported out of later collections: they then cost microseconds after each test."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test in a loop of its own; leave every other test to pytest."""
    limit = time_limit(pyfuncitem)
    hypothesis = getattr(pyfuncitem.obj, "hypothesis", None)
    if hypothesis is not None and inspect.iscoroutinefunction(hypothesis.inner_test):
        hypothesis.inner_test = in_own_loop(hypothesis.inner_test, limit)
        return None
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = inspect.signature(pyfuncitem.obj).parameters
    in_own_loop(pyfuncitem.obj, limit)(**{name: pyfuncitem.funcargs[name] for name in wanted})
    return True


def time_limit(item: pytest.Item) -> float | None:
    """Seconds the test may take: its own `timeout` mark, else the project's; None without a limit."""
    mark = item.get_closest_marker("timeout")
    seconds = float(mark.args[0] if mark and mark.args else item.config.getini("timeout"))
    return seconds - CANCEL_BEFORE if seconds > CANCEL_BEFORE else None


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print how many rounds each nightly test took."""
    taken = config.stash.get(TAKEN, {})
    if taken:
        terminalreporter.section("rounds")
        for test, count in taken.items():
            terminalreporter.write_line(f"{count:>12,}  {test}")
