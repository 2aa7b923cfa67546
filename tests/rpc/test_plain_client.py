"""A client that was written from docs/protocol.md alone gets along with a server of ours."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.timing import Timing
from scripts.protocol_page import PAGE
from tests.rpc import plain_client
from tests.rpc.golden import GOLDEN
from tests.rpc.golden_bytes import CLOCKS, SCHEMAS
from tests.rpc.plain_client import Definitions, PlainClient, connected, key, pack, schema_hash, unpack


class Kettle(rpc.StateSource):
    Water = am.state()
    Hot = am.state(require=Water)
    Boiling = am.state(require=(Hot, Water), multi=True, tags=["à 100 °C"])
    Empty = am.state(remove=(Water, "Empty"))


KETTLE: Definitions = {
    "Exception": {"multi": True},
    "ErrOnClient": {"require": ["Exception"]},
    "Water": {},
    "Hot": {"require": ["Water"]},
    "Boiling": {"require": ["Hot", "Water"], "multi": True, "tags": ["à 100 °C"]},
    "Empty": {"remove": ["Water"]},
}
"""The same, as it is hashed."""


@asynccontextmanager
async def serving(source: am.Machine[Kettle], silence: float = 15.0) -> AsyncIterator[tuple[rpc.Mux, int]]:
    mux = rpc.Mux(source, "tcp://127.0.0.1:0", push_interval=0.001, timing=Timing(silence=silence))
    mux.start()
    await mux.when_ready()
    yield mux, int(mux.address.rpartition(":")[2])
    await mux.stop()
    mux.machine.dispose()


async def called(client: PlainClient, state: str, **args: object) -> int:
    number = client.add(state, **args)
    await client.until(lambda: number in client.results)
    return client.results[number]


def test_it_has_only_the_standard_library() -> None:
    tree = ast.parse(Path(plain_client.__file__).read_text())
    roots = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    roots |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {root.partition(".")[0] for root in roots} <= sys.stdlib_module_names


async def test_it_knows_the_schema_by_its_hash_and_adds_states() -> None:
    source = am.Machine(Kettle)
    seen: list[object] = []
    source.bind({"WaterState": lambda e: seen.append(e.raw_args["litres"])})
    async with serving(source) as (_, port), connected(port, KETTLE) as client:
        assert client.names is None
        assert await called(client, "Hot") == 1  # canceled: there is no water
        assert await called(client, "Water", litres=1.5) == 0
        assert await called(client, "Hot") == 0
        assert client.active() == ["Water", "Hot"]
    assert seen == [1.5]


async def test_a_client_of_another_schema_is_told_the_names() -> None:
    source = am.Machine(Kettle)
    async with serving(source) as (_, port), connected(port, {"Exception": {"multi": True}}) as client:
        assert client.names == list(KETTLE)
        assert await called(client, "Empty") == 0
        assert client.active() == ["Empty"]


async def test_it_follows_the_clock_answers_pings_and_reads_the_goodbye() -> None:
    source = am.Machine(Kettle)
    async with serving(source, silence=0.02) as (mux, port), connected(port, KETTLE) as client:
        source.add(Kettle.Water)
        source.add(Kettle.Hot)
        await client.until(lambda: client.active() == ["Water", "Hot"])
        for _ in range(3):
            source.add(Kettle.Boiling)
        await client.until(lambda: client.clock[client.order.index("Boiling")] == 5)
        await client.until(lambda: client.pings == 3)
        assert client.clock[:-2] == list(source.time())
        await asyncio.gather(mux.stop(), client.until(lambda: False))
        assert client.end == (1001, "")


# What the document says beside that, by the client's own means


def test_it_hashes_as_the_document_does() -> None:
    told = re.findall(r"^hashed  (.*)\nhash    (\w+)$", PAGE.read_text(), re.MULTILINE)
    assert [schema_hash(dict(json.loads(text))).hex() for text, _ in told] == [found for _, found in told]
    assert len(told) == len(SCHEMAS)


def test_it_seals_as_the_document_does() -> None:
    told = re.findall(
        r"^\| ([\d, ]+) \| (\d+) \| (\d+) \| `(\w{8})` \| (\d+) \| `(\w{8})` \|$", PAGE.read_text(), re.MULTILINE
    )
    for ticks, queue, machine, found, seq, seal in told:
        total = sum(int(tick) * key(number) for number, tick in enumerate(ticks.split(",")))
        total += int(queue) * 0x85EBCA6B + int(machine) * 0xC2B2AE35
        assert (f"{total % 2**32:08x}", f"{(total + int(seq) * 0x27D4EB2F) % 2**32:08x}") == (found, seal)
    assert len(told) == len(CLOCKS)


def test_it_reads_every_frame_of_the_document() -> None:
    told = re.findall(r"^\| `(\w+)` \| `\w+\(", PAGE.read_text(), re.MULTILINE)
    for frame in told:
        stream = io.BytesIO(bytes.fromhex(frame))
        read = unpack(stream)
        assert stream.read() == b""
        assert unpack(io.BytesIO(pack(read))) == read
    assert len(told) == len(GOLDEN)
