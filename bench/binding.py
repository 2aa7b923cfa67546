"""What a thousand bound nodes cost in real Chromium: `python -m bench.binding`.

A frame's work is measured as the page does it, without the wait for the frame: Python evaluates and makes the batch,
JavaScript writes it, and the browser lays the document out. Beside it: the same writes by proxy, one call a node.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from statistics import median

from playwright.sync_api import Page, sync_playwright

from asyncmachine_relay import Relay
from asyncmachine_web.build import static_folder
from bench.report import Row, main, row
from tests.web.browser import CHROMIUM, FLAGS, run, serving

NODES = 1000
TURNS = 40
WARM_UP = 100

PAGE = (
    '<!doctype html><title>bench</title><link rel="icon" href="data:,"><script type="module" src="python.mjs"></script>'
)
BOOT = 'import { loadPyodide } from "./boot.mjs"; window.python = await loadPyodide(); document.body.id = "python";'

# As the relay sends them: an isolated page has a clock of 5 µs.
HEADERS = {
    "content-type": "text/html",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
}

MOUNT = f"""
import json, js
import asyncmachine as am
from asyncmachine_web.page.ui import Page

names = [f"S{{i}}" for i in range({NODES})]
machine = am.Machine({{name: {{"multi": True}} for name in names}}, id="bench")
page = Page(machine)
js.document.body.innerHTML = "".join(f'<p id="{{name}}"></p>' for name in names)
elements = [js.document.getElementById(name) for name in names]

def bound(name):
    return lambda m: f"{{name}} {{m.tick(name)}}"

for name in names:
    page.bind(f"#{{name}}", text=bound(name))

def by_proxy(names):
    for name in names:
        elements[int(name[1:])].textContent = f"{{name}} {{machine.tick(name)}}"

None
"""

# The page asks for a frame; here it is drawn when the bench says so.
HOLD = "() => { window.requestAnimationFrame = (callback) => { window.draw = callback; return 1; }; }"
DRAW = "() => { draw(performance.now()); document.body.offsetHeight; }"
BY_PROXY = "change => { python.runPython(`by_proxy(${change})`); document.body.offsetHeight; }"


def rows() -> Iterator[Row]:
    """Frames in which all nodes change, and one."""
    with serving(Relay([static_folder()])) as origin, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.route("**/bench.html", lambda route: route.fulfill(body=PAGE, headers=HEADERS))
        page.route("**/python.mjs", lambda route: route.fulfill(body=BOOT, content_type="text/javascript"))
        page.goto(f"{origin}/bench.html")
        page.wait_for_selector("#python", state="attached")
        page.evaluate(HOLD)
        run(page, MOUNT)
        for what, change, aim in (("all", "names", "ours <= 8"), ("one", "['S7']", "ours <= 1")):
            ours, proxy = (milliseconds(page, change, by_proxy) for by_proxy in (False, True))
            yield row(f"{NODES} bound nodes, {what} changed", "ms", ours, peers={"proxy": proxy}, aim=aim)
        browser.close()


def milliseconds(page: Page, change: str, by_proxy: bool) -> float:
    """The median of one frame's work, in time of the page's own thread: other programs do not count."""
    cdp = page.context.new_cdp_session(page)
    cdp.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        metrics = {metric["name"]: metric["value"] for metric in cdp.send("Performance.getMetrics")["metrics"]}
        return float(metrics["ScriptDuration"] + metrics["LayoutDuration"] + metrics["RecalcStyleDuration"])

    times = []
    for _ in range(WARM_UP + TURNS):
        page.evaluate("change => python.runPython(`machine.add(${change}); None`)", change)
        page.evaluate("new Promise(done => setTimeout(done))")
        begin = spent()
        page.evaluate(BY_PROXY, change) if by_proxy else page.evaluate(DRAW)
        times.append((spent() - begin) * 1000)
        if by_proxy:
            page.evaluate(DRAW)
    cdp.detach()
    return median(times[WARM_UP:])


if __name__ == "__main__":
    sys.exit(main("binding", rows))
