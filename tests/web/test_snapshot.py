"""The file format of memory snapshots, and what builds them; whether Python runs in one is proved in a browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard

from asyncmachine_web.build import NodeFailed, compress, snapshot, static_folder
from asyncmachine_web.build.compress import ONCE, QUICK
from asyncmachine_web.build.node import run_node
from asyncmachine_web.build.snapshot import pack_memory
from tests.web.browser import vendor_folder

PREFACE = bytes([1, 2, 3, 4])
FACTS = {"runtime": "1", "wheels": ["w"], "archives": [], "files": [["/a/one", 3], ["/two", 2]]}
CONTENTS = b"onetw"

PRELUDE = """
import { readFileSync } from "node:fs";
const { NoSnapshot, begin, check, filesIn, fill, readHeader } = await import(process.argv[1]);
const [memory, made, bytes] = process.argv.slice(2).map((path) => new Uint8Array(readFileSync(path)));
const fails = async (act) => { try { await act(); return null } catch (error) { return error.code ?? String(error) } };
const restored = (from) => { const header = readHeader(from); const whole = begin(from, header);
  fill(whole, from, header, from_made); return whole };
let from_made = made;
const say = (value) => console.log(JSON.stringify(value));
"""


def memories() -> tuple[bytes, bytes]:
    """One that has run, and the one that it began as."""
    made = bytearray(16 * 1024)
    made[:3000] = b"\7" * 3000
    made[9000] = 8
    memory = bytearray(64 * 1024)
    memory[: len(made)] = made
    memory[1024:2048] = bytes(1024)
    memory[5000:5100] = b"\t" * 100
    memory[40_000:50_000] = b"\5" * 10_000
    return bytes(memory), bytes(made)


@pytest.fixture
def node(tmp_path: Path) -> Callable[[str], Any]:
    """Runs JavaScript that has a packed memory in `bytes`; what `say` was given."""
    memory, made = memories()
    parts = {"memory": memory, "made": made, "packed": pack_memory(PREFACE, memory, made, CONTENTS, facts=FACTS)}
    for name, data in parts.items():
        (tmp_path / name).write_bytes(data)
    given = [(static_folder() / "snapshot.mjs").as_uri(), *(str(tmp_path / name) for name in parts)]

    def run(code: str) -> Any:
        command = ["node", "--input-type=module", "--eval", PRELUDE + code, *given]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    return run


def test_what_is_packed_comes_back_and_only_differences_are_packed(node: Callable[[str], Any]) -> None:
    told = node(
        """
        await check(bytes);
        const whole = restored(bytes);
        const { size, runs, fresh } = readHeader(bytes);
        const same = whole.subarray(4).every((byte, at) => byte === memory[at]);
        say([same, [...whole.subarray(0, 4)], whole.length - 4 === size, size, fresh, runs, bytes.length < 14_000]);
        """
    )
    runs = [[1024, 1024], [4096, 1024], [39936, 10240]]
    assert told == [True, [1, 2, 3, 4], True, 50176, 9216, runs, True]


def test_every_changed_or_missing_byte_is_seen(node: Callable[[str], Any]) -> None:
    told = node(
        """
        const seen = new Set();
        for (let at = 0; at < bytes.length; at += 97) {
          const changed = bytes.slice();
          changed[at] ^= 1;
          seen.add(await fails(() => check(changed)));
        }
        for (const length of [0, 7, 40, 44, 100, bytes.length - 1]) {
          seen.add(await fails(() => check(bytes.slice(0, length))));
        }
        say([...seen]);
        """
    )
    assert told == ["DAMAGED"]


def test_another_runtime_is_refused(node: Callable[[str], Any]) -> None:
    told = node("from_made = made.slice(); from_made[2999] = 6; say(await fails(() => restored(bytes)));")
    assert told == "UNFIT"


def test_without_a_hash_function_there_is_none(node: Callable[[str], Any]) -> None:
    told = node(
        """
        Object.defineProperty(globalThis, "crypto", { value: {} });
        say(await fails(() => check(bytes)));
        """
    )
    assert told == "INSECURE"


def test_the_facts_are_in_the_header(node: Callable[[str], Any]) -> None:
    told = node(
        "const { runtime, wheels, archives, preface } = readHeader(bytes); say([runtime, wheels, archives, preface])"
    )
    assert told == ["1", ["w"], [], 4]


def test_files_come_after_the_memory(node: Callable[[str], Any]) -> None:
    told = node(
        "say(filesIn(bytes, readHeader(bytes)).map(([path, found]) => [path, new TextDecoder().decode(found)]));"
    )
    assert told == [["/a/one", "one"], ["/two", "tw"]]


def test_a_snapshot_needs_what_it_is_made_of(tmp_path: Path) -> None:
    with pytest.raises(NodeFailed, match=r"snapshot\.mjs failed \(exit 1\)"):
        snapshot(tmp_path)
    assert not list((tmp_path / "vendor" / "snapshot").iterdir())


def test_node_is_named_when_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NodeFailed, match="Node 20 or newer"):
        run_node("compress.mjs", path=str(tmp_path))


def test_copies_are_made_of_what_is_worth_it(tmp_path: Path) -> None:
    for name in ("page.html", "small.js", "image.png", "archive.zip"):
        (tmp_path / name).write_bytes(b"a" * (10 if name.startswith("small") else 5000))
    (made,) = compress(tmp_path.iterdir())
    assert made.name == "page.html.br"
    assert brotli.decompress(made.read_bytes()) == b"a" * 5000
    assert len(list(tmp_path.iterdir())) == 5


def test_what_is_large_has_a_copy_that_is_unpacked_sooner(tmp_path: Path) -> None:
    names = ("memory.snapshot", "other.snapshot")
    large = {tmp_path / name: os.urandom(1000) * 20_000 for name in names}
    for path, content in large.items():
        path.write_bytes(content)
    made = {path.name: path.read_bytes() for path in compress(large)}
    assert list(made) == [f"{name}{ending}" for ending in (".br", ".zst") for name in names]
    for path, content in large.items():
        assert brotli.decompress(made[f"{path.name}.br"]) == content
        copy = made[f"{path.name}.zst"]
        assert zstandard.decompress(copy) == content
        assert zstandard.get_frame_parameters(copy).window_size <= 8 << 20  # what a browser takes
    assert {path.name for path in tmp_path.iterdir()} == {*names, *made}


def test_without_that_compressor_there_is_one_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    (tmp_path / "memory.snapshot").write_bytes(bytes(2 << 20))
    assert [path.name for path in compress(tmp_path.iterdir())] == ["memory.snapshot.br"]


def test_a_first_visit_of_a_bare_page_downloads_less_than_8_and_a_half_megabytes() -> None:
    """Of the copies of setup, the snapshot's a quick one; the small files for a page count as they are."""
    vendor = vendor_folder()
    large = ("pyodide/pyodide.asm.wasm.zst", "pyodide/pyodide.asm.mjs.zst", "snapshot/python.snapshot.zst")
    small = [*static_folder().glob("*.mjs"), vendor / "pyodide/pyodide.mjs", vendor / "wheels/pyodide-lock.json"]
    files = [*(vendor / name for name in large), *small]
    assert sum(file.stat().st_size for file in files) < 8_500_000


def test_what_is_made_once_is_smaller_than_what_is_made_with_each_change(tmp_path: Path) -> None:
    source = vendor_folder() / "pyodide" / "pyodide.asm.mjs"
    sizes: dict[str, list[int]] = {}
    for name, effort in (("once", ONCE), ("quick", QUICK)):
        file = tmp_path / f"{name}.mjs"
        file.write_bytes(source.read_bytes())
        sizes[name] = [copy.stat().st_size for copy in compress([file], effort=effort)]
    assert len(sizes["once"]) == 2
    assert all(once < quick for once, quick in zip(sizes["once"], sizes["quick"], strict=True))
