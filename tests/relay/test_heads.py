"""Heads that a proxy in front may read otherwise than the relay: refused, with all that stands behind them."""

from __future__ import annotations

import json

import pytest

from asyncmachine_relay import Limits
from tests.relay.support import Running, raw, running, upgrade

WISH = json.dumps({"op": "dial", "id": "browser1", "target": "orchestrator"}).encode()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(WISH), WISH)
LENGTH, CHUNKS = b"Content-Length: %d\r\n", b"Transfer-Encoding: chunked\r\n"


def head(run: Running, *lines: bytes, line: bytes = b"POST /token HTTP/1.1") -> bytes:
    return (
        line + b"\r\nContent-Type: application/json\r\nHost: " + run.host.encode() + b"\r\n" + b"".join(lines) + b"\r\n"
    )


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    "lines",
    [(LENGTH % 5, CHUNKS), (CHUNKS, LENGTH % len(CHUNKED)), (CHUNKS.lower(), LENGTH.upper().replace(b"%D", b"0"))],
    ids=["length first", "chunks first", "other letters"],
)
async def test_a_request_with_two_lengths_is_refused_and_nothing_behind_it_is_answered(
    lines: tuple[bytes, ...],
) -> None:
    async with running() as run:
        behind = head(run, line=b"GET /healthz HTTP/1.1")
        assert statuses(await raw(run, head(run, *lines) + CHUNKED + behind)) == [400]
        assert statuses(await raw(run, behind, head(run, *lines) + CHUNKED + behind)) == [200, 400]


async def test_either_length_alone_is_taken() -> None:
    async with running() as run:
        last = head(run, b"Connection: close\r\n", line=b"GET /healthz HTTP/1.1")
        for request in (head(run, LENGTH % len(WISH)) + WISH, head(run, CHUNKS) + CHUNKED):
            assert statuses(await raw(run, request + last)) == [200, 200]


async def test_an_upgrade_with_two_lengths_is_refused_whole_and_in_pieces() -> None:
    async with running() as run:
        request = upgrade(
            run, "/dial/browser1/orchestrator", headers=[("content-length", "0"), ("transfer-encoding", "chunked")]
        )
        behind = b"0\r\n\r\n" + head(run, line=b"GET /healthz HTTP/1.1")
        for pieces in ([request + behind], [request, behind], [request[:20], request[20:] + behind]):
            assert statuses(await raw(run, *pieces)) == [400]


async def test_a_head_is_bounded_by_its_limit() -> None:
    async with running(limits=Limits(head=1000)) as run:
        for size, status in ((100, 200), (1000, 400)):
            # Without its end, so that nothing but the size can be told of it.
            request = head(run, b"x: " + size * b"x", line=b"GET /healthz HTTP/1.1")
            last = (b"\r\nConnection: close\r\n\r\n",) if status == 200 else ()
            assert statuses(await raw(run, request[:-2], *last)) == [status]


async def test_a_head_that_comes_at_once_is_bounded_too() -> None:
    async with running(limits=Limits(head=1000)) as run:
        close = b"Connection: close\r\n"
        for size, status in ((500, 200), (1000, 400)):
            lines = (close, b"x: " + size * b"x" + b"\r\n")
            assert statuses(await raw(run, head(run, *lines, line=b"GET /healthz HTTP/1.1"))) == [status]
            target = b"GET /healthz?" + size * b"x" + b" HTTP/1.1"
            assert statuses(await raw(run, head(run, close, line=target))) == [status]
