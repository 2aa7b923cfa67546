"""A native machine that changes a thousand times a second: in a page that is seen, and in one that is not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import monotonic

import pytest
from playwright.sync_api import CDPSession, Page, expect

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_relay import Match, Relay, StaticRoot, Tunnel
from asyncmachine_web.build import pack, static_folder
from tests.web.browser import Mishaps, open_python, run, serving, vendor_folder

PAGES = Path(__file__).parent / "pages"


class States(rpc.StateSource):
    Hit = am.state(multi=True)


class Flood:
    """The native side: each page that dials has a machine that changes until it is told to pause."""

    def __init__(self) -> None:
        self.runs = Event()
        self.rests = Event()
        self.changes = 0
        """Of the newest machine, right while it rests."""

    async def serve(self, tunnel: Tunnel) -> None:
        machine = am.Machine(States, id="flood")
        server = rpc.Server(machine, "flood", push_interval=0.01)
        pouring = asyncio.create_task(self._pour(machine))
        await server.serve(tunnel.transport)
        pouring.cancel()
        server.machine.dispose()
        machine.dispose()

    async def _pour(self, machine: am.Machine[States]) -> None:
        last = monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = monotonic()
            if not self.runs.is_set():
                last = now
                self.rests.set()
                continue
            for _ in range(int((now - last) * 1000)):
                machine.add(States.Hit)
                self.changes += 1
                last += 0.001

    def pause(self) -> int:
        """Ends the changes; how many there were."""
        self.rests.clear()
        self.runs.clear()
        assert self.rests.wait(60)
        return self.changes


SHOW = """
import js
from asyncmachine_web.page.ui import Page

class States(rpc.StateSource):
    Hit = am.state(multi=True)

js.document.body.innerHTML = '<p id="p"></p>'
client = rpc.Client(relay.dial("tab", "flood"), States)
client.start()
await client.when_ready()
page = Page(am.Machine({}, id="page"))
page.bind("#p", client, text=lambda m: m.count("Hit"))
None
"""

WRITES = """() => {
    window.writes = window.drawn = 0;
    const next = () => { drawn += 1; requestAnimationFrame(next); };
    requestAnimationFrame(next);
    new MutationObserver((records) => (writes += records.length)).observe(p, { childList: true, characterData: true,
        subtree: true });
}"""

HOLD = """() => {
    window.writes = 0;
    window.drawing = requestAnimationFrame;
    window.held = [];
    window.requestAnimationFrame = (callback) => held.push(callback);
}"""
RELEASE = """() => {
    window.requestAnimationFrame = drawing;
    held.forEach((each) => drawing(each));
}"""


@pytest.fixture
def flood() -> Flood:
    return Flood()


@pytest.fixture
def address(flood: Flood, tmp_path: Path) -> Iterator[str]:
    pack(PAGES, ["workload.py", "jobs.py"], tmp_path / "sources.zip")
    static: list[StaticRoot] = [
        ("/pages/", PAGES),
        ("/built/", tmp_path),
        static_folder(),
        ("/vendor/", vendor_folder()),
    ]
    with serving(Relay(static, dial=[Match("tab", "flood", flood.serve)])) as origin:
        yield origin


@pytest.fixture
def mishaps(address: str) -> Mishaps:
    """This relay is the only host."""
    return Mishaps(address)


@pytest.fixture
def cdp(page: Page, address: str) -> CDPSession:
    """Of a page that shows how often the machine has changed."""
    open_python(page, address)
    run(page, SHOW)
    page.evaluate(WRITES)
    return page.context.new_cdp_session(page)


def heap(cdp: CDPSession) -> int:
    """Bytes of JavaScript's heap that are in use after garbage is collected."""
    for _ in range(2):
        cdp.send("HeapProfiler.collectGarbage")
    return int(cdp.send("Runtime.getHeapUsage")["usedSize"])


def python_memory(page: Page) -> int:
    """Bytes of Python's memory, which only ever grows."""
    return int(page.evaluate("python._module.HEAPU8.length"))


def pour(page: Page, flood: Flood, seconds: float) -> int:
    """Lets the machine change for so long, or until it has kept up; how many changes there have been in all."""
    wanted = flood.changes + seconds * 1000
    flood.runs.set()
    while flood.changes < wanted:
        page.wait_for_timeout(20)
    return flood.pause()


SECONDS = [4, pytest.param(60, marks=pytest.mark.nightly)]


@pytest.mark.parametrize("seconds", SECONDS)
def test_a_page_that_is_seen_keeps_up_and_its_memory_stays(
    page: Page, cdp: CDPSession, flood: Flood, seconds: float
) -> None:
    expect(page.locator("#p")).to_have_text(str(pour(page, flood, 1)))
    used, memory = heap(cdp), python_memory(page)
    expect(page.locator("#p")).to_have_text(str(pour(page, flood, seconds)))
    writes, drawn = page.evaluate("[writes, drawn]")
    assert 0 < writes <= drawn, "once a frame"
    assert heap(cdp) < used + 1_000_000
    assert python_memory(page) == memory


@pytest.mark.parametrize("seconds", SECONDS)
def test_a_page_that_is_not_drawn_catches_up_at_once_when_it_is_seen_again(
    page: Page, cdp: CDPSession, flood: Flood, seconds: float
) -> None:
    """Its frames are held back, as a browser does while a page is hidden."""
    before = pour(page, flood, 1)
    expect(page.locator("#p")).to_have_text(str(before))
    used, memory = heap(cdp), python_memory(page)
    page.evaluate(HOLD)
    changes = pour(page, flood, seconds)
    run(page, f"while client.netmach.tick('Hit') < {2 * changes - 1}: await asyncio.sleep(0.01)\nNone")
    assert page.locator("#p").inner_text() == str(before)
    page.evaluate(RELEASE)
    expect(page.locator("#p")).to_have_text(str(changes))
    assert page.evaluate("writes") == 1
    assert heap(cdp) < used + 1_000_000
    assert python_memory(page) == memory
