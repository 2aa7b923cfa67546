"""The marked part of the aRPC behaviour suite in real Chromium, over MessagePort and over WebSocket through the relay.

The files that run natively are given to the page: those of `SUITES`. Over MessagePort both ends of a channel are in the
page; over WebSocket source and mirror are in the page too, each at the end of a tunnel, and the relay joins the two
tunnels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from playwright.sync_api import Browser, Page

from asyncmachine.rpc.transport import Transport, TransportClosed
from asyncmachine_relay import Limits, Match, Relay, StaticRoot, Tunnel
from asyncmachine_web.build import static_folder
from tests.rpc import behaviour, growing, stepping
from tests.web.browser import Mishaps, run, serving

PAGES = Path(__file__).parent / "pages"
SUITES: tuple[ModuleType, ...] = (behaviour, growing, stepping)
"""Modules that have marked behaviours, the first imported by the others."""
MARKED = [found for suite in SUITES for found in behaviour.IN_BROWSER if found.__module__ == suite.__name__]

NETS = '''
import asyncio, importlib, json, pathlib, sys
from asyncmachine.rpc.transport.port import PortTransport
from asyncmachine_web.page import relay

class PortNet:
    """A message channel with both ends here."""

    async def connect(self):
        from js import MessageChannel
        channel = MessageChannel.new()
        self.newest = PortTransport(channel.port1, "client"), PortTransport(channel.port2, "server")
        return self.newest

    def cut(self):
        for end in self.newest:
            end.lost("cut")

class WebSocketNet:
    """Two tunnels that the relay joins."""

    count = 0

    async def connect(self):
        WebSocketNet.count += 1
        self.newest = await asyncio.gather(*(relay.dial(f"{side}{self.count}", "bridge")() for side in "ab"))
        return self.newest

    def cut(self):
        for end in self.newest:
            asyncio.ensure_future(end.close(4000, "cut"))

NETS = {"port": PortNet, "websocket": WebSocketNet}
'''


class Bridge:
    """Joins tunnels a7 and b7: what one sends the other gets, the end too."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Transport]] = {}

    async def serve(self, tunnel: Tunnel) -> None:
        mine, other = tunnel.id, {"a": "b", "b": "a"}[tunnel.id[0]] + tunnel.id[1:]
        self._seat(mine).set_result(tunnel.transport)
        partner = await self._seat(other)
        try:
            while True:
                await partner.send(await tunnel.transport.recv())
        except TransportClosed as closed:
            await partner.close(closed.code, closed.reason)

    def _seat(self, id: str) -> asyncio.Future[Transport]:
        return self._waiting.setdefault(id, asyncio.get_running_loop().create_future())


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A relay that serves an empty page and joins its tunnels."""
    static: list[StaticRoot] = [("/pages/", PAGES), static_folder()]
    limits = Limits(opens_per_second=1000, opens_burst=1000)  # the tests follow each other fast, on a fast computer
    match = Match(r"[ab]\d+", target="bridge", serve=Bridge().serve)
    with serving(Relay(static, dial=[match], limits=limits)) as found:
        yield found


@pytest.fixture(scope="module")
def suite(browser: Browser, address: str) -> Iterator[Page]:
    """A page that has the suite. One for all tests: a behaviour leaves nothing behind."""
    mishaps = Mishaps(address)
    context = browser.new_context(base_url=address)
    mishaps.watch(context)
    page = context.new_page()
    page.goto("/pages/suite.html")
    page.wait_for_selector("#python", state="attached", timeout=60_000)
    run(page, NETS)
    run(page, "pathlib.Path('tests/rpc').mkdir(parents=True); sys.path.insert(0, '.'); None")
    for suite in SUITES:
        path, text = f"{suite.__name__.replace('.', '/')}.py", Path(str(suite.__file__)).read_text()
        run(page, f"pathlib.Path({path!r}).write_text({text!r}); None")
    run(page, f"importlib.invalidate_caches(); import {', '.join(suite.__name__ for suite in SUITES)}")
    yield page
    context.close()
    mishaps.check()


@pytest.mark.parametrize("net", ["port", "websocket"])
@pytest.mark.parametrize("found", MARKED, ids=lambda found: found.__name__)
def test_behaviour(suite: Page, net: str, found: behaviour.Behaviour) -> None:
    tasks = run(
        suite,
        f"""
        before = asyncio.all_tasks()
        await {found.__module__}.{found.__name__}(NETS["{net}"]())
        for turn in range(20):
            await asyncio.sleep(0)
        json.dumps([repr(task) for task in asyncio.all_tasks() - before])
        """,
    )
    assert tasks == [], "a behaviour left tasks behind"
