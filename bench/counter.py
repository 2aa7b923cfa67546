"""A small counter page, made three ways: with ours, with PyScript alone, and with PuePy, a framework on PyScript.

All three are on PyScript, self-hosted, with the same runtime; PuePy is without its optional morphdom. The page's own
HTML is painted before any Python is there; ready is when the first number stands there. An update is from a click to
the next number in the document: ours waits for the frame in which it is painted, others may write at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import files
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, sync_playwright

from asyncmachine_relay import Relay, StaticRoot
from asyncmachine_web.build import pack, static_folder
from bench.report import Row, main, row, turns
from tests.web.browser import CHROMIUM, FLAGS, serving

PAGES = Path(__file__).parent / "pages"
NAMES = {"ours": "ours", "PyScript alone": "plain", "PuePy": "puepy"}
ROUNDS, ROUNDS_SECONDS = 3, 25.0
CLICKS, WARM_UP = 40, 10
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
READY = "performance.getEntriesByName('python ready')[0]?.startTime"


def rows() -> Iterator[Row]:
    """First paint, ready and update, by turns."""
    found: dict[str, dict[str, list[float]]] = {}
    with TemporaryDirectory() as built, sync_playwright() as playwright:
        pack(folder_of("puepy"), ["puepy"], Path(built) / "puepy.zip")
        static: list[StaticRoot] = [("/bench/", PAGES), ("/built/", built), static_folder()]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with serving(Relay(static, csp={"/bench/pyscript": "pyscript"})) as origin:
            for turn in turns(ROUNDS, ROUNDS_SECONDS):
                order = [*NAMES.items()]
                for name, page in order[turn:] + order[:turn]:
                    for what, times in visits(browser, f"{origin}/bench/pyscript-counter-{page}.html"):
                        found.setdefault(what, {}).setdefault(name, []).extend(times)
        browser.close()
    for what, each in found.items():
        medians = {name: median(times) for name, times in each.items()}
        yield row(f"counter page, {what}", "ms", medians.pop("ours"), peers=medians)


def folder_of(package: str) -> Path:
    """Where an installed package's folder is, without importing what only a browser can."""
    (module,) = (file for file in files(package) or () if file.parts == (package, "__init__.py"))
    return Path(str(module.locate())).parents[1]


def visits(browser: Browser, address: str) -> Iterator[tuple[str, list[float]]]:
    """A first visit of a browser without any cache, a second one, and clicks."""
    context = browser.new_context()
    context.set_default_timeout(120_000)
    page = context.new_page()
    for when in ("cold", "warm"):
        page.goto(address)
        ready = wait_for(page, READY)
        yield f"first paint, {when}", [wait_for(page, FIRST_PAINT)]
        yield f"ready, {when}", [ready]
    yield "update", page.evaluate("count => clicks(count)", CLICKS)[WARM_UP:]
    context.close()


def wait_for(page: Page, expression: str) -> float:
    while (at := page.evaluate(expression)) is None:
        page.wait_for_timeout(20)
    return float(at)


if __name__ == "__main__":
    sys.exit(main("counter", rows))
