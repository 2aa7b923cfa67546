"""A native machine that changes a thousand times a second: in a page that is seen, and in one that is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import CDPSession, Page, expect

from asyncmachine_relay import Match, Relay, StaticRoot
from asyncmachine_web.build import pack, static_folder
from tests.web.browser import Mishaps, open_python, run, serving, vendor_folder
from tests.web.flood import Flood

PAGES = Path(__file__).parent / "pages"


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
        flood.stop()


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


@pytest.mark.parametrize("seconds", [20, pytest.param(40, marks=pytest.mark.nightly)])
def test_a_page_that_stands_still_is_not_cut_off_and_catches_up_at_once(
    page: Page, cdp: CDPSession, flood: Flood, seconds: float
) -> None:
    """No script of it runs, as under a debugger. What Chromium does to frozen pages is in `test_frozen.py`."""
    expect(page.locator("#p")).to_have_text(str(pour(page, flood, 1)))
    used, memory, told = heap(cdp), python_memory(page), flood.statistics
    page.evaluate("writes = drawn = 0")
    cdp.send("Debugger.enable")
    cdp.send("Debugger.pause")
    changes = pour(page, flood, seconds)
    cdp.send("Debugger.resume")
    expect(page.locator("#p")).to_have_text(str(changes))
    writes, drawn = page.evaluate("[writes, drawn]")
    assert 0 < writes <= drawn < 100, "of what it missed little is drawn"
    assert run(page, "json.dumps([client.machine.tick('Connected'), client.machine.tick('Exception')])") == [1, 0]
    assert heap(cdp) < used + 1_000_000
    assert python_memory(page) == memory
    after = flood.statistics
    pushes = after.frames_out - told.frames_out
    print(f"{pushes} frames, {after.bytes_out - told.bytes_out} bytes; {writes} writes in {drawn} frames")
    assert pushes < seconds * 1000 / 5, "conflated"
    assert after.backlog <= told.backlog + 10
