"""Large frames of aRPC packed by zlib and, where it is installed, by Zstandard: `python -m bench.packing`.

Why the protocol has zlib alone (docs/protocol.md, Features) rests on these. Zstandard comes with Python 3.14, or as
`backports.zstd`; without either its figures are missing.
"""

from __future__ import annotations

import random
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from asyncmachine import Machine
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import encode
from asyncmachine.rpc.compression import LEVEL
from bench.report import Row, main, row

STATES = 1000
TIMES = 300
WORDS = ("Start", "Ready", "Flight", "Gate", "Order", "Door", "Oven", "Payment", "Worker", "Queue", "Task", "Error")

Pack = Callable[[bytes], bytes]


def rows() -> Iterator[Row]:
    """Bytes and microseconds of each frame, and those of reading it."""
    packs, reads = packers()
    ours = f"zlib {LEVEL}"
    for name, frame in frames().items():
        sizes = {each: float(len(pack(frame))) for each, pack in packs.items()}
        yield row(f"{name}, {len(frame):,} bytes", "bytes", sizes.pop(ours), peers=sizes)
        times = {each: best(pack, frame) for each, pack in packs.items()}
        yield row(f"{name}, to pack", "µs", times.pop(ours), peers=times)
        times = {each: best(reads[each.partition(" ")[0]], pack(frame)) for each, pack in packs.items()}
        yield row(f"{name}, to read", "µs", times.pop(ours), peers=times)


def frames() -> dict[str, bytes]:
    """What is large of a source of 1,000 states with names of two words, half of them with relations."""
    draw = random.Random(1)
    names = [f"{draw.choice(WORDS)}{draw.choice(WORDS)}{number}" for number in range(STATES)]
    states: dict[str, Any] = {}
    for name in names:
        states[name] = {}
        if draw.random() < 0.5:
            states[name]["require"] = draw.sample(names[:200], 1)
        if draw.random() < 0.4:
            states[name]["remove"] = draw.sample(names, 3)
    schema = Machine(states).schema
    told, digest = tuple(schema.names), bytes.fromhex(schema.hash)
    ticks = tuple(draw.choice((0, 0, 1, 2, 3, draw.randrange(500))) for _ in told)

    def welcome(names: tuple[str, ...] | None, definitions: dict[str, Any] | None) -> bytes:
        return encode(
            m.Welcome(1, b"session1", 1, 0, ("zlib",), None, "source", names, definitions, digest, ticks, 12345, 0)
        )

    return {
        "WELCOME with names and schema": welcome(told, schema.to_dict()),
        "WELCOME with names": welcome(told, None),
        "WELCOME of a known schema": welcome(None, None),
        "FULL": encode(m.Full(7, 4, ticks, 12345, 0, 2**31)),
    }


def packers() -> tuple[dict[str, Pack], dict[str, Pack]]:
    """By name and level, and what reads their frames by name."""
    packs = {f"zlib {level}": packer(zlib, level) for level in (LEVEL, 6)}
    reads: dict[str, Pack] = {"zlib": zlib.decompress}
    for module in ("compression.zstd", "backports.zstd"):
        try:
            zstd: Any = import_module(module)
        except ImportError:
            continue
        packs |= {f"zstd {level}": packer(zstd, level) for level in (1, 3)}
        reads["zstd"] = zstd.decompress
        break
    return packs, reads


def packer(module: Any, level: int) -> Pack:
    """What packs by a module at a level."""
    return lambda frame: bytes(module.compress(frame, level))


def best(pack: Pack, frame: bytes) -> float:
    """Microseconds, the least of many: what else runs only adds to them."""
    found = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        pack(frame)
        found.append(time.perf_counter() - begun)
    return min(found) * 1e6


if __name__ == "__main__":
    sys.exit(main("packing", rows))
