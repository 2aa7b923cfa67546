"""What every bench shares: a figure's row, how it compares with peers and with an aim, the table, the five minutes.

A bench is a generator of rows and three lines:

    def rows() -> Iterator[Row]:
        yield row("add", "µs", 2.1, peers={"transitions": 31.0}, aim="ratio >= 5")

    if __name__ == "__main__":
        sys.exit(main("mutations", rows))
"""

from __future__ import annotations

import argparse
import json
import operator
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

# A bench ends within five minutes; the rest is for writing down what there is.
LIMIT_SECONDS = 290.0
# An interrupt can get lost, in a destructor say: then it comes again.
AGAIN_SECONDS = 10.0

COMPARE: Mapping[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}
AIM = re.compile(r"(ours|ratio) (<=|>=) (\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, in `unit`.

    `ratio` says how many times better ours is than the best peer, None without a peer. `aim` is a bound
    for `ours` or `ratio`, as in "ours <= 250"; `holds` is None without one.
    """

    name: str
    unit: str
    ours: float
    peers: Mapping[str, float] = field(default_factory=dict)
    ratio: float | None = None
    aim: str | None = None
    holds: bool | None = None


def row(
    name: str,
    unit: str,
    ours: float,
    *,
    peers: Mapping[str, float] | None = None,
    aim: str | None = None,
    more_is_better: bool = False,
) -> Row:
    """Make a row, working out `ratio` and `holds`. Raises ValueError for an aim that cannot be read or met."""
    ratio = ratio_to_best(ours, (peers or {}).values(), more_is_better=more_is_better)
    return Row(name, unit, ours, dict(peers or {}), ratio, aim, None if aim is None else is_met(aim, ours, ratio))


def ratio_to_best(ours: float, peers: Iterable[float], *, more_is_better: bool) -> float | None:
    """Return how many times better ours is than the best of the peers; above 1 is better."""
    figures = list(peers)
    if not figures:
        return None
    better, worse = (ours, max(figures)) if more_is_better else (min(figures), ours)
    return better / worse if worse else None


def is_met(aim: str, ours: float, ratio: float | None) -> bool:
    """Tell whether the figure reaches its aim."""
    parsed = AIM.fullmatch(aim)
    if parsed is None:
        raise ValueError(f"the aim {aim!r} is not of the form 'ours <= 250' or 'ratio >= 3'")
    value = ours if parsed[1] == "ours" else ratio
    if value is None:
        raise ValueError(f"the aim {aim!r} needs a peer to compare with")
    return COMPARE[parsed[2]](value, float(parsed[3]))


def table(rows: Sequence[Row]) -> str:
    """Lay rows out in columns for a terminal."""
    verdict = {None: "", True: "holds", False: "missed"}
    cells = [("figure", "ours", "", "peers", "ratio", "aim", "")]
    cells += [
        (
            row.name,
            figure(row.ours),
            row.unit,
            ", ".join(f"{peer} {figure(value)}" for peer, value in row.peers.items()),
            "" if row.ratio is None else f"{row.ratio:.2f}×",
            row.aim or "",
            verdict[row.holds],
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def figure(value: float) -> str:
    """Write a number with three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


class Overtime(KeyboardInterrupt):
    """The bench's time is over. As an interrupt it passes `except Exception` and asyncio's tasks alike."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise Overtime in the main thread after that many seconds. A timer that ran before runs again afterwards."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Overtime

    handler = signal.signal(signal.SIGALRM, stop)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def collect(rows: Callable[[], Iterable[Row]], seconds: float) -> tuple[list[Row], bool]:
    """Take rows until they end or the time is over; return them and whether they were all.

    Each is told at once, with the seconds it took; of those that one measurement gives, the first has them all.
    """
    taken: list[Row] = []
    last = time.monotonic()
    try:
        with time_limit(seconds):
            for each in rows():
                spent, last = time.monotonic() - last, time.monotonic()
                line = f"  {each.name}: {figure(each.ours)} {each.unit}"
                print(f"{line:<70} {spent:5.1f} s", file=sys.stderr, flush=True)
                taken.append(each)
    except Overtime:
        return taken, False
    return taken, True


def turns(most: int, seconds: float) -> Iterator[int]:
    """0, 1, … for up to `most` turns; none is begun after so many seconds, so that a busy computer does fewer."""
    begun = time.monotonic()
    for turn in range(most):
        if turn and time.monotonic() - begun > seconds:
            return
        yield turn


def main(
    name: str,
    rows: Callable[[], Iterable[Row]],
    arguments: Sequence[str] | None = None,
    *,
    limit: float = LIMIT_SECONDS,
) -> int:
    """Run a bench from its command line; return 0, also for a missed aim, and 1 when the time was over first."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows there")
    options = parser.parse_args(arguments)
    taken, complete = collect(rows, limit)
    print(table(taken))
    if options.json is not None:
        text = json.dumps([asdict(each) for each in taken], indent=1, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    if not complete:
        print(f"bench.{name}: stopped after {limit:.0f} s, figures are missing", file=sys.stderr)
    return 0 if complete else 1
