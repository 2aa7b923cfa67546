"""Run other programs while a person watches: one line a step that keeps moving, the whole output if it fails.

Everything goes to standard error, so that what a target itself prints can be piped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# How often the line of a running step is renewed, in seconds: on a terminal in place, in a log as a new line.
RENEW_TERMINAL = 0.25
RENEW_LOG = 10.0
TAIL_BYTES = 4000


class SetupError(Exception):
    """Something that a person has to mend; the text says what and how."""


def say(text: str) -> None:
    """Print one line to the person."""
    print(text, file=sys.stderr, flush=True)


def pip(root: Path) -> list[str | Path]:
    """The beginning of every pip command for `.venv/`."""
    return [root / ".venv" / "bin" / "python", "-m", "pip", "--no-input", "--disable-pip-version-check"]


def run(command: Sequence[str | Path], label: str, *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a program to its end, showing `label`, the seconds and the program's last line.

    Raises SetupError with the end of the output when it fails, leaves it out of sight otherwise.
    """
    with tempfile.TemporaryFile() as log:
        program = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            watch(program, label, log.fileno())
        except BaseException:
            # With all that it has started itself; it is alone in its process group.
            os.killpg(program.pid, signal.SIGTERM)
            program.wait()
            raise
        if program.returncode:
            shown = " ".join(str(part) for part in command)
            raise SetupError(f"{label} failed ({shown}, exit {program.returncode}):\n{tail(log.fileno())}")


def watch(program: subprocess.Popen[bytes], label: str, log: int) -> None:
    """Wait for the program, renewing its line."""
    terminal = sys.stderr.isatty()
    pause = RENEW_TERMINAL if terminal else RENEW_LOG
    begin = time.monotonic()
    while True:
        try:
            program.wait(pause)
        except subprocess.TimeoutExpired:
            show(label, time.monotonic() - begin, tail(log).rpartition("\n")[2], terminal=terminal)
        else:
            if terminal:
                sys.stderr.write("\r\x1b[K")
            return


def show(label: str, seconds: float, detail: str, *, terminal: bool) -> None:
    """Write the line of a running step."""
    line = f"  {label}: {seconds:.0f} s  {detail.strip()}"
    if terminal:
        width = os.get_terminal_size(sys.stderr.fileno()).columns
        sys.stderr.write(f"\r\x1b[K{line[: width - 1]}")
    else:
        sys.stderr.write(f"{line[:160]}\n")
    sys.stderr.flush()


def tail(log: int) -> str:
    """Return the last lines that were written to the open file."""
    size = os.fstat(log).st_size
    return os.pread(log, TAIL_BYTES, max(0, size - TAIL_BYTES)).decode(errors="replace").strip()
