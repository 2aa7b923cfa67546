"""The example's four pages: each way into a page, and none of them asks another host for anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from examples.pyscript.__main__ import relay
from tests.web.browser import Mishaps, serving
from tests.web.looks import check_looks, tab_to


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(relay()) as found:
        yield f"{found}/pyscript"


@pytest.fixture
def mishaps(address: str) -> Mishaps:
    return Mishaps(address.removesuffix("/pyscript"))


@pytest.mark.parametrize("name", ["main", "bare", "micropip"])
def test_a_page_follows_its_machine_and_keys_alone_will_do(page: Page, address: str, name: str) -> None:
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


def test_a_machine_in_pyscripts_worker_serves_the_page(page: Page, address: str) -> None:
    page.goto(f"{address}/worker.html")
    expect(page.locator("#ready #light")).to_have_text("Red")
    tab_to(page, page.locator("#step"))
    for colour, key in (("Green", "Space"), ("Yellow", "Enter")):
        page.keyboard.press(key)
        expect(page.locator("#light")).to_have_text(colour)
    check_looks(page)


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("main", "**/boot.mjs"),
        ("main", "**/pyscript.json"),
        ("main", "**/light.py"),
        ("main", "**/pyodide.asm.wasm"),
        ("worker", "**/pyscript.toml"),
        ("bare", "**/pyodide-lock.json"),
        ("bare", "**/msgspec-*.whl"),
        ("micropip", "**/asyncmachine-*.whl"),
        ("micropip", "**/msgspec-*.whl"),
        ("micropip", "**/micropip-*.whl"),
    ],
)
def test_a_page_that_fails_asks_nobody_else(page: Page, address: str, mishaps: Mishaps, name: str, lost: str) -> None:
    mishaps.expect(".*")
    refused: list[str] = []

    def refuse(route: Route) -> None:
        refused.append(route.request.url)
        route.fulfill(status=404)

    page.context.route(lost, refuse)
    page.goto(f"{address}/{name}.html")
    with page.expect_event("console", lambda message: bool(refused)):
        pass
    page.wait_for_load_state("networkidle")
    assert not mishaps.foreign
