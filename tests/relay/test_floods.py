"""Floods of connections, and kills in the middle: what is bounded, and who learns of it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack

import pytest

from asyncmachine_relay import Limits, Target
from asyncmachine_relay.limits import Sockets
from tests.relay.support import Running, ending, http, opened, running
from tests.relay.tcp_support import Calls, dialling

MIB = 1 << 20


async def connections(run: Running, count: int, stack: AsyncExitStack) -> int:
    """Opens so many that say nothing; returns how many of them live."""
    readers = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", run.port)
        stack.callback(writer.close)
        readers.append(reader)
    alive = 0
    for reader in readers:
        try:
            async with asyncio.timeout(0.2):
                await reader.read()
        except TimeoutError:
            alive += 1
        except ConnectionResetError:
            pass
    return alive


@pytest.mark.parametrize("limits", [Limits(sockets=5), Limits(sockets_per_peer=5)])
async def test_silent_connections_are_bounded_and_their_places_come_back(limits: Limits) -> None:
    async with running(limits=limits) as run:
        async with AsyncExitStack() as stack:
            assert await connections(run, 12, stack) == 5
        while (await try_health(run)) != 200:
            await asyncio.sleep(0)


async def try_health(run: Running) -> int:
    try:
        return (await http(run, "/healthz")).status
    except (ConnectionError, IndexError, ValueError):
        return 0


async def test_a_tunnel_counts_as_one_until_it_ends() -> None:
    async with running(limits=Limits(sockets_per_peer=3, leave=0.02)) as run:
        assert run.server._server is not None
        sockets = run.server._server.config.sockets  # type: ignore[attr-defined]
        async with opened(run) as page:
            await page.send(b"x")
            await page.recv()
            assert len(sockets) == 1
        while len(sockets):
            await asyncio.sleep(0)


def test_a_trusted_proxy_counts_in_the_total_only() -> None:
    sockets = Sockets(Limits(sockets=4, sockets_per_peer=1), lambda address: address == "127.0.0.1")
    assert [sockets.enter(number, "127.0.0.1") for number in range(3)] == [True, True, True]
    assert [sockets.enter(name, "203.0.113.9") for name in "ab"] == [True, False]
    assert not sockets.enter("c", "203.0.113.10")
    sockets.leave("a")
    sockets.leave("a")
    assert len(sockets) == 3
    assert sockets.enter("d", "2001:db8::1")
    sockets.leave(0)
    assert not sockets.enter("e", "2001:db8::2")  # of the same network


SOURCE = (
    "import socket, sys, os\n"
    "listener = socket.create_server(('127.0.0.1', 0))\n"
    "print(listener.getsockname()[1], flush=True)\n"
    "talking, _ = listener.accept()\n"
    "import random\n"
    "draw = random.Random(7)\n"
    "while True:\n"
    "    talking.sendall(draw.randbytes(65536))\n"
)


async def test_a_backend_that_is_killed_in_the_middle_leaves_a_prefix_and_an_end() -> None:
    import random

    with subprocess.Popen([sys.executable, "-c", SOURCE], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        async with (
            running(targets=[Target("backend", "127.0.0.1", port, raw=True)]) as run,
            opened(run, target="backend") as page,
        ):
            await page.send(b"x")  # which the backend never reads: its end is a reset
            found = bytearray()
            while len(found) < 4 * MIB:
                part = await page.recv()
                assert isinstance(part, bytes)
                found += part
            os.kill(process.pid, signal.SIGKILL)
            try:
                while True:
                    part = await page.recv()
                    assert isinstance(part, bytes)
                    found += part
            except Exception:  # noqa: BLE001 (whatever the client raises, the code of the end counts)
                assert await ending(page) == (1011, "BROKEN")
    draw = random.Random(7)
    expected = b"".join(draw.randbytes(65536) for _ in range(len(found) // 65536 + 1))
    assert hashlib.sha256(expected[: len(found)]).digest() == hashlib.sha256(found).digest()


async def test_a_program_that_is_killed_in_the_middle_tears_the_backend_after_a_prefix() -> None:
    calls = Calls()
    async with dialling(calls, limits=Limits(leave=0.02, bytes_per_second=1 << 30, frames_per_second=10**6)) as run:
        script = (
            "import asyncio, os, sys\n"
            "sys.path.insert(0, os.getcwd())\n"
            "from tests.relay.support import Running, opened\n"
            "class Server:\n"
            f"    origin, port = {run.origin!r}, {run.port}\n"
            "async def main():\n"
            "    async with opened(Running(None, Server), target='backend') as page:\n"
            "        while True: await page.send(b'0123456789abcdef' * 4096)\n"
            "asyncio.run(main())\n"
        )
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
        reader, _ = await calls.next()
        found = await reader.readexactly(2 * MIB)
        process.kill()
        await process.wait()
        torn = False
        try:
            while part := await reader.read(65536):
                found += part
        except ConnectionResetError:
            torn = True
        assert torn
        unit = b"0123456789abcdef"
        assert found == (unit * (len(found) // 16 + 1))[: len(found)]
