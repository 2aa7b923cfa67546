"""What the loop of `bench.rpc` costs on the wire, with the transport's headers: its bytes and calls, as promised."""

from __future__ import annotations

import asyncio
import random

import pytest

from bench import rpc as bench
from bench.loops import amrpc
from bench.loops.meter import metered

BEFORE, OPERATIONS = 300, 200
"""Behind the first 256, the numbers of calls and clocks have the size that they keep up to 65,535."""


async def costs(address: str, scheme: str) -> tuple[tuple[int, ...], int, int]:
    """Messages sent and received by the client, and bytes both ways."""
    async with (
        amrpc.serving(address) as port,
        metered(port) as meter,
        amrpc.driving(meter.port, scheme) as drive,
    ):
        await drive(BEFORE)
        meter.take()
        before = amrpc.calls_of(drive)
        await drive(OPERATIONS)
        messages = tuple(now - then for now, then in zip(amrpc.calls_of(drive), before, strict=True))
        return messages, meter.sent, meter.received


@pytest.mark.parametrize(
    ("address", "scheme", "headers"),
    [("tcp://127.0.0.1:0", "tcp", (4, 4)), ("ws://127.0.0.1:0/", "ws", (6, 2))],  # a client's frame has a mask of 4
    ids=["tcp", "websocket"],
)
def test_an_operation_of_the_loop_is_one_call_and_at_most_48_bytes(
    address: str, scheme: str, headers: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amrpc, "random", random.Random(7))
    # Not in debug mode, which takes ten times as long.
    messages, sent, received = asyncio.run(costs(address, scheme), debug=False)
    # As many are received: nothing is pushed beside the answers.
    assert messages == (OPERATIONS, OPERATIONS)
    assert (sent, received) == (OPERATIONS * (12 + headers[0]), 4784 + OPERATIONS * headers[1])
    assert (sent + received) / OPERATIONS == 43.92 <= 48


async def test_the_handshake_of_a_known_schema_takes_at_most_250_bytes() -> None:
    # The three messages, as tests/rpc/test_bytes.py has them, each behind four bytes with its length.
    assert await bench.handshake() == 67 + 97 + 19 + 3 * 4 <= 250
