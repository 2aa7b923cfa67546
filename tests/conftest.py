"""How tests run here: `async def test_…` needs no marker and no plugin, and leaves nothing behind (see own_loop)."""

from __future__ import annotations

import gc
import inspect

import pytest
from hypothesis import settings

from tests.own_loop import in_own_loop
from tests.rounds import TAKEN, rounds

__all__ = ["rounds"]

# A hung test is cancelled this long before pytest-timeout stops it from outside, so that the report shows the await.
CANCEL_BEFORE = 5.0

# Examples may take their time: a busy computer is no failure.
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")


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
    """Seconds the test may take: by its own `timeout` mark, the command line, or the project; None without a limit."""
    mark = item.get_closest_marker("timeout")
    general = item.config.getoption("timeout") or item.config.getini("timeout")
    seconds = float(mark.args[0] if mark and mark.args else general)
    return seconds - CANCEL_BEFORE if seconds > CANCEL_BEFORE else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print how many rounds each nightly test took, and what others have counted (see `record_property`)."""
    taken = config.stash.get(TAKEN, {})
    if taken:
        terminalreporter.section("rounds")
        for test, count in taken.items():
            terminalreporter.write_line(f"{count:>12,}  {test}")
    # Reports come from the processes of xdist, too.
    for report in terminalreporter.getreports("passed"):
        for name, counts in report.user_properties:
            if name == "counts":
                terminalreporter.section(f"counts of {report.nodeid}")
                for what, count in counts.items():
                    terminalreporter.write_line(f"{count:>12,}  {what}")
