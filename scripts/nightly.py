"""`make nightly TIME=minutes`: the tests marked `nightly`, for that long; how often each ran is printed at the end.

They share the minutes among them (see tests/rounds.py). Those in a browser come after that, and take what they take:
a few minutes each, and no longer than TIME. SEED repeats a night.

At last a fuzzer that sees what code it reaches gives frames to sessions, for a tenth of TIME. It is atheris, which is
installed here if it can be had for this Python; if not, the reason is printed.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from scripts.console import SetupError, pip, run, say

ROOT = Path(__file__).resolve().parent.parent
MINUTES = 10.0
# Beyond its share a test may finish the round it is in.
GRACE_SECONDS = 600
# The part of the time that the fuzzer gets.
FUZZED = 0.1


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
    codes = [subprocess.call([*command, folder], cwd=ROOT, env=env) for folder in ("tests", "playwright")]
    return max(*codes, fuzzed(minutes * 60 * FUZZED))


def fuzzed(seconds: float) -> int:
    """Lets the fuzzer run for that long. Returns its exit code: 0 too if it is not to be had."""
    if importlib.util.find_spec("atheris") is None:
        try:
            fuzzer = ["install", "--quiet", "--constraint", "constraints.txt", "--group", "fuzz"]
            run([*pip(ROOT), *fuzzer], "the fuzzer", cwd=ROOT)
        except SetupError as reason:
            say(f"nightly: no fuzzing, since atheris cannot be installed here\n{reason}")
            return 0
    limits = [f"-max_total_time={max(1, round(seconds))}", "-timeout=20", "-rss_limit_mb=1024"]
    shown = ["-verbosity=0", "-print_final_stats=1"]
    return subprocess.call([sys.executable, "-m", "tests.nightly.frames_fuzz", *limits, *shown], cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
