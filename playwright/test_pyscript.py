"""The example's four pages: each way into a page, and none of them asks another host for anything."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from asyncmachine_relay import Match, Relay, Tunnel
from asyncmachine_web.build import static_folder
from examples.pyscript.__main__ import PAGE, relay
from tests.web.browser import Mishaps, serving
from tests.web.looks import check_looks, tab_to


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(relay()) as found:
        yield f"{found}/pyscript"


@pytest.fixture
def mishaps(address: str) -> Mishaps:
    return Mishaps(address.removesuffix("/pyscript"))


def used_a_snapshot(mishaps: Mishaps) -> bool:
    asked = [url.rpartition("/")[2] for url in mishaps.requests]
    assert ("python.snapshot" in asked) != ("python_stdlib.zip" in asked)
    return "python.snapshot" in asked


@pytest.mark.parametrize("name", ["main", "bare", "micropip"])
def test_a_page_follows_its_machine_and_keys_alone_will_do(
    page: Page, address: str, mishaps: Mishaps, name: str
) -> None:
    page.goto(f"{address}/{name}.html")
    light = page.locator("#light")
    expect(light).to_have_text("Red")
    tab_to(page, page.locator("#step"))
    for colour, key in (("Green", "Space"), ("Yellow", "Enter"), ("Red", "Space"), ("Green", "Enter")):
        page.keyboard.press(key)
        expect(light).to_have_text(colour)
        expect(light).to_have_attribute("data-colour", colour)
    expect(page.locator("#steps")).to_have_text("4")
    check_looks(page)
    assert used_a_snapshot(mishaps) == (name == "main")


def test_a_machine_in_pyscripts_worker_serves_the_page(page: Page, address: str, mishaps: Mishaps) -> None:
    page.goto(f"{address}/worker.html")
    expect(page.locator("#ready #light")).to_have_text("Red")
    tab_to(page, page.locator("#step"))
    for colour, key in (("Green", "Space"), ("Yellow", "Enter")):
        page.keyboard.press(key)
        expect(page.locator("#light")).to_have_text(colour)
    check_looks(page)
    assert used_a_snapshot(mishaps)


ASKS = """
from asyncmachine_web.page import relay
from asyncmachine_web.page.expressions import duration
from asyncmachine_web.page.pool import Pool
from pyscript import window

tunnel = await relay.dial("worker", "echo")()
await tunnel.send(b"hello")
told = f"{(await tunnel.recv()).decode()}, {await Pool(1).run(duration, 120.0)}"
window.document.querySelector("#light").textContent = told
"""


async def echo(tunnel: Tunnel) -> None:
    await tunnel.transport.send(await tunnel.transport.recv())


def test_pyscripts_worker_has_tunnels_and_workers_too(page: Page, mishaps: Mishaps) -> None:
    dial = [Match("worker", target="echo", serve=echo)]
    with serving(Relay([("/pyscript/", PAGE), static_folder()], dial=dial, csp={"/pyscript/": "pyscript"})) as found:
        mishaps._own = found
        page.route("**/worker.py", lambda route: route.fulfill(body=ASKS))
        page.goto(f"{found}/pyscript/worker.html")
        expect(page.locator("#light")).to_have_text("hello, 2 min")
        page.goto("about:blank")


@pytest.mark.parametrize(
    ("name", "lost", "end"),
    [
        ("main", "boot.mjs", "Failed to fetch dynamically imported module"),
        ("main", "pyscript.json", "PY0404"),
        ("main", "light.py", "Unable to fetch"),
        ("main", "pyodide.asm.wasm", "Python did not start"),
        ("main", "pyodide.mjs", "Python did not start"),
        ("main", "python.snapshot|python_stdlib.zip", "Python did not start"),
        ("worker", "pyscript.toml", "PY0404"),
        ("worker", "pyodide.mjs", "Python did not start"),
        ("worker", "python.snapshot|python_stdlib.zip", "Python did not start"),
        ("bare", "pyodide-lock.json", "Unexpected end of JSON input"),  # Pyodide tells it up to three times
        ("bare", "python_stdlib.zip", "unhandled: ExitStatus"),
        ("bare", "msgspec-.*whl", "The light is Red"),
        ("micropip", "asyncmachine-.*whl", "BadZipFile"),
        ("micropip", "msgspec-.*whl", "The light is Red"),
        ("micropip", "micropip-.*whl", "pyodide.loadPackage"),
    ],
)
def test_a_page_that_misses_a_file_asks_nobody_else(
    page: Page, address: str, mishaps: Mishaps, name: str, lost: str, end: str
) -> None:
    """Until it has given up, or does without."""
    mishaps.expect(".*")
    refused: list[str] = []

    def refuse(route: Route) -> None:
        refused.append(route.request.url)
        route.fulfill(status=404)

    page.context.route(re.compile(f"/({lost})$"), refuse)
    page.goto(f"{address}/{name}.html")
    mishaps.wait_until_told(page, end)
    assert {found for url in refused for found in lost.split("|") if re.search(found, url)} == {*lost.split("|")}
    assert mishaps.elsewhere == []
