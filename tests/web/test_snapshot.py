"""The file format of memory snapshots, and what builds them; whether Python runs in one is proved in a browser."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest

from asyncmachine_web.build import NodeFailed, compress, snapshot, static_folder
from asyncmachine_web.build.node import run_node

PRELUDE = """
const { NoSnapshot, begin, check, fill, pack, readHeader } = await import(process.argv[1]);
const facts = { runtime: "1", wheels: ["w"], archives: [] };
const made = new Uint8Array(16 * 1024); made.fill(7, 0, 3000); made.fill(8, 9000, 9001);
const memory = new Uint8Array(64 * 1024); memory.set(made); memory.fill(0, 1024, 2048);
memory.fill(9, 5000, 5100); memory.fill(5, 40_000, 50_000);
const preface = new Uint8Array([1, 2, 3, 4]);
const bytes = await pack(preface, memory, made, facts);
const fails = async (act) => { try { await act(); return null } catch (error) { return error.code ?? String(error) } };
const restored = (from) => { const header = readHeader(from); const whole = begin(from, header);
  fill(whole, from, header, from_made); return whole };
let from_made = made;
const say = (value) => console.log(JSON.stringify(value));
"""


def node(code: str) -> Any:
    """What `say` was given."""
    command = ["node", "--input-type=module", "--eval", PRELUDE + code, (static_folder() / "snapshot.mjs").as_uri()]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_what_is_packed_comes_back_and_only_differences_are_packed() -> None:
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


def test_every_changed_or_missing_byte_is_seen() -> None:
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


def test_another_runtime_is_refused() -> None:
    told = node("from_made = made.slice(); from_made[2999] = 6; say(await fails(() => restored(bytes)));")
    assert told == "UNFIT"


def test_without_a_hash_function_there_is_none() -> None:
    told = node(
        """
        Object.defineProperty(globalThis, "crypto", { value: {} });
        say(await fails(() => check(bytes)));
        """
    )
    assert told == "INSECURE"


def test_a_snapshot_needs_what_it_is_made_of(tmp_path: Path) -> None:
    with pytest.raises(NodeFailed, match=r"snapshot\.mjs failed \(exit 1\)"):
        snapshot(tmp_path)
    assert not (tmp_path / "vendor" / "snapshot" / "python.snapshot").exists()


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
