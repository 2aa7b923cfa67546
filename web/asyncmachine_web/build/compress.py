"""Compressed copies beside the files, which a web server sends to a browser that takes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from asyncmachine_web.build.node import run_node

ENDINGS = frozenset({".css", ".html", ".js", ".json", ".mjs", ".snapshot", ".svg", ".wasm"})
"""Kinds of files that get smaller; archives and images do not."""

SMALLEST = 1024
"""Bytes below which it is not worth it."""


def compress(files: Iterable[Path], *, quality: int = 9, path: str | None = None) -> list[Path]:
    """Write `NAME.br` beside each file that is worth it; return those copies.

    `quality` 11 saves another eighth and takes twenty times as long. `path` is where Node is looked for. Raises
    NodeFailed.
    """
    worth = sorted(file for file in files if file.suffix in ENDINGS and file.stat().st_size >= SMALLEST)
    if worth:
        run_node("compress.mjs", str(quality), *worth, path=path)
    return [file.with_name(f"{file.name}.br") for file in worth]
