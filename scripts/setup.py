"""`make setup`: everything that the other targets and every `.venv/bin/python -m …` stand on.

Idempotent: what is done is not done again, an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import sys
import time
from pathlib import Path

from scripts.browser import provide_browser
from scripts.clean import clean
from scripts.console import SetupError, say
from scripts.npm import npm_packages
from scripts.page_wheels import page_wheels
from scripts.python_env import python_env
from scripts.step import Done, megabytes, perform
from scripts.vendor import vendored_libraries

ROOT = Path(__file__).resolve().parent.parent
# In this order: each one uses what the ones before it made.
STEPS = (python_env, npm_packages, vendored_libraries, page_wheels)


def main(arguments: list[str]) -> int:
    """Do what is due, or with `--clean` undo it all; return the exit code."""
    begin = time.monotonic()
    try:
        # Two targets may start at once; the second one waits and finds the work done.
        with (ROOT / "constraints.txt").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if arguments == ["--clean"]:
                clean(ROOT)
                return 0
            done = [perform(step(ROOT)) for step in STEPS]
            provide_browser(ROOT, ROOT / ".venv")
    except SetupError as error:
        say(f"setup: {error}")
        return 1
    except KeyboardInterrupt:
        say("setup: interrupted; the next run goes on from here")
        return 130
    report(done, time.monotonic() - begin)
    return 0


def report(done: list[Done], seconds: float) -> None:
    """Print the total, if anything was done."""
    if any(step.seconds for step in done):
        say(f"setup: {seconds:.1f} s, {megabytes(sum(step.size for step in done))} on disk")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
