"""`make setup`: everything that the other targets and every `.venv/bin/python -m …` stand on.

Idempotent: what is done is not done again, an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import json
import sys
import time
from pathlib import Path

from scripts.browser import provide_browser
from scripts.clean import clean
from scripts.console import SetupError, say
from scripts.npm import npm_packages
from scripts.page_snapshot import page_snapshot
from scripts.page_wheels import page_wheels
from scripts.python_env import python_env
from scripts.step import disk_use, megabytes, perform, replace_text
from scripts.vendor import vendored_libraries

ROOT = Path(__file__).resolve().parent.parent
# In this order: each one uses what the ones before it made.
STEPS = (python_env, npm_packages, vendored_libraries, page_wheels, page_snapshot)
FIRST_RUN = ".setup-first-run.json"
"""In the home of the first step: {seconds, bytes} of the run that found nothing done, for `bench.thread`."""


def main(arguments: list[str]) -> int:
    """Do what is due, or with `--clean` undo it all; return the exit code."""
    begin = time.monotonic()
    steps = [make_step(ROOT) for make_step in STEPS]
    try:
        # Two targets may start at once; the second one waits and finds the work done.
        with (ROOT / "constraints.txt").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if arguments == ["--clean"]:
                clean(ROOT)
                return 0
            due = [perform(step) for step in steps]
            provide_browser(ROOT, ROOT / ".venv")
    except SetupError as error:
        say(f"setup: {error}")
        return 1
    except KeyboardInterrupt:
        say("setup: interrupted; the next run goes on from here")
        return 130
    if any(due):
        # Wheels and snapshot lie inside the vendor folder, which is counted already.
        homes = [step.home for step in steps if step.home.parent not in [other.home for other in steps]]
        seconds, size = time.monotonic() - begin, sum(map(disk_use, homes))
        say(f"setup: {seconds:.1f} s, {megabytes(size)} on disk")
        if all(due):
            replace_text(steps[0].home / FIRST_RUN, json.dumps({"seconds": seconds, "bytes": size}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
