"""`web/static/vendor/snapshot/`: the memory of a Python that has started, for pages to start from."""

from __future__ import annotations

from pathlib import Path

from scripts.console import run
from scripts.page_wheels import LOCK, WHEELS
from scripts.prerequisites import need_node
from scripts.step import Step, hash_files, hash_of
from scripts.vendor import COMPRESSOR, vendor_folder

SNAPSHOT = "snapshot"
SCRIPTS = (*(f"asyncmachine_web/build/snapshot.{kind}" for kind in ("mjs", "py")), "static/runtime.mjs")
# In a process of its own: it uses the packages of .venv, which the setup itself cannot.
MAKE = """
import sys
from pathlib import Path
from asyncmachine_web.build import compress, snapshot
from asyncmachine_web.build.compress import QUICK
static, path = Path(sys.argv[1]), sys.argv[2]
compress([snapshot(static, path=path)], effort=QUICK, path=path)
"""


def page_snapshot(root: Path) -> Step:
    """The step that makes the snapshot."""
    home = vendor_folder(root) / SNAPSHOT
    return Step("memory snapshot in web/static/vendor/snapshot", home, lambda: inputs(root), lambda: make(root, home))


def inputs(root: Path) -> str:
    """Hash of all that it depends on; the wheels are named in their lock with their hashes."""
    lock = vendor_folder(root) / WHEELS / LOCK
    return hash_of(
        hash_files(root, (root / name for name in (COMPRESSOR, *(f"web/{name}" for name in SCRIPTS)))),
        lock.read_text() if lock.exists() else "",
        (root / "package-lock.json").read_text(),
        Path(__file__).read_text(),
    )


def make(root: Path, home: Path) -> None:
    """Make it and its compressed copy."""
    home.mkdir(parents=True, exist_ok=True)
    python = root / ".venv" / "bin" / "python"
    run([python, "-c", MAKE, root / "web" / "static", need_node(root)], "memory snapshot", cwd=root)
