"""What values from the wire take in memory is counted, so that a limit of it holds."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

import asyncmachine as am
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.errors import Code
from asyncmachine.rpc.watching import LIMIT, MEMORY
from asyncmachine.rpc.weighing import weight_of
from tests.rpc.test_server import served

NO_LIMIT = 1 << 40
OTHERS = 1000
"""Bytes that other threads of the process, which tests before have left, may take meanwhile."""

pytestmark = pytest.mark.skipif(tracemalloc.is_tracing(), reason="somebody else counts already")


def grown(make: Callable[[], object]) -> tuple[object, int]:
    """What a function makes, and the bytes that it has left in memory."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = make()
        gc.collect()
        return made, tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


VALUES: dict[str, Any] = {
    "lists of nothing": [[] for _ in range(5000)],
    "maps of nothing": [{} for _ in range(5000)],
    "nested lists": [[[[1.5]]] for _ in range(2000)],
    "maps of numbers": {n * 1000: float(n) for n in range(5000)},
    "small maps": [{"a": n, "b": None} for n in range(3000)],
    "large numbers": [2**63 + n for n in range(5000)],
    "short texts": [f"text {n}" for n in range(5000)],
    "a text of which one letter needs much room": "x" * 50_000 + "🍵",
    "bytes": [bytes([n % 256]) * 20 for n in range(3000)],
}


@pytest.mark.parametrize("name", VALUES)
def test_a_decoded_value_takes_no_more_than_is_counted_and_not_much_less(name: str) -> None:
    packed = msgspec.msgpack.encode(VALUES[name])
    value, taken = grown(lambda: msgspec.msgpack.decode(packed))
    assert taken - OTHERS <= weight_of(value, NO_LIMIT) <= 2 * taken + 1000


@dataclass(frozen=True)
class Held(am.Args, state="Hold", prefix="weighing"):
    rows: tuple[list[int], ...]


class Row(msgspec.Struct):
    cells: list[float]


def test_what_records_hold_is_counted() -> None:
    record, taken = grown(lambda: Held(tuple([] for _ in range(2000))))
    assert taken <= weight_of({"weighing__Hold": record}, NO_LIMIT) <= 2 * taken + 1000
    row, taken = grown(lambda: Row([float(n) for n in range(2000)]))
    assert taken <= weight_of(row, NO_LIMIT) <= 2 * taken + 1000


def test_beyond_the_limit_it_is_not_counted_on() -> None:
    assert 1000 < weight_of([[]] * 1_000_000, 1000) < 9_000_000


async def waits_of_nothing() -> tuple[int, int, int]:
    """A client waits for lists of nothing until it may no more: waits, what is counted, and bytes taken."""
    async with served() as on:
        client = on.client()
        welcome: m.Message = await client.handshake()
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            (found,) = on.server._clients
            token, answers = 0, [welcome]
            for token in range(1, LIMIT):
                await client.say(m.WhenArgs(token, 0, {"x": [[] for _ in range(20_000)]}), m.SyncRequest(token))
                answers = [await client.hear()]
                if isinstance(answers[0], m.WhenFired):
                    assert (answers[0].code, found.watched.size < 1 << 20) == (Code.RATE, True)
                    await client.hear()
                    break
            answers.clear()
            gc.collect()
            return token - 1, found.watched.weight, tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()


def test_waits_for_lists_of_nothing_take_no_more_than_what_is_counted() -> None:
    count, counted, taken = asyncio.run(waits_of_nothing(), debug=False)
    assert 5 < count < 20
    assert taken <= counted <= MEMORY
