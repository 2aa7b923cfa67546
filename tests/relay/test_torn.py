"""Pages that vanish with a reset, at every stage: counted and told in one line, and nobody writes a stack out."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asyncmachine_relay import Limits, Meeting, Op, Reason
from tests.relay.support import BINARY, RawSocket, Running, http, running, token, upgrade
from tests.relay.tcp_support import Calls, Serving, dialling, echo_bytes, listener

RESET = struct.pack("ii", 1, 0)


def tear(writer: asyncio.StreamWriter) -> None:
    """Resets the connection: no close frame, no end of the stream, and what was sent may be lost."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


@pytest.fixture
def formatted(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """The errors whose stacks somebody wrote out."""
    found: list[BaseException] = []
    init = traceback.TracebackException.__init__

    def noted(self: Any, kind: Any, error: Any, stack: Any, *args: Any, **more: Any) -> None:
        if stack is not None:
            found.append(error)
        init(self, kind, error, stack, *args, **more)

    monkeypatch.setattr(traceback.TracebackException, "__init__", noted)
    return found


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged with a stack, by whatever library."""
    caplog.set_level(logging.INFO)  # below that a loop in debug mode tells of each reset
    return lambda: [record.getMessage() for record in caplog.records if record.exc_info]


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(bytes(65536))
        await writer.drain()


async def emptied(run: Running) -> None:
    await run.relay.tunnels.emptied()
    while run.relay.tunnels._ending:
        await asyncio.sleep(0)


@asynccontextmanager
async def paged(serve: Serving = echo_bytes, **more: Any) -> AsyncIterator[tuple[Running, RawSocket]]:
    async with (
        dialling(serve, limits=Limits(leave=0.5), **more) as run,
        RawSocket.opened(run, target="backend") as page,
    ):
        yield run, page


async def test_in_silence(
    formatted: list[BaseException], records: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    async with paged() as (run, page):
        page.send(BINARY, b"x")
        await page.frame()
        tear(page.writer)
        await emptied(run)
        assert run.relay.counts.torn == {Op.DIAL: 1}
        assert b'am_relay_tunnels_torn_total{op="dial"} 1.0' in (await http(run, "/metrics")).body
    assert [record.getMessage() for record in caplog.records if getattr(record, "event", "") == "Torn"] == [
        "dial/browser1/backend was torn"
    ]
    assert (formatted, records()) == ([], [])


async def test_while_much_comes(formatted: list[BaseException], records: Callable[[], list[str]]) -> None:
    async with paged(pour) as (run, page):
        page.send(BINARY, b"x")
        await page.frame()
        tear(page.writer)
        await emptied(run)
        assert run.relay.counts.torn == {Op.DIAL: 1}
    assert (formatted, records()) == ([], [])


async def test_in_the_middle_of_a_frame(formatted: list[BaseException], records: Callable[[], list[str]]) -> None:
    async with paged() as (run, page):
        page.send(BINARY, b"x")
        await page.frame()
        page.send(BINARY, b"half", length=1000)
        await http(run, "/healthz")
        tear(page.writer)
        await emptied(run)
    assert (formatted, records()) == ([], [])


async def test_before_the_answer(formatted: list[BaseException], records: Callable[[], list[str]]) -> None:
    async with dialling(echo_bytes) as run:
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", run.port)
            writer.write(upgrade(run, "/dial/p/backend", await token(run, "p", target="backend")))
            tear(writer)
            await http(run, "/healthz")
            await emptied(run)
    assert (formatted, records()) == ([], [])


async def test_under_a_matcher(formatted: list[BaseException], records: Callable[[], list[str]]) -> None:
    async with running() as run, RawSocket.opened(run) as page:
        page.send(BINARY, b"x")
        await page.frame()
        tear(page.writer)
        await emptied(run)
    assert (formatted, records()) == ([], [])


async def test_while_it_waits_to_be_called(formatted: list[BaseException], records: Callable[[], list[str]]) -> None:
    async with running(targets=[listener()], meetings=[Meeting("peers")]) as run:
        for target in ("repl", "peers"):
            async with RawSocket.opened(run, "page", "listen", target) as page:
                await http(run, "/healthz")
                tear(page.writer)
                await emptied(run)
    assert (formatted, records()) == ([], [])


async def test_in_a_request(formatted: list[BaseException], records: Callable[[], list[str]]) -> None:
    async with running() as run:
        for part in (
            b"POST /to",
            f"POST /token HTTP/1.1\r\nhost: {run.host}\r\norigin: {run.origin}\r\n"
            "content-type: application/json\r\ncontent-length: 100\r\n\r\n{".encode(),
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", run.port)
            writer.write(part)
            await http(run, "/healthz")
            tear(writer)
            await http(run, "/healthz")
    assert (formatted, records()) == ([], [])


async def test_the_target(formatted: list[BaseException], records: Callable[[], list[str]]) -> None:
    calls = Calls()
    async with paged(calls) as (run, page):
        _, writer = await calls.next()
        tear(writer)
        assert await page.ending() == (1011, "BROKEN")
        await emptied(run)
        assert run.relay.counts.refused[Reason.BROKEN] == 1
        assert not run.relay.counts.torn
    assert (formatted, records()) == ([], [])
