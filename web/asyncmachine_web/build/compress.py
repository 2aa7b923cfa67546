"""Compressed copies beside the files, which a web server sends to a browser that takes them.

All have one in Brotli. What is large has one in Zstandard too: it is hardly larger, and unpacked in a third of the
time, which a page has to wait for before its Python starts.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from asyncmachine_web.build.node import run_node

ENDINGS = frozenset({".css", ".html", ".js", ".json", ".mjs", ".snapshot", ".svg", ".wasm"})
"""Kinds of files that get smaller; archives and images do not."""

SMALLEST = 1024
"""Bytes below which it is not worth it."""
LARGE = 1 << 20
"""Bytes from which unpacking takes a time that counts."""

COPIES = (".br", ".zst")
"""What is put behind a file's name."""

LEVEL = 12
"""Of Zstandard: beyond it a twentieth less takes eight times as long."""
WINDOW = 23
"""Bits of the window: no browser takes more than 8 MiB (RFC 9659)."""


def possible() -> tuple[str, ...]:
    """The kinds of copies that can be made here: Zstandard needs a package."""
    return COPIES if importlib.util.find_spec("zstandard") is not None else COPIES[:1]


def compress(files: Iterable[Path], *, quality: int = 9, path: str | None = None) -> list[Path]:
    """Write `NAME.br` beside each file that is worth it, and `NAME.zst` beside the large ones; return those copies.

    `quality` is Brotli's: 11 saves another eighth and takes twenty times as long. `path` is where Node is looked for,
    which makes them. Those in Zstandard need the package `zstandard` (part of `asyncmachine[relay]`), and are left out
    without it. Raises NodeFailed.
    """
    worth = sorted(file for file in files if file.suffix in ENDINGS and file.stat().st_size >= SMALLEST)
    if worth:
        run_node("compress.mjs", str(quality), *worth, path=path)
    made = [file.with_name(f"{file.name}.br") for file in worth]
    if ".zst" in possible():
        made += [_zstandard(file) for file in worth if file.stat().st_size >= LARGE]
    return made


def _zstandard(file: Path) -> Path:
    import zstandard

    settings = zstandard.ZstdCompressionParameters.from_level(LEVEL, window_log=WINDOW, threads=-1)
    copy, fresh = file.with_name(f"{file.name}.zst"), file.with_name(f"{file.name}.new")
    fresh.write_bytes(zstandard.ZstdCompressor(compression_params=settings).compress(file.read_bytes()))
    return fresh.replace(copy)
