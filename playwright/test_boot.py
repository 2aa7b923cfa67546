"""Python starts in a page: bare, under PyScript, and when something is wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.web.browser import Mishaps

COUNTERS = ["/pages/bare-counter.html", "/pages/pyscript-counter.html"]
PHASES = ["downloading runtime", "starting Python", "loading packages", "ready"]
RECORD = "window.phases = []; addEventListener('asyncmachine:boot', e => phases.push(e.detail.phase))"


@pytest.mark.parametrize("address", COUNTERS)
def test_phases_are_told_in_order_and_marked(page: Page, address: str) -> None:
    page.add_init_script(RECORD)
    page.goto(address)
    expect(page.locator("#badge")).to_have_text("0 clicks")
    assert page.evaluate("phases") == PHASES
    marks = "performance.getEntriesByType('mark').map(m => m.name).filter(n => n.startsWith('asyncmachine:'))"
    assert page.evaluate(marks) == [f"asyncmachine:{phase}" for phase in PHASES]
    expect(page.locator("[data-boot=error]")).to_be_hidden()
    assert page.evaluate("crossOriginIsolated") is True


def test_the_version_we_tell_pyscript_is_the_one_we_load(page: Page) -> None:
    page.goto("/pages/bare-counter.html")
    told, loaded = page.evaluate(
        "Promise.all([import('/boot.mjs'), import('/vendor/pyodide/pyodide.mjs')]).then(all => all.map(m => m.version))"
    )
    assert told == loaded


def test_a_failed_boot_gets_one_more_try(page: Page, mishaps: Mishaps) -> None:
    """The wasm file is missing at first."""
    mishaps.expect("503")
    mishaps.expect("wasm instantiation failed|answered 503")
    failed: list[str] = []

    def fail_once(route: Route) -> None:
        if failed:
            route.continue_()
        else:
            failed.append(route.request.url)
            route.fulfill(status=503)

    page.route("**/*.wasm", fail_once)
    page.add_init_script(RECORD)
    page.goto("/pages/bare-counter.html")
    expect(page.locator("#badge")).to_have_text("0 clicks")
    assert page.evaluate("phases") == ["downloading runtime", "retrying", *PHASES]


def test_a_boot_that_fails_twice_says_why(page: Page, mishaps: Mishaps) -> None:
    mishaps.expect("404|wasm instantiation failed|answered 404|did not start")
    page.route("**/*.wasm", lambda route: route.fulfill(status=404))
    page.goto("/pages/bare-counter.html")
    expect(page.locator("[data-boot=error]")).to_have_text(
        re.compile(r"Python did not start \(downloading runtime\): .*pyodide\.asm\.wasm answered 404.*Reload the page")
    )


def test_a_wrong_media_type_is_named_and_does_not_hang(page: Page, mishaps: Mishaps) -> None:
    mishaps.expect("wasm instantiation failed|must be application/wasm")

    def mislabel(route: Route) -> None:
        route.fulfill(response=route.fetch(), content_type="text/plain")

    page.route("**/*.wasm", mislabel)
    page.goto("/pages/bare-counter.html")
    expect(page.locator("[data-boot=error]")).to_contain_text("as text/plain, it must be application/wasm")


def test_a_boot_that_hangs_is_ended_by_its_time_out(page: Page, mishaps: Mishaps) -> None:
    """Both tries; the settings give them half a second each."""
    mishaps.expect("did not start")
    page.route("**/python_stdlib.zip", lambda route: None)
    page.goto("/pages/bare-slow.html")
    expect(page.locator("[data-boot=error]")).to_contain_text("no result within 0.5 s")


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("**/sources.zip", r"sources\.zip answered 404"),
        ("**/asyncmachine-*.whl", "asyncmachine could not be loaded"),
        ("**/pyodide-lock.json", r"pyodide-lock\.json answered 404"),
    ],
)
def test_missing_files_are_named(page: Page, mishaps: Mishaps, lost: str, message: str) -> None:
    mishaps.expect("404|did not start|integrity")
    page.route(lost, lambda route: route.fulfill(status=404))
    page.goto("/pages/bare-counter.html")
    expect(page.locator("[data-boot=error]")).to_have_text(re.compile(message))


def test_a_missing_boot_module_is_named(page: Page, mishaps: Mishaps) -> None:
    mishaps.expect("404")
    page.route("**/boot.mjs", lambda route: route.fulfill(status=404))
    page.goto("/pages/bare-counter.html")
    expect(page.locator("[data-boot=error]")).to_contain_text("page.mjs could not be loaded")


@pytest.mark.parametrize("config", ["nowhere.json", '{"interpreter": "./nowhere.mjs"}', "{", "{}"])
def test_pyscript_with_a_broken_configuration_asks_nobody_else(
    page: Page, mishaps: Mishaps, base_url: str, config: str
) -> None:
    """PyScript falls back to a public server when it has no interpreter; our pages keep that from happening."""
    mishaps.expect(".*")
    broken = "pyscript-counter.html"

    def rewrite(route: Route) -> None:
        response = route.fetch()
        html = re.sub(r"config='[^']*'", lambda _: f"config='{config}'", response.text())
        route.fulfill(response=response, body=html)

    page.route(f"**/{broken}", rewrite)
    asked: list[str] = []
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.requestWillBeSent", lambda event: asked.append(event["request"]["url"]))
    page.goto(f"/pages/{broken}")
    page.wait_for_load_state("networkidle")
    assert all(url.startswith((base_url, "data:", "blob:")) for url in asked), asked
    assert page.locator("#badge").inner_text() == "" or config == "{}"


def test_python_runs_with_our_packages_only(page: Page) -> None:
    page.goto("/pages/bare-counter.html")
    expect(page.locator("#badge")).to_have_text("0 clicks")
    requested: list[Any] = page.evaluate("performance.getEntriesByType('resource').map(r => new URL(r.name).pathname)")
    assert any(path.endswith("/sources.zip") for path in requested)
    wheels = sorted(path.rsplit("/", 1)[1].split("-")[0] for path in requested if path.endswith(".whl"))
    assert wheels == ["asyncmachine", "msgspec"]
