"""`make nightly TIME=minutes`: the tests marked `nightly`, for that long; how often each ran is printed at the end.

They share the minutes among them (see tests/rounds.py). SEED repeats a night.
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
    return subprocess.call(command, cwd=ROOT, env={**os.environ, "AM_NIGHTLY_MINUTES": str(minutes)})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
