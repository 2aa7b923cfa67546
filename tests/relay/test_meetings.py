"""Pages that are called by other pages and programs, without TCP in between."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from asyncmachine.rpc.transport import TransportClosed
from asyncmachine_relay import Limits, Meeting, RelayConfigError, Target, TunnelGrants
from asyncmachine_relay.meetings import check_meetings
from tests.relay.support import QUICK, Running, ask_token, ending, opened, running
from tests.relay.test_many import end_of, many_to

PEERS = Meeting("peers", ids="page-.+", callers="tool-.+")
QUIET = Limits(leave=0.05, hello=60, opens_burst=100)


async def waits(run: Running, id: str = "page-1") -> None:
    """Until this id can be called."""
    while run.relay._waiting.find(PEERS, id) is None:
        await asyncio.sleep(0)


async def parts(page: ClientConnection) -> AsyncIterator[bytes]:
    """What comes until the end."""
    with suppress(websockets.ConnectionClosed):
        while True:
            part = await page.recv()
            assert isinstance(part, bytes)
            yield part


async def test_a_page_is_called_by_its_id() -> None:
    async with (
        running(meetings=[PEERS], limits=QUIET) as run,
        opened(run, "page-1", "listen", "peers") as page,
    ):
        await waits(run)
        async with opened(run, "tool-1", target="peers:page-1") as tool:
            await tool.send(b"question")
            assert await page.recv() == b"question"
            await page.send(b"answer")
            assert await tool.recv() == b"answer"
            await tool.close(3000, "enough")
            assert await ending(page) == (3000, "enough")
        await run.relay.tunnels.emptied()


async def test_it_is_called_once_and_listens_again() -> None:
    async with running(meetings=[PEERS], limits=QUIET) as run:
        async with opened(run, "page-1", "listen", "peers") as page:
            await waits(run)
            async with opened(run, "tool-1", target="peers:page-1") as tool:
                await tool.send(b"1")
                await page.recv()
                async with opened(run, "tool-2", target="peers:page-1") as second:
                    assert await ending(second) == (1011, "UNREACHABLE")
                await page.send(b"still here")
                assert await tool.recv() == b"still here"
                await page.close()
                assert await ending(tool) == (1000, "")
        await run.relay.tunnels.emptied()


async def test_one_with_many_connections_is_called_by_many() -> None:
    async with running(meetings=[PEERS], limits=QUIET) as run, many_to(run, "page-1", "listen", "peers") as page:
        await waits(run)
        async with (
            opened(run, "tool-1", target="peers:page-1") as plain,
            many_to(run, "tool-2", target="peers:page-1") as many,
        ):
            await plain.send(b"plain")
            first = await page.accept()
            assert await first.recv() == b"plain"
            call = many.open()
            await call.send(b"half")
            call.finish()
            second = await page.accept()
            assert await second.recv() == b"half"
            with pytest.raises(TransportClosed, match="1000"):
                await second.recv()
            await second.send(b"the other half")
            assert await call.recv() == b"the other half"
            await second.close(3001, "done")
            assert await end_of(call) == (3001, "done")
            await first.send(b"goes on")
            assert await plain.recv() == b"goes on"


async def test_a_side_that_vanishes_ends_the_other_after_a_prefix() -> None:
    data = os.urandom(1 << 20)
    async with (
        running(meetings=[PEERS], limits=QUIET) as run,
        opened(run, "page-1", "listen", "peers") as page,
    ):
        await waits(run)
        async with opened(run, "tool-1", target="peers:page-1") as tool:
            for at in range(0, len(data), 1 << 16):
                await tool.send(data[at : at + (1 << 16)])
            first = await page.recv()
            tool.transport.abort()
            found = b"".join([first, *[part async for part in parts(page)]])  # type: ignore[list-item]
        assert (page.close_code, (page.close_reason or "").partition(":")[0]) == (1011, "BROKEN")
        assert hashlib.sha256(found).digest() == hashlib.sha256(data[: len(found)]).digest()


async def test_a_listener_that_does_not_read_stops_its_caller() -> None:
    limits = Limits(leave=0.05, hello=60, buffer_high=64 << 10, buffer_low=16 << 10, bytes_per_second=1 << 30)
    async with (
        running(meetings=[PEERS], limits=limits) as run,
        opened(run, "page-1", "listen", "peers", max_queue=1) as page,
    ):
        await waits(run)
        async with opened(run, "tool-1", target="peers:page-1") as tool:

            async def pour() -> None:
                for _ in range(1024):
                    await tool.send(bytes(32 << 10))

            pouring = asyncio.create_task(pour())
            done, _ = await asyncio.wait({pouring}, timeout=0.5)
            assert not done
            assert all(each.statistics().bytes_waiting < 1 << 20 for each in run.relay.tunnels.transports)
            for _ in range(1024):
                await page.recv()
            await pouring


@pytest.mark.parametrize(
    ("id", "op", "target"),
    [
        ("page-1", "dial", "peers:page-2"),  # no caller
        ("tool-1", "listen", "peers"),  # no listener
        ("tool-1", "dial", "peers"),
        ("tool-1", "dial", "peers:"),
        ("tool-1", "dial", "peers:tool-2"),  # who cannot listen
        ("tool-1", "dial", "peers:page-/../x"),
        ("tool-1", "dial", "others:page-1"),
    ],
)
async def test_only_those_it_names_meet(id: str, op: str, target: str) -> None:
    async with running(meetings=[PEERS], limits=QUICK) as run:
        answer = await ask_token(run, id, op, target)
        assert (answer.status, answer.json["code"]) == (404, "TARGET")


async def test_the_application_decides_who_calls_whom() -> None:
    granted = TunnelGrants(ids=("tool-1",), targets=("peers:page-ada-*",))
    async with running(meetings=[PEERS], authorize=lambda request: granted, limits=QUICK) as run:
        assert (await ask_token(run, "tool-1", target="peers:page-bob-1")).json["code"] == "FORBIDDEN"
        assert (await ask_token(run, "tool-1", target="peers:page-ada-1")).status == 200


async def test_who_is_not_there_cannot_be_called() -> None:
    async with (
        running(meetings=[PEERS], limits=QUIET) as run,
        opened(run, "tool-1", target="peers:page-1") as tool,
    ):
        assert await ending(tool) == (1011, "UNREACHABLE")


def test_a_meeting_is_checked() -> None:
    for wrong, says in (
        ({"name": "a:b"}, "name must have"),
        ({"name": "x", "ids": "("}, r"ids '\(' is no regular expression"),
        ({"name": "x", "callers": "["}, r"callers '\[' is no regular expression"),
    ):
        with pytest.raises(RelayConfigError, match=says):
            Meeting(**wrong)
    with pytest.raises(RelayConfigError, match="rename one"):
        check_meetings([PEERS], [Target("peers", "127.0.0.1", 1).name])
    with pytest.raises(RelayConfigError, match="rename one"):
        check_meetings([PEERS, PEERS], [])
