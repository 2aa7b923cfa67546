"""Vector files: compressed or not, in directories; whatever should hold vectors and does not is a failure."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.load import Broken, Line, load
from tests.conformance_sample import written


def reasons(*paths: Path) -> list[str]:
    return [entry.reason for entry in load(paths) if isinstance(entry, Broken)]


@pytest.mark.parametrize(
    ("suffix", "pack"), [("", None), (".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)]
)
def test_files_are_read_compressed_or_not(tmp_path: Path, suffix: str, pack: Any) -> None:
    file = written(tmp_path / f"v.jsonl{suffix}", {"id": "1"}, {"id": "2"}, pack=pack)
    assert list(load([file])) == list(load([tmp_path]))
    assert list(load([file])) == [Line(f"v.jsonl{suffix}:1", {"id": "1"}), Line(f"v.jsonl{suffix}:2", {"id": "2"})]


def test_directories_are_searched_to_the_bottom_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    written(tmp_path / "b" / "deep" / "x.jsonl.gz", {"id": "2"}, pack=gzip.compress)
    written(tmp_path / "a.jsonl", {"id": "1"})
    (tmp_path / "README.md").write_text("no vectors")
    assert [(e.place, e.data) for e in load([tmp_path]) if isinstance(e, Line)] == [
        ("a.jsonl:1", {"id": "1"}),
        ("b/deep/x.jsonl.gz:1", {"id": "2"}),
    ]


def test_line_separators_inside_of_texts_do_not_split_lines(tmp_path: Path) -> None:
    file = tmp_path / "v.jsonl"
    file.write_text('{"err": "a\u2028b\u0085c"}\r\n\n', encoding="utf-8", newline="")
    assert [e.data for e in load([file]) if isinstance(e, Line)] == [{"err": "a\u2028b\u0085c"}]


def test_places_without_vectors_are_failures(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "notes.txt").write_text("none here")
    assert reasons(tmp_path / "missing") == ["there is no such file or directory"]
    assert reasons(tmp_path / "sub") == ["the directory holds no .jsonl file, compressed or not"]
    assert reasons(tmp_path / "empty.jsonl") == ["the file holds no lines"]


def test_broken_files_and_lines_are_failures_and_the_rest_is_run(tmp_path: Path) -> None:
    written(tmp_path / "cut.jsonl.xz", {"id": "1"}, pack=lambda content: lzma.compress(content)[:-20])
    written(tmp_path / "bad.jsonl.gz", {"id": "1"}, pack=lambda content: gzip.compress(content)[:-9] + b"123456789")
    (tmp_path / "lines.jsonl").write_bytes(b'{"id": "1"}\n{"id": \n[1]\n')
    (tmp_path / "text.jsonl").write_bytes(b"\xff\xfe")
    entries = list(load([tmp_path]))
    broken = {entry.place: entry.reason for entry in entries if isinstance(entry, Broken)}
    assert sorted(broken) == ["bad.jsonl.gz", "cut.jsonl.xz", "lines.jsonl:2", "lines.jsonl:3", "text.jsonl"]
    assert all("cannot be read" in broken[name] for name in ("bad.jsonl.gz", "cut.jsonl.xz", "text.jsonl"))
    assert broken["lines.jsonl:3"] == "is not a JSON object but list"
    assert [entry.place for entry in entries if isinstance(entry, Line)] == ["lines.jsonl:1"]


def test_zstandard_is_read_where_python_has_it_and_refused_with_the_cure_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "v.jsonl.zst"
    # A frame with one raw block: magic, single segment of 10 bytes, block header (last, raw, size 10), content.
    file.write_bytes(b"\x28\xb5\x2f\xfd\x20\x0a\x51\x00\x00" + b'{"id":"1"}')
    if sys.version_info >= (3, 14):
        assert list(load([file])) == [Line("v.jsonl.zst:1", {"id": "1"})]
    else:
        assert reasons(file) == ["cannot be read: zstd needs Python 3.14; compress it with gzip, xz or bzip2 instead"]
