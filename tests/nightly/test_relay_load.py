"""The relay for a long time: opens and closes of every kind, which leave nothing, and damaged requests."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from asyncmachine_relay import Limits
from tests.relay.support import Running, http, opened, raw, running, token, upgrade
from tests.relay.tcp_support import dialling, echo_bytes
from tests.rounds import Rounds

ROOMY = Limits(
    tunnels=5000,
    tunnels_per_peer=5000,
    sockets=5000,
    sockets_per_peer=5000,
    opens_per_second=10**6,
    opens_burst=10**6,
    idle=3600,
    hello=3600,
    leave=0.05,
)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (names are enough)


async def settled(run: Running) -> None:
    """Until no tunnel and no connection is left."""
    await run.relay.tunnels.emptied()
    assert run.server._server is not None
    while len(run.server._server.config.sockets):  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)


async def work(page: ClientConnection, messages: int, size: int) -> None:
    for number in range(messages):
        await page.send(number.to_bytes(4, "big") + bytes(size))
        got = 0
        while got < size + 4:
            got += len(await page.recv())


@pytest.mark.nightly
async def test_opens_and_closes_of_every_kind_leave_no_descriptor(rounds: Rounds) -> None:
    async with dialling(echo_bytes, limits=ROOMY) as run:
        async with opened(run, "warm", target="backend"):
            pass
        await settled(run)
        before = descriptors()
        for seed in rounds:
            draw = Random(seed)
            await asyncio.gather(*(one(run, draw.randrange(5), f"page{number}") for number in range(50)))
        await settled(run)
        while descriptors() > before + 2:  # the last ends are still on their way
            await asyncio.sleep(0.01)
        assert len(run.relay.tunnels) == 0


async def one(run: Running, how: int, id: str) -> None:
    if how == 0:  # a token that is never used
        await token(run, id, target="backend")
    elif how == 1:  # closed in order
        async with opened(run, id, target="backend") as page:
            await work(page, 1, 100)
    elif how == 2:  # torn
        async with opened(run, id, target="backend") as page:
            await page.send(b"x")
            page.transport.abort()
    elif how == 3:  # refused
        with suppress(websockets.ConnectionClosed):
            async with opened(run, id, target="nowhere", using="x") as page:
                await page.recv()
    else:  # left before the answer
        _, writer = await asyncio.open_connection("127.0.0.1", run.port)
        writer.write(upgrade(run, f"/dial/{id}/backend", await token(run, id, target="backend")))
        writer.close()


@asynccontextmanager
async def small() -> AsyncIterator[Running]:
    async with running(limits=ROOMY) as run:
        yield run


WISH = {"op": "dial", "id": "browser1", "target": "orchestrator"}


def wanted(run: Running, wishes: object) -> bytes:
    """The bytes of a token request."""
    body = json.dumps(wishes).encode()
    head = f"POST /token HTTP/1.1\r\nhost: {run.host}\r\norigin: {run.origin}\r\nconnection: close\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.nightly
async def test_damaged_requests_are_answered_or_dropped(rounds: Rounds) -> None:
    async with small() as run:
        for seed in rounds:
            draw = Random(seed)
            using = await token(run)
            whole = draw.choice(
                [
                    upgrade(run, "/dial/browser1/orchestrator", using),
                    f"POST /token HTTP/1.1\r\nhost: {run.host}\r\ncontent-length: 3\r\n\r\n{{}} ".encode(),
                    wanted(run, WISH),
                    wanted(run, [WISH, {**WISH, "id": "browser2"}]),
                    f"GET /x HTTP/1.1\r\nhost: {run.host}\r\nrange: bytes=0-1\r\n\r\n".encode(),
                ]
            )
            data = bytearray(whole)
            for _ in range(draw.randint(1, 6)):
                at = draw.randrange(len(data) + 1)
                match draw.randrange(3):
                    case 0:
                        data[at : at + 1] = draw.randbytes(1)
                    case 1:
                        del data[at : at + draw.randint(1, 8)]
                    case _:
                        data[at:at] = draw.randbytes(draw.randint(1, 8))
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):  # a request that is not complete yet
                    answer = await raw(run, bytes(data))
                    assert answer == b"" or answer.startswith((b"HTTP/1.1", b"\x88")), (seed, answer)
            assert (await http(run, "/healthz")).status == 200, seed
