"""A page that Chromium has really frozen, or hidden, under a native machine that changes a thousand times a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncmachine_relay import Limits, Match, Relay, StaticRoot
from asyncmachine_web.build import pack, static_folder
from tests.web.browser import IMPORTS, serving, vendor_folder
from tests.web.devtools import Tab, tab
from tests.web.flood import Flood

PAGES = Path(__file__).parent / "pages"

SHOW = """
import js
from asyncmachine_web.page.lifecycle import lifecycle
from asyncmachine_web.page.ui import Page

class States(rpc.StateSource):
    Hit = am.state(multi=True)

js.document.body.innerHTML = '<p id="p"></p>'
client = rpc.Client(relay.dial("tab", "flood"), States)
client.start()
lifecycle().on_wake(client.retry_now)
await client.when_ready()
page = Page(am.Machine({}, id="page"))
page.bind("#p", client, text=lambda m: m.count("Hit"))
None
"""

WATCH = """(() => {
    window.told = [];
    for (const name of ["freeze", "resume"]) document.addEventListener(name, () => told.push(name));
    window.tasks = window.writes = 0;
    setInterval(() => { tasks += 1; }, 50);
    new MutationObserver((records) => (writes += records.length)).observe(p, { childList: true, characterData: true,
        subtree: true });
})()"""


@pytest.fixture
def flood() -> Flood:
    return Flood()


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
def shown(flood: Flood, limits: Limits, tmp_path: Path) -> Iterator[Tab]:
    pack(PAGES, ["workload.py", "jobs.py"], tmp_path / "sources.zip")
    static: list[StaticRoot] = [
        ("/pages/", PAGES),
        ("/built/", tmp_path),
        static_folder(),
        ("/vendor/", vendor_folder()),
    ]
    relay = Relay(static, dial=[Match("tab", "flood", flood.serve)], limits=limits)
    with serving(relay) as origin, tab(tmp_path / "kept") as page:
        page.open(f"{origin}/pages/python.html")
        page.wait_until("document.body?.id === 'python'")
        page.run(IMPORTS + "None")
        page.run(SHOW)
        page.evaluate(WATCH)
        yield page
        assert page.console == []
        page.run("await client.stop()\nNone")
        flood.stop()


def heap(page: Tab) -> int:
    """Bytes of JavaScript's heap that are in use after garbage is collected."""
    for _ in range(2):
        page.send("HeapProfiler.collectGarbage")
    return int(page.send("Runtime.getHeapUsage")["usedSize"])


def pour(flood: Flood, seconds: float) -> int:
    """Lets the machine change for so long, or until it has kept up; how many changes there have been in all."""
    wanted = flood.changes + seconds * 1000
    flood.runs.set()
    while flood.changes < wanted:
        time.sleep(0.02)
    return flood.pause()


@pytest.mark.parametrize("seconds", [20, *[pytest.param(many, marks=pytest.mark.nightly) for many in (40, 75)]])
def test_a_frozen_page_catches_up_at_once(shown: Tab, flood: Flood, seconds: float) -> None:
    """Chromium ends a WebSocket in which something has come meanwhile, when the page goes on: its session does, too.

    After some 45 s without an answer the relay has given the page up, and the machine goes on alone.
    """
    before = pour(flood, 1)
    shown.wait_until(f"p.innerText === '{before}'")
    used, memory, told = heap(shown), shown.evaluate("python._module.HEAPU8.length"), flood.statistics

    shown.freeze()
    tasks = shown.evaluate("writes = 0, tasks")
    changes = pour(flood, seconds)
    assert shown.evaluate("[tasks, told]") == [tasks, ["freeze"]], "it stood still"
    if seconds <= 40:
        after = flood.statistics
        assert after.frames_out - told.frames_out < (changes - before) / 5, "conflated"
        assert after.backlog <= told.backlog + 10

    shown.thaw()
    shown.run(f"while client.netmach.tick('Hit') < {2 * changes - 1}: await asyncio.sleep(0.01)\nNone")
    assert shown.evaluate("[p.innerText, writes]") == [str(before), 0], "nobody sees it yet"
    shown.show()
    shown.wait_until(f"p.innerText === '{changes}'")
    assert shown.evaluate("[told, writes]") == [["freeze", "resume"], 1]
    assert shown.run("json.dumps(client.statistics.drops)") <= 1
    assert shown.run("json.dumps(client.machine.tick('Exception'))") == 0
    assert shown.evaluate("python._module.HEAPU8.length") == memory
    assert heap(shown) < used + 1_000_000


@pytest.mark.parametrize(
    ("seconds", "limits"),
    [
        (15, Limits(ping=0.5, pong=2, idle=30)),
        # Chromium lets the timers of a page that has been hidden for five minutes go off once a minute.
        pytest.param(420, Limits(), marks=[pytest.mark.nightly, pytest.mark.timeout(600)]),
    ],
    ids=["pinged twice a second", "seven minutes"],
)
def test_a_hidden_page_stays_connected(shown: Tab, flood: Flood, seconds: float) -> None:
    before = pour(flood, 0.2)
    shown.wait_until(f"p.innerText === '{before}'")
    shown.hide()
    assert shown.evaluate("document.visibilityState") == "hidden"
    time.sleep(seconds)  # that nothing happens meanwhile is what is tried
    changes = pour(flood, 0.2)
    while shown.evaluate("python.runPython('client.netmach.tick(\"Hit\")')") < 2 * changes - 1:
        time.sleep(0.05)  # by this clock, not by the page's, which may be slow
    assert shown.evaluate("[document.visibilityState, told]") == ["hidden", []], "it was never frozen"
    assert shown.run("json.dumps(client.statistics.drops)") == 0
    assert shown.run("json.dumps(client.machine.tick('Exception'))") == 0
