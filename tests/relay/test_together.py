"""Two relays as programs of their own, a real NATS server, and nginx in front where it is installed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import websockets

from asyncmachine_relay import EVERY_TUNNEL, TunnelGrants
from tests.nats_server import NatsServer
from tests.ports import free_port
from tests.relay.cluster_support import FORWARDED
from tests.relay.support import Answer, ask_token, ending, http, opened
from tests.relay.test_proxies import NGINX, PATH, RELAY, program

ROOT = Path(__file__).resolve().parents[2]
LEASE = 1.5
SETTINGS = """
name = "{name}"
[server]
port = {port}
origins = ["http://127.0.0.1:{front}"]
secret_file = "relay.secret"
proxies = ["127.0.0.1"]
authorize = "tests.relay.test_together:anybody"
[cluster]
nats = ["{nats}"]
url = "http://127.0.0.1:{port}"
lease = {lease}
[operation]
drain = 0.2
[limits]
opens_per_second = 1000
opens_burst = 1000
hello = 60
[[meetings]]
name = "peers"
"""


def anybody(request: object) -> TunnelGrants:
    """What the relays' `authorize` names."""
    return EVERY_TUNNEL


@dataclass
class Door:
    """A relay, or the balancer; for the helpers of `support`."""

    port: int
    origin: str

    @property
    def host(self) -> str:
        return self.origin.removeprefix("http://")


class Relays:
    """The programs. `front` is what pages see: nginx, or one relay after the other."""

    def __init__(self, public: int, ports: list[int], balancer: str | None) -> None:
        origin = f"http://127.0.0.1:{public}"
        self.doors = [Door(port, origin) for port in ports]
        self.processes: list[asyncio.subprocess.Process] = []
        self._behind = balancer is not None
        self._fronts = cycle([Door(public, origin)] if balancer else self.doors)

    def front(self) -> Any:
        """Where the next request goes."""
        return next(self._fronts)

    def only(self, number: int) -> None:
        """From now on the other one is gone; a balancer finds that out itself."""
        if not self._behind:
            self._fronts = cycle([self.doors[number]])

    async def ask(self, id: str, op: str = "dial", target: str = "peers:page", **more: object) -> Answer:
        return await ask_token(self.front(), id, op, target, headers=FORWARDED, **more)

    @asynccontextmanager
    async def through(
        self, id: str, op: str = "dial", target: str = "peers:page", *, door: Any = None, using: str | None = None
    ) -> AsyncIterator[websockets.ClientConnection]:
        if using is None:
            using = (await self.ask(id, op, target)).json["token"]
        door = door or self.front()
        plain = {"additional_headers": dict(FORWARDED), "host": "127.0.0.1", "port": door.port}
        async with opened(door, id, op, target, using=using, **plain) as page:
            yield page


@asynccontextmanager
async def relays(directory: Path, balancer: str | None) -> AsyncIterator[Relays]:
    found = None if balancer is None else program(balancer)
    public, ports = free_port(), [free_port(), free_port()]
    secret = directory / "relay.secret"
    secret.write_text("the secret of both these relays")
    secret.chmod(0o600)
    run = Relays(public, ports, balancer)
    async with NatsServer(directory / "nats") as nats, AsyncExitStack() as stack:
        for number, port in enumerate(ports):
            file = directory / f"relay{number}.toml"
            file.write_text(SETTINGS.format(name=number, port=port, front=public, nats=nats.url, lease=LEASE))
            run.processes.append(
                await started(stack, sys.executable, "-m", "asyncmachine_tools", "relay", "wasm", "--config", str(file))
            )
        if found is not None:
            example = next(text for text in re.findall(r"```nginx\n(.*?)```", RELAY, re.DOTALL) if "upstream" in text)
            for given, real in zip(("8080", "12733", "12734"), (public, *ports), strict=True):
                example = example.replace(f"127.0.0.1:{given}", f"127.0.0.1:{real}")
            config = directory / "nginx.conf"
            config.write_text(NGINX.format(dir=directory, example=example))
            await started(stack, found, "-p", str(directory), "-c", str(config))
        for door in (*run.doors, run.front(), run.front()):
            await ready(door)
        yield run


async def started(stack: AsyncExitStack, *command: str) -> asyncio.subprocess.Process:
    quiet = asyncio.subprocess.DEVNULL
    env = {**os.environ, "PATH": PATH}
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet, cwd=ROOT, env=env)

    async def end() -> None:
        if process.returncode is None:
            process.terminate()
        await process.wait()

    stack.push_async_callback(end)
    return process


async def ready(door: Any) -> None:
    while True:
        with suppress(OSError, IndexError):
            if (await http(door, "/readyz", headers=FORWARDED)).status == 200:
                return
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("balancer", [None, "nginx"], ids=["direct", "nginx"])
async def test_they_are_one_relay_for_pages_and_one_that_dies_lets_go(balancer: str | None, tmp_path: Path) -> None:
    async with relays(tmp_path, balancer) as run, AsyncExitStack() as stack:
        mine = (await run.ask("page", "listen", "peers")).json
        async with run.through("page", "listen", "peers", door=run.doors[0], using=mine["token"]) as page:
            # The call enters at the other relay, through the balancer at any.
            tool = await called(run, stack, "tool-1", None if balancer else run.doors[1])
            await tool.send(b"question")
            assert await page.recv() == b"question"
            await page.send(b"answer")
            assert await tool.recv() == b"answer"
            # Tokens are good once, ids are of one tunnel, whoever is asked.
            for door in run.doors:
                async with run.through("page", "listen", "peers", door=door, using=mine["token"]) as replay:
                    assert await ending(replay) == (4401, "AUTH")
                async with run.through("page", "listen", "peers", door=door) as stranger:
                    assert await ending(stranger) == (4409, "DUPLICATE")
            run.processes[0].send_signal(signal.SIGKILL)
            await run.processes[0].wait()
            assert (await ending(page))[0] == 1006
            assert (await ending(tool))[0] in {1006, 1011}
        run.only(1)
        # Its owner has the id again at once.
        again = (await run.ask("page", "listen", "peers", secret=mine["resume"])).json
        async with run.through("page", "listen", "peers", using=again["token"]) as page:
            tool = await called(run, stack, "tool-2")
            await tool.send(b"still the one")
            assert await page.recv() == b"still the one"
        assert run.processes[1].returncode is None


async def called(run: Relays, stack: AsyncExitStack, id: str, door: Any = None) -> websockets.ClientConnection:
    """A call that was taken; the page may have begun to wait just now."""
    while True:
        tool = await stack.enter_async_context(run.through(id, door=door))
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                assert await ending(tool) == (1011, "UNREACHABLE")
                continue
        return tool


async def is_taken(run: Relays, id: str, door: Any = None) -> bool:
    """Whether a stranger is told so, rather than let in."""
    async with run.through(id, "listen", "peers", door=door) as stranger:
        try:
            async with asyncio.timeout(0.5):
                assert await ending(stranger) == (4409, "DUPLICATE")
        except TimeoutError:
            return False
        return True


async def test_the_ids_of_a_dead_relay_are_free_after_its_lease(tmp_path: Path) -> None:
    async with relays(tmp_path, None) as run, AsyncExitStack() as stack:
        loop = asyncio.get_running_loop()
        async with run.through("page", "listen", "peers", door=run.doors[0]) as page:
            tool = await called(run, stack, "tool", run.doors[1])
            await tool.send(b"x")
            assert await page.recv() == b"x"
            run.processes[0].send_signal(signal.SIGKILL)
            await run.processes[0].wait()
            died = loop.time()
            assert (await ending(page))[0] == 1006
        run.only(1)
        assert await is_taken(run, "page")
        while await is_taken(run, "page"):
            await asyncio.sleep(0.05)
        assert loop.time() - died > LEASE / 3


async def test_a_relay_that_is_stopped_gives_its_ids_back(tmp_path: Path) -> None:
    async with relays(tmp_path, None) as run, AsyncExitStack() as stack:
        async with run.through("page", "listen", "peers", door=run.doors[0]) as page:
            tool = await called(run, stack, "tool", run.doors[1])
            await tool.send(b"x")
            assert await page.recv() == b"x"
            run.processes[0].send_signal(signal.SIGTERM)
            assert await ending(page) == (1001, "SHUTDOWN")
        assert await run.processes[0].wait() == 0
        run.only(1)
        async with run.through("page", "listen", "peers") as anybody:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await anybody.recv()
