"""`python -m tests.conformance [PATH…]`: runs vectors, shows what differs, ends with `N passed, M failed`.

Exits with 0 only if something was run and nothing failed.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .check import check
from .load import load
from .report import Report

OWN_VECTORS = Path(__file__).parent / "vectors"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the vectors that the command line names; returns the exit code."""
    options = arguments(argv)
    report = Report(print, verbose=options.verbose)
    started = time.monotonic()
    with quiet_logging():
        for entry in load(options.paths or [OWN_VECTORS]):
            report.add(check(entry))
            if 0 < options.stop <= report.failed:
                print(f"stopped after {report.failed} failures; what comes after them was not run")
                break
    report.close(time.monotonic() - started)
    sys.stdout.flush()
    return 0 if report.green else 1


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="a .jsonl file, compressed or not, or a directory of them; the project's own without one",
    )
    parser.add_argument(
        "--verbose", "-v", action="store_true", help="show all of a failure: differences, stack, inputs"
    )
    parser.add_argument("--stop", type=int, default=0, metavar="N", help="end after N failures")
    return parser.parse_args(argv)


@contextmanager
def quiet_logging() -> Iterator[None]:
    """Keeps log lines about the errors that vectors provoke out of the way."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


if __name__ == "__main__":
    sys.exit(main())
