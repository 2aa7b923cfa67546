"""The relay behind nginx and behind Caddy, with the very configurations of docs/relay.md.

Both are installed in CI and by `make test PROXIES=1`; elsewhere these tests are skipped, and say so.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import Event

from asyncmachine_relay import EVERY_TUNNEL, Limits, Relay, RelayServer, bind
from tests.ports import free_port
from tests.relay.support import QUICK, Running, ask_token, ending, http, opened
from tests.relay.tcp_support import backend, echo_bytes

ROOT = Path(__file__).resolve().parents[2]
RELAY = (ROOT / "docs" / "relay.md").read_text()
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"

NGINX = """
worker_processes 1; daemon off; error_log stderr warn; pid {dir}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    {example}
}}
"""
CADDY = "{{\n\tadmin off\n\tauto_https off\n}}\n{example}\n"

PROXIES = pytest.mark.parametrize("proxy", ["nginx", "caddy"])


def program(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"{name} is not installed: make test PROXIES=1 does that, and CI")
    return found


@asynccontextmanager
async def behind(proxy: str, directory: Path, **settings: Any) -> AsyncIterator[Running]:
    """A relay, and the proxy in front of it; what is returned has the proxy's address."""
    found = program(proxy)
    public, inner = free_port(), bind()
    example = re.findall(rf"```{'nginx' if proxy == 'nginx' else 'caddyfile'}\n(.*?)```", RELAY, re.DOTALL)[0]
    example = example.replace("127.0.0.1:8080", f"127.0.0.1:{public}").replace(
        "127.0.0.1:12733", f"127.0.0.1:{inner.port}"
    )
    config = directory / ("nginx.conf" if proxy == "nginx" else "Caddyfile")
    config.write_text((NGINX if proxy == "nginx" else CADDY).format(dir=directory, example=example))
    arguments = (
        ["-p", str(directory), "-c", str(config)]
        if proxy == "nginx"
        else ["run", "--config", str(config), "--adapter", "caddyfile"]
    )
    origin = f"http://127.0.0.1:{public}"
    relay = Relay(
        **{
            "origins": [origin],
            "proxies": ["127.0.0.1"],
            "authorize": lambda request: EVERY_TUNNEL,
            "limits": QUICK,
            **settings,
        }
    )
    async with RelayServer(relay, inner) as server:
        process = await asyncio.create_subprocess_exec(
            found,
            *arguments,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={"HOME": str(directory), "PATH": PATH},
        )
        try:
            run = Running(relay, server)
            front = Front(run, origin, public)
            while True:
                try:
                    if (await http(front, "/readyz")).status == 200:
                        break
                except (OSError, IndexError):
                    await asyncio.sleep(0.02)
                assert process.returncode is None
            yield front
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
    relay.dispose()


class Front(Running):
    """The relay as seen through the proxy."""

    def __init__(self, run: Running, origin: str, port: int) -> None:
        super().__init__(run.relay, run.server)
        self._origin, self._port = origin, port

    @property
    def origin(self) -> str:
        return self._origin

    @property
    def port(self) -> int:
        return self._port


@PROXIES
async def test_pages_and_tunnels_pass(proxy: str, tmp_path: Path) -> None:
    from asyncmachine_relay import Target

    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("<p>hello")
    async with backend(echo_bytes) as port:
        target = Target("backend", "127.0.0.1", port, raw=True)
        async with behind(proxy, tmp_path, static=[site], targets=[target]) as run:
            assert (await http(run, "/")).body.endswith(b"<p>hello")
            async with opened(run, target="backend") as page:
                await page.send(b"x" * 100_000)
                got = b""
                while len(got) < 100_000:
                    part = await page.recv()
                    assert isinstance(part, bytes)
                    got += part
                [tunnel] = run.relay.tunnels
                assert tunnel.transport.peer.address.startswith("127.0.0.1:")


@PROXIES
async def test_a_reason_for_a_refusal_arrives(proxy: str, tmp_path: Path) -> None:
    async with behind(proxy, tmp_path) as run, opened(run, using="") as page:
        assert await ending(page) == (4401, "AUTH")


@PROXIES
async def test_foreign_pages_and_forged_headers_stay_outside(proxy: str, tmp_path: Path) -> None:
    async with behind(proxy, tmp_path) as run:
        assert (await ask_token(run, headers=[("origin", "https://evil.example")])).status == 403
        assert (await http(run, "/healthz", headers=[("host", "evil.example")])).status in {403, 421, 200, 404}
        assert (await http(run, "/metrics", headers=[("x-forwarded-for", "127.0.0.1")])).status == 401
        with pytest.raises(websockets.InvalidStatus):
            async with opened(run, using="x", origin="https://evil.example"):
                pass


@PROXIES
async def test_clients_are_counted_for_themselves_whatever_they_say(proxy: str, tmp_path: Path) -> None:
    limits = Limits(opens_burst=2, opens_per_second=0.001)
    async with behind(proxy, tmp_path, limits=limits) as run:
        codes = [
            (await ask_token(run, headers=[("x-forwarded-for", f"203.0.113.{number}")])).json["code"]
            for number in range(4)
        ]
        assert codes == ["TARGET", "TARGET", "LIMIT", "LIMIT"]


class Pinged(ClientConnection):
    """A page that counts the pings it gets."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.pinged = asyncio.Semaphore(0)

    def process_event(self, event: Event) -> None:
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.pinged.release()
        super().process_event(event)


@PROXIES
async def test_an_idle_tunnel_is_kept_by_pings(proxy: str, tmp_path: Path) -> None:
    from asyncmachine_relay import Target

    async with backend(echo_bytes) as port:
        target = Target("backend", "127.0.0.1", port, raw=True)
        limits = Limits(ping=0.1, pong=5, hello=30, leave=0.02)
        async with (
            behind(proxy, tmp_path, targets=[target], limits=limits) as run,
            opened(run, target="backend", create_connection=Pinged) as page,
        ):
            assert isinstance(page, Pinged)
            for _ in range(3):
                await page.pinged.acquire()
            await page.send(b"x")
            assert await page.recv() == b"x"


@PROXIES
async def test_a_shutdown_reaches_the_page(proxy: str, tmp_path: Path) -> None:
    from asyncmachine_relay import Target

    async with backend(echo_bytes) as port:
        target = Target("backend", "127.0.0.1", port, raw=True)
        async with behind(proxy, tmp_path, targets=[target]) as run, opened(run, target="backend") as page:
            await page.send(b"x")
            await page.recv()
            await run.server.stop()
            assert await ending(page) == (1001, "SHUTDOWN")
