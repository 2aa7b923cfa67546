"""One line of vectors: ours is run on it, and what came out is compared."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from .compare import Coverage, Difference, Rules, compare_function, compare_results
from .functions import call
from .load import Broken, Json, Line, VectorError, need
from .scenario import start

SECONDS_PER_LINE = 30.0
"""A line takes milliseconds; one that takes this long does not end."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one line. It passed if there is neither a difference nor an error.

    `coverage` tells how much of it counted. `operation` is the index of the operation at which ours raised, if it did.
    `trace` is the stack of an error raised by ours.
    """

    place: str
    id: str = ""
    data: Json | None = None
    coverage: Coverage = Coverage.WHOLE
    differences: tuple[Difference, ...] = ()
    error: str = ""
    operation: int | None = None
    trace: str = ""

    @property
    def passed(self) -> bool:
        """Whether ours did what it had to."""
        return not self.differences and not self.error


class TookTooLong(BaseException):
    """A line did not end. No `Exception`, so that a machine does not take it for an error of its handler."""


def check(entry: Line | Broken) -> Verdict:
    """Runs one line. Never raises for what a line or our machine does."""
    if isinstance(entry, Broken):
        return Verdict(entry.place, error=entry.reason)
    data, progress = entry.data, Progress()
    identity = str(data.get("id", ""))
    try:
        with time_limit(SECONDS_PER_LINE):
            differences, coverage = check_function(data) if "fn" in data else check_scenario(data, progress)
    except VectorError as error:
        return Verdict(entry.place, identity, data, error=str(error))
    except (Exception, TookTooLong) as error:  # noqa: BLE001 (whatever ours raises is a failure of the line)
        return Verdict(
            entry.place,
            identity,
            data,
            error=f"raised {type(error).__name__}: {error}",
            operation=progress.operation,
            trace=traceback.format_exc(),
        )
    return Verdict(entry.place, identity, data, coverage, tuple(differences))


@dataclass(slots=True)
class Progress:
    """The operation under way, to tell where ours raised."""

    operation: int | None = None


def check_scenario(data: Json, progress: Progress) -> tuple[list[Difference], Coverage]:
    """Plays the operations that count. The rest of a line behind the effect of a tag is not played."""
    rules = Rules.of(data)
    run = start(data)

    def results() -> Iterator[Json]:
        for index, op in enumerate(data["ops"][: rules.until]):
            progress.operation = index
            yield run.operate(op)

    return compare_results(rules, data["results"], results()), rules.coverage(data)


def check_function(data: Json) -> tuple[list[Difference], Coverage]:
    """Calls the function, also when its tag leaves out all of the result: it has to be known and must not raise."""
    need(data, "result", "the line")
    return compare_function(data, call(data))


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises `TookTooLong` in the body after `seconds`, where signals can do that: in the main thread, on Unix.

    The timer that was running before is given back.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TookTooLong(f"no end after {seconds:g} s")

    handler = signal.signal(signal.SIGALRM, stop)
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, remaining, interval)
        signal.signal(signal.SIGALRM, handler)
