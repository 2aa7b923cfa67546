"""A step of the setup and the stamp that says it is done.

A step fills one folder. When it has succeeded, and only then, a stamp is put into that folder: a hash
of everything the result depends on. The step is due again when the stamp is gone or the hash differs,
so an interrupted setup goes on where it stopped and a finished one costs only the hashes.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from scripts.console import say

STAMP = ".setup-stamp"


@dataclass(frozen=True)
class Step:
    """One folder to fill. `inputs` returns the hash, `run` does the work and may be repeated at any point."""

    title: str
    home: Path
    inputs: Callable[[], str]
    run: Callable[[], None]


def perform(step: Step) -> bool:
    """Run the step if it is due, and return whether it was."""
    wanted = step.inputs()
    stamp = step.home / STAMP
    if stamp.is_file() and stamp.read_text() == wanted:
        return False
    say(f"▸ {step.title}")
    stamp.unlink(missing_ok=True)
    begin = time.monotonic()
    step.run()
    seconds = time.monotonic() - begin
    say(f"  {seconds:.1f} s, {megabytes(disk_use(step.home))}")
    replace_text(stamp, wanted)
    return True


def replace_text(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.replace(path)


def hash_of(*parts: str) -> str:
    """Hash texts; each is counted apart from its neighbours."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()


def hash_files(root: Path, paths: Iterable[Path]) -> str:
    """Hash names (relative to `root`) and contents of files, whatever order they come in."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(hashlib.sha256(str(path.relative_to(root)).encode()).digest())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def disk_use(folder: Path) -> int:
    """Bytes that the folder takes on disk."""
    return sum(
        os.lstat(os.path.join(parent, name)).st_blocks * 512  # noqa: PTH118  (tens of thousands of files)
        for parent, folders, files in os.walk(folder)
        for name in (*folders, *files)
    )


def megabytes(size: int) -> str:
    """Write bytes for people."""
    return f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB"
