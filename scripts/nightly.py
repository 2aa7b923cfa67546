"""`make nightly TIME=minutes`: the tests marked `nightly`, for that long; how often each ran is printed at the end.

They share the minutes among them (see tests/rounds.py). Those in a browser come after that, and take what they take:
a few minutes each, and no longer than TIME. SEED repeats a night.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MINUTES = 10.0
# Beyond its share a test may finish the round it is in.
GRACE_SECONDS = 600


def main(arguments: list[str]) -> int:
    """Run them; return pytest's exit code."""
    try:
        minutes = float(arguments[0]) if arguments else MINUTES
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        print(f"nightly: TIME is a number of minutes above 0, not {arguments[0]!r}", file=sys.stderr)
        return 2
    limit = int(minutes * 60) + GRACE_SECONDS
    command = [sys.executable, "-m", "pytest", "-m", "nightly", f"--timeout={limit}"]
    env = {**os.environ, "AM_NIGHTLY_MINUTES": str(minutes)}
    # One after the other: Playwright has an event loop of its own in the thread in which tests run.
    return max(subprocess.call([*command, folder], cwd=ROOT, env=env) for folder in ("tests", "playwright"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
