"""`node_modules/`: what the page is made of, and the type checker of its JavaScript."""

from __future__ import annotations

from pathlib import Path

from scripts.console import run
from scripts.prerequisites import need_node
from scripts.step import Step, hash_files


def npm_packages(root: Path) -> Step:
    """The step that fills `node_modules/`, exactly as the lock says."""
    sources = [root / "package.json", root / "package-lock.json", root / ".npmrc"]

    def install() -> None:
        path = need_node(root)
        run(["npm", "ci", "--no-progress"], "npm ci", cwd=root, env={"PATH": path})

    return Step("npm packages in node_modules", root / "node_modules", lambda: hash_files(root, sources), install)
