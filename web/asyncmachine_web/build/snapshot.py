"""The memory snapshot with which a page's Python starts several times faster."""

from __future__ import annotations

from pathlib import Path

from asyncmachine_web.build.node import run_node

SNAPSHOT = "python.snapshot"


def snapshot(static: Path, *, path: str | None = None) -> Path:
    """Make `vendor/snapshot/python.snapshot` in a folder of static files, from what else is in its `vendor/`.

    It fits these alone: a page that finds another release, or another wheel in the lock, starts without it.
    `path` is where Node is looked for. Raises NodeFailed. The file is complete or as it was before.
    """
    target = static / "vendor" / "snapshot" / SNAPSHOT
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{SNAPSHOT}.new")
    run_node("snapshot.mjs", static.resolve(), draft.resolve(), path=path)
    return draft.replace(target)
