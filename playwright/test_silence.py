"""The network goes dark without a word: a person sees within a second or two that what is shown is stale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_relay import Match, Relay, StaticRoot, Tunnel
from asyncmachine_web.build import pack, static_folder
from tests.web.browser import Mishaps, open_python, run, serving, vendor_folder
from tests.web.hole import Hole, hole

PAGES = Path(__file__).parent / "pages"


class States(rpc.StateSource):
    Hit = am.state(multi=True)


class Native:
    """The native side: one machine, which outlives connections."""

    def __init__(self) -> None:
        self.server: rpc.Server | None = None

    async def serve(self, tunnel: Tunnel) -> None:
        self.server = self.server or rpc.Server(am.Machine(States, id="native"), "native")
        await self.server.serve(tunnel.transport)


@pytest.fixture
def network() -> Iterator[Hole]:
    with hole() as found:
        yield found


@pytest.fixture
def mishaps(network: Hole) -> Mishaps:
    return Mishaps(network.address)


SHOW = """
import js
from asyncmachine_web.page.lifecycle import lifecycle
from asyncmachine_web.page.ui import Page

class States(rpc.StateSource):
    Hit = am.state(multi=True)

js.document.body.innerHTML = '<p id="p"></p><button id="hit">Hit</button>'
client = rpc.Client(relay.dial("tab", "native"), States)
client.start()
lifecycle().on_wake(client.retry_now)
await client.when_ready()
page = Page(am.Machine({}, id="page"))
page.bind("#p", client, text=lambda m: m.count("Hit"))
page.on("click", "#hit", lambda event: [client.netmach.add("Hit")] and None)
None
"""

STALE = """() => {
    window.since = performance.now();
    window.stale = new Promise((done) => {
        const look = () => p.hasAttribute("data-stale") && done((performance.now() - since) / 1000);
        new MutationObserver(look).observe(p, { attributes: true });
    });
}"""
"""Measures from now on how long it takes until what is shown is called stale, in seconds."""


@pytest.fixture
def shown(page: Page, network: Hole, tmp_path: Path, mishaps: Mishaps) -> Iterator[Page]:
    """A page that shows how often its button was clicked, as the native machine has it."""
    pack(PAGES, ["workload.py", "jobs.py"], tmp_path / "sources.zip")
    static: list[StaticRoot] = [
        ("/pages/", PAGES), ("/built/", tmp_path), static_folder(), ("/vendor/", vendor_folder()),
    ]  # fmt: skip
    origin = network.address
    relay = Relay(
        static, dial=[Match("tab", "native", Native().serve)], origins=[origin], hosts=[origin.partition("//")[2]]
    )
    with serving(relay) as address:
        network.towards(int(address.rpartition(":")[2]))
        open_python(page, origin)
        run(page, SHOW)
        expect(page.locator("#p")).to_have_text("0")
        yield page
        run(page, "await client.stop()\nNone")


DOUBTS = {
    "offline": "dispatchEvent(new Event('offline'))",
    "resumed": "document.dispatchEvent(new Event('freeze')), document.dispatchEvent(new Event('resume'))",
    "clicked": "hit.click()",
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_is_shown_is_stale_soon_after_the_page_has_reason_to_doubt(
    shown: Page, network: Hole, mishaps: Mishaps, doubt: str
) -> None:
    """After 1 to 2 s, as `tests/rpc/test_probing.py` proves in a time of its own. Here the computer may be busy."""
    mishaps.expect("WebSocket connection|timed out|ERR_")
    with network.dark():
        shown.evaluate(STALE)
        shown.evaluate(DOUBTS[doubt])
        seconds = shown.evaluate("stale")
        print(f"{doubt}: stale after {seconds:.2f} s")
        assert seconds < 10, "it was asked: the keep-alive would, after 45 s"
    expect(shown.locator("#p[data-stale]")).to_have_count(0)
    shown.locator("#hit").click()
    expect(shown.locator("#p")).to_have_text("2" if doubt == "clicked" else "1")


def test_a_page_whose_tab_stood_still_is_not_cut_off(shown: Page, network: Hole) -> None:
    """Answers that have come while it stood still are read first."""
    shown.evaluate("dispatchEvent(new Event('offline'))")
    shown.evaluate("{ const end = performance.now() + 3000; while (performance.now() < end); }")
    run(shown, "import time; client.probe(); time.sleep(3)\nNone")
    shown.locator("#hit").click()
    expect(shown.locator("#p")).to_have_text("1")
    assert run(shown, "json.dumps(client.machine.tick('Connected'))") == 1


def test_a_slow_server_stays(shown: Page, network: Hole) -> None:
    network.delay = 0.15  # each way: a busy computer adds to it, and a second is waited
    before = run(shown, "json.dumps(client.statistics.bytes_out)")
    for hits in range(1, 4):
        shown.evaluate("dispatchEvent(new Event('offline')), dispatchEvent(new Event('online'))")
        shown.locator("#hit").click()
        expect(shown.locator("#p")).to_have_text(str(hits))
    after = run(shown, "json.dumps([client.machine.tick('Connected'), client.statistics.bytes_out])")
    assert after[0] == 1
    print(f"{(after[1] - before) / 3:.0f} bytes for a question and a call")
    assert after[1] - before < 3 * 100
