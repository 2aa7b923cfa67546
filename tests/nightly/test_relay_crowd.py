"""A relay as a program of its own with a crowd before it: its memory stays flat, and no descriptor is left.

With TIME=5 or more: 1,000 silent and 1,000 busy tunnels for five minutes, then 10,000 opens and closes; with less time
as many tunnels for that time, and opens in proportion. By hand it is a third of a minute. Limits of what one tunnel may
send are those that everybody has.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asyncmachine_relay import Limits
from tests.relay.support import BINARY, CLOSE, PING, PONG, RawSocket, http
from tests.relay.tcp_support import Serving, backend, echo_bytes

MINUTES = min(5.0, float(os.environ.get("AM_NIGHTLY_MINUTES", "0.33")))
IDLE, BUSY = 1000, 1000
OPENS = round(2000 * MINUTES)
AT_ONCE = 20
SETTINGS = """
[server]
port = 0
[limits]
tunnels = 5000
tunnels_per_peer = 5000
sockets = 10000
sockets_per_peer = 10000
opens_per_second = 1000000
opens_burst = 1000000
hello = 600
idle = 3600
[[targets]]
name = "back"
host = "127.0.0.1"
port = {port}
raw = true
"""
BY_THE_WAY = 20_000
"""Kilobytes that a process may grow by without anything piling up: arenas, caches, what the allocator keeps.

CPython 3.11 itself loses 50 bytes with each date that it writes, which is once for each tunnel."""


@dataclass
class Crowded:
    """The program, and what it takes up."""

    pid: int
    origin: str

    @property
    def host(self) -> str:
        return self.origin.removeprefix("http://")

    @property
    def port(self) -> int:
        return int(self.origin.rpartition(":")[2])

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def resident(self) -> int:
        """Kilobytes."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

    async def tunnels(self) -> int:
        """Those that are open, as it says itself."""
        text = (await http(self, "/metrics")).body.decode()  # type: ignore[arg-type]
        return round(sum(float(line.split()[1]) for line in text.splitlines() if line.startswith("am_relay_tunnels{")))


@pytest.fixture(autouse=True)
def many_descriptors() -> Iterator[None]:
    """Four for each tunnel, over both programs."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < 10_000:
        pytest.skip(f"this system allows {before[1]} open files, and 10,000 are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 10_000), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@asynccontextmanager
async def crowded(directory: Path, serve: Serving = echo_bytes) -> AsyncIterator[Crowded]:
    async with backend(serve) as port:
        file = directory / "relay.toml"
        file.write_text(SETTINGS.format(port=port))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "asyncmachine_tools", "relay", "wasm", "--config", str(file)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert process.stdout is not None
            yield Crowded(process.pid, (await process.stdout.readline()).decode().split()[-1])
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def answer_pings(socket: RawSocket) -> None:
    """What a silent client still does."""
    while True:
        await message(socket)


async def work(socket: RawSocket, count: list[int]) -> None:
    """A message there and back, again and again, from when the first one has come back; until then it is silent."""
    data = await message(socket)
    while True:
        socket.send(BINARY, data)
        got = 0
        while got < len(data):
            got += len(await message(socket))
        count[0] += 1


async def message(socket: RawSocket) -> bytes:
    """The next one; pings are answered."""
    while True:
        opcode, data = await socket.frame()
        if opcode == PING:
            socket.send(PONG, data)  # what was asked is said again
        elif opcode == CLOSE:
            raise AssertionError(f"the relay ended a tunnel: {data!r}")
        else:
            return data


async def in_turn(makers: list[Any]) -> list[Any]:
    """Runs them, so many at once."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(make: Any) -> Any:
        async with free:
            return await make()

    return await asyncio.gather(*(one(make) for make in makers))


async def settled(run: Crowded, before: int) -> None:
    """Until no tunnel and no descriptor is left. One may be that of the question."""
    while await run.tunnels() or run.descriptors() > before + 1:
        await asyncio.sleep(0.05)


@pytest.mark.nightly
@pytest.mark.timeout(1500)
def test_a_thousand_silent_and_a_thousand_busy_tunnels_keep_its_memory_flat(tmp_path: Path) -> None:
    asyncio.run(silent_and_busy(tmp_path))  # without the loop's debug mode: this side must not be what is slow


async def silent_and_busy(directory: Path) -> None:
    async with crowded(directory) as run:
        async with RawSocket.opened(run, "warm", target="back"):  # type: ignore[arg-type]
            pass
        await settled(run, run.descriptors())
        before = run.descriptors()
        async with AsyncExitStack() as stack:
            count = [0]

            async def one(number: int) -> tuple[RawSocket, asyncio.Task[None]]:
                opening = RawSocket.opened(run, f"page{number}", target="back")  # type: ignore[arg-type]
                socket = await stack.enter_async_context(opening)
                # At once: opening them all may take longer than a ping may go unanswered.
                return socket, asyncio.create_task(answer_pings(socket) if number < IDLE else work(socket, count))

            begun = time.monotonic()
            opened = await in_turn([partial(one, n) for n in range(IDLE + BUSY)])
            print(f"{len(opened)} tunnels in {time.monotonic() - begun:.0f} s; KB: {run.resident()}")
            tasks = [task for _, task in opened]
            for socket, _ in opened[IDLE:]:
                socket.send(BINARY, bytes(512))
            # The first third warms up: buffers grow to what the traffic needs.
            sizes = []
            for _ in range(12):
                await asyncio.wait(tasks, timeout=MINUTES * 60 / 12, return_when=asyncio.FIRST_COMPLETED)
                assert not [task.result() for task in tasks if task.done()]
                sizes.append(run.resident())
            assert await run.tunnels() == IDLE + BUSY
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        print(f"{count[0]} messages there and back; KB: {sizes}")
        assert max(sizes[-3:]) < max(sizes[:4]) * 1.05 + BY_THE_WAY, sizes
        await settled(run, before)


@pytest.mark.nightly
@pytest.mark.timeout(1500)
def test_ten_thousand_opens_and_closes_leave_nothing(tmp_path: Path) -> None:
    asyncio.run(opens_and_closes(tmp_path))


async def opens_and_closes(directory: Path) -> None:
    async with crowded(directory) as run:

        async def one(number: int) -> None:
            async with RawSocket.opened(run, f"page{number}", target="back") as socket:  # type: ignore[arg-type]
                socket.send(BINARY, b"x")
                await socket.frame()
                if number % 2:  # in order; the others are torn
                    socket.send(8, b"\x03\xe8")
                    with suppress(asyncio.IncompleteReadError, ConnectionError):
                        await socket.ending()

        await one(1)
        await settled(run, run.descriptors())
        before = run.descriptors()
        sizes = []
        tenth = max(AT_ONCE, OPENS // 10)
        for at in range(0, OPENS, tenth):
            await in_turn([partial(one, n) for n in range(at, at + tenth)])
            sizes.append(run.resident())
        print(f"{OPENS} opens; KB: {sizes}")
        assert max(sizes[-3:]) < max(sizes[:4]) * 1.05 + BY_THE_WAY, sizes
        await settled(run, before)


@pytest.mark.nightly
@pytest.mark.timeout(1500)
def test_who_sends_as_fast_as_it_can_is_slowed_for_as_long_as_it_likes_and_loses_nothing(tmp_path: Path) -> None:
    asyncio.run(as_fast_as_it_can(tmp_path))


async def as_fast_as_it_can(directory: Path) -> None:
    """Its pongs stand behind what it sends."""
    limits = Limits()
    total = round(MINUTES * 60) * limits.bytes_per_second

    async def digest_of_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        digest, size = hashlib.sha256(), 0
        while size < total:
            data = await reader.read(1 << 20)
            assert data, f"cut after {size} of {total} bytes"
            digest.update(data)
            size += len(data)
        writer.write(digest.digest())
        await asyncio.Event().wait()

    async with crowded(directory, digest_of_all) as run, RawSocket.opened(run, "page", target="back") as page:  # type: ignore[arg-type]
        told = asyncio.create_task(message(page))
        digest, sizes, begun = hashlib.sha256(), [run.resident()], time.monotonic()
        for _ in range(total // limits.frame):
            data = os.urandom(limits.frame)
            digest.update(data)
            page.send(BINARY, data)
            await page.writer.drain()
            sizes.append(run.resident())
        assert await told == digest.digest()
        took = time.monotonic() - begun
        print(f"{total >> 20} MiB in {took:.1f} s; KB: {sizes[0]}, at most {max(sizes)}")
        burst = limits.bytes_per_second + limits.frame  # the last one waits for none
        assert took >= (total - burst) / limits.bytes_per_second
        assert max(sizes) < sizes[0] + 8 * limits.buffer_high // 1024 + BY_THE_WAY
