"""Compressed copies beside the files, which a web server sends to a browser that takes them.

All have one in Brotli. What is large has one in Zstandard too, which is unpacked in a third of the time: a page has to
wait for that before its Python starts.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from asyncmachine_web.build.node import run_node

ENDINGS = frozenset({".css", ".html", ".js", ".json", ".mjs", ".snapshot", ".svg", ".wasm"})
"""Kinds of files that get smaller; archives and images do not."""

SMALLEST = 1024
"""Bytes below which it is not worth it."""
LARGE = 1 << 20
"""Bytes from which unpacking takes a time that counts."""

COPIES = (".br", ".zst")
"""What is put behind a file's name."""


class Effort(NamedTuple):
    """How much is done to make a copy small: the levels of the two compressors."""

    brotli: int
    zstandard: int


ONCE = Effort(brotli=9, zstandard=19)
"""For what every visitor downloads. Brotli's 11 would save another eighth and take twenty times as long."""
QUICK = Effort(brotli=5, zstandard=16)
"""For what is made anew with each change: some seconds instead of half a minute, and a few hundredths larger."""

WINDOW = 23
"""Bits of the window: no browser takes more than 8 MiB (RFC 9659)."""


def possible() -> tuple[str, ...]:
    """The kinds of copies that can be made here: Zstandard needs a package."""
    return COPIES if importlib.util.find_spec("zstandard") is not None else COPIES[:1]


def compress(files: Iterable[Path], *, effort: Effort = ONCE, path: str | None = None) -> list[Path]:
    """Write `NAME.br` beside each file that is worth it, and `NAME.zst` beside the large ones; return those copies.

    `path` is where Node is looked for, which makes those in Brotli. Those in Zstandard need the package `zstandard`
    (part of `asyncmachine[relay]`), and are left out without it. Raises NodeFailed.
    """
    worth = sorted(file for file in files if file.suffix in ENDINGS and file.stat().st_size >= SMALLEST)
    if not worth:
        return []
    large = [file for file in worth if file.stat().st_size >= LARGE] if ".zst" in possible() else []
    with ThreadPoolExecutor() as pool:  # one thread waits for Node, the others leave Python while they compress
        brotli = pool.submit(run_node, "compress.mjs", str(effort.brotli), *worth, path=path)
        zstandard = list(pool.map(partial(_zstandard, level=effort.zstandard), large))
        brotli.result()
    return [file.with_name(f"{file.name}.br") for file in worth] + zstandard


def _zstandard(file: Path, level: int) -> Path:
    import zstandard

    settings = zstandard.ZstdCompressionParameters.from_level(level, window_log=WINDOW)
    copy, fresh = file.with_name(f"{file.name}.zst"), file.with_name(f"{file.name}.zst.new")
    fresh.write_bytes(zstandard.ZstdCompressor(compression_params=settings).compress(file.read_bytes()))
    return fresh.replace(copy)
