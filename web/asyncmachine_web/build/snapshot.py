"""The memory snapshot with which a page's Python starts several times faster."""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asyncmachine_web.build.node import run_node

SNAPSHOT = "python.snapshot"
MAGIC = b"amsnap1\n"
PAGE = 1024
"""Bytes: what differs is looked for in pieces of this size."""


def snapshot(static: Path, *, path: str | None = None) -> Path:
    """Make `vendor/snapshot/python.snapshot` in a folder of static files, from what else is in its `vendor/`.

    It fits these alone: a page that finds another release, or another wheel in the lock, starts without it.
    `path` is where Node is looked for. Raises NodeFailed. The file is complete or as it was before.
    """
    target = static / "vendor" / "snapshot" / SNAPSHOT
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as folder:
        made = Path(folder)
        run_node("snapshot.mjs", static.resolve(), made.resolve(), path=path)
        parts = [(made / name).read_bytes() for name in ("preface", "memory", "made", "contents")]
        draft = made / SNAPSHOT
        draft.write_bytes(pack_memory(*parts, facts=json.loads((made / "facts").read_text())))
        return draft.replace(target)


def pack_memory(
    preface: bytes, memory: bytes, made: bytes, contents: bytes = b"", *, facts: Mapping[str, Any]
) -> bytes:
    """A file of the format that `static/snapshot.mjs` describes and reads.

    `preface` is what Pyodide puts before the memory, `made` the memory of a runtime that was only just made; `facts`
    say with what all of it was made, and which files are one after the other in `contents`.
    """
    runs = differences(memory, made)
    fresh = sum(differences(made, b"")[-1])
    layout = {
        "preface": len(preface),
        "fresh": fresh,
        "sum": checksum(made[:fresh]),
        "size": sum(runs[-1]),
        "runs": runs,
    }
    header = json.dumps({**facts, **layout}, separators=(",", ":")).encode()
    differing = (memory[at : at + length] for at, length in runs)
    hashed = b"".join([struct.pack("<I", len(header)), header, preface, *differing, contents])
    return MAGIC + hashlib.sha256(hashed).digest() + hashed


def differences(memory: bytes, other: bytes) -> list[tuple[int, int]]:
    """Where they differ and for how long, in whole pages and in order; `other` is taken for zero where it ends."""
    runs: list[tuple[int, int]] = []
    for at in range(0, len(memory), PAGE):
        if memory[at : at + PAGE] == other[at : at + PAGE].ljust(PAGE, b"\0"):
            continue
        begin, length = runs[-1] if runs else (0, -1)
        if begin + length == at:
            runs[-1] = (begin, length + PAGE)
        else:
            runs.append((at, PAGE))
    return runs


def checksum(memory: bytes) -> int:
    """A signed word, as JavaScript calculates it."""
    total = 0
    for (word,) in struct.iter_unpack("<I", memory):
        total = (total * 31 + word) & 0xFFFFFFFF
    return total - (1 << 32) if total >> 31 else total
