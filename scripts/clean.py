"""`make clean`: remove what make made, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from scripts.console import say
from scripts.page_snapshot import SNAPSHOT
from scripts.page_wheels import WHEELS
from scripts.python_env import MADE_HERE
from scripts.step import STAMP
from scripts.vendor import COPIES, vendor_folder

# What the tools that make runs keep for themselves.
CACHES = (".hypothesis", ".import_linter_cache", ".mypy_cache", ".pytest_cache", ".ruff_cache", "test-results")
# Where our programs and tests leave compiled modules.
SOURCES = ("bench", "core", "debugger", "examples", "playwright", "relay", "scripts", "tests", "tools", "web")


def clean(root: Path) -> None:
    """Remove it all and say what went."""
    gone = [path for path in made(root) if path.exists()]
    for path in gone:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    vendor = vendor_folder(root)
    if vendor.is_dir() and not any(vendor.iterdir()):
        vendor.rmdir()
    compiled = [path for name in SOURCES for path in (root / name).rglob("__pycache__")]
    for path in compiled:
        shutil.rmtree(path)
    say("removed: " + (", ".join(str(path.relative_to(root)) for path in gone) or "nothing, there was nothing"))


def made(root: Path) -> Iterator[Path]:
    """Yield what setup and the tools may have made. An environment that somebody else made is theirs."""
    if (root / ".venv" / MADE_HERE).exists():
        yield root / ".venv"
    yield root / "node_modules"
    vendor = vendor_folder(root)
    for target in (*(copy.target for copy in COPIES), WHEELS, SNAPSHOT, STAMP):
        yield vendor / target
        yield vendor / f"{target}.new"
    for name in CACHES:
        yield root / name
