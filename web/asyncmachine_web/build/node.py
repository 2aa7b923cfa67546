"""Node, which makes what only JavaScript can make."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from asyncmachine import AmError


class NodeFailed(AmError):
    """Node is missing, or a script of ours failed; the text has what it wrote."""


def run_node(script: str, *arguments: str | Path, path: str | None = None) -> None:
    """Run a script that lies beside this file. `path` is where Node is looked for, as PATH. Raises NodeFailed."""
    node = shutil.which("node", path=path)
    if node is None:
        raise NodeFailed("Node 20 or newer is needed to build a page, and there is none on the PATH")
    command = [node, Path(__file__).with_name(script), *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        # What fails inside Pyodide comes with its whole source, a megabyte in one line, before the reason.
        reason = "\n".join(line[:500] for line in done.stderr.strip().splitlines()[-20:])
        raise NodeFailed(f"{script} failed (exit {done.returncode}):\n{reason}")
