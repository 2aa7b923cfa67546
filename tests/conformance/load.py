"""From paths to lines of vectors.

Whatever ought to hold vectors and does not becomes a `Broken` entry, which counts as a failure: a run must not look
green because it looked at nothing.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

Json = dict[str, Any]

VECTOR_FILE = re.compile(r"\.jsonl(\.\w+)?$")
"""Files that a directory is searched for: `.jsonl`, and the same with a compressor's suffix."""


class VectorError(ValueError):
    """A vector asks for something this runner does not know, or lacks something it needs. Counts as a failure."""


@dataclass(frozen=True, slots=True)
class Line:
    """One vector. `place` says where it stands: `relations.jsonl:12`."""

    place: str
    data: Json


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that ought to be a vector, or to hold some, and does not."""

    place: str
    reason: str


def load(paths: Iterable[Path]) -> Iterator[Line | Broken]:
    """All lines below the paths, in the order of the names."""
    for path in paths:
        if not path.exists():
            yield Broken(str(path), "there is no such file or directory")
        elif path.is_dir():
            files = vector_files(path)
            if not files:
                yield Broken(str(path), "the directory holds no .jsonl file, compressed or not")
            for file in files:
                yield from read_lines(file, str(file.relative_to(path)))
        else:
            yield from read_lines(path, path.name)


def vector_files(directory: Path) -> list[Path]:
    """The vector files in the directory and below, sorted."""
    found = [Path(folder, name) for folder, _, names in os.walk(directory) for name in names]
    return sorted(file for file in found if VECTOR_FILE.search(file.name))


def read_lines(file: Path, name: str) -> Iterator[Line | Broken]:
    """The lines of one file; empty ones are passed over. A compressed file is known by its first bytes."""
    try:
        text = unpacked(file.read_bytes()).decode()
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        yield Broken(name, f"cannot be read: {error}")
        return
    numbered = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not numbered:
        yield Broken(name, "the file holds no lines")
    for number, line in numbered:
        yield parse_line(line, f"{name}:{number}")


def parse_line(text: str, place: str) -> Line | Broken:
    """One line of JSON, which has to be an object."""
    try:
        data = json.loads(text)
    except ValueError as error:
        return Broken(place, f"is not JSON: {error}")
    if not isinstance(data, dict):
        return Broken(place, f"is not a JSON object but {type(data).__name__}")
    return Line(place, data)


def need(data: Json, key: str, what: str) -> Any:
    """The value at the key. Raises `VectorError` when there is none."""
    if key not in data:
        raise VectorError(f"{what} lacks {key!r}")
    return data[key]


def unpacked(content: bytes) -> bytes:
    """The content itself, or what it was compressed from. Raises what the decompressor raises."""
    for magic, unpack in DECOMPRESSORS.items():
        if content.startswith(magic):
            return unpack(content)
    return content


def unpacked_zstd(content: bytes) -> bytes:
    """Zstandard came to the standard library with Python 3.14. Raises `ValueError` before that."""
    try:
        zstd = import_module("compression.zstd")
    except ImportError:
        raise ValueError("zstd needs Python 3.14; compress it with gzip, xz or bzip2 instead") from None
    return bytes(zstd.decompress(content))


DECOMPRESSORS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
    b"BZh": bz2.decompress,
    b"\x28\xb5\x2f\xfd": unpacked_zstd,
}
