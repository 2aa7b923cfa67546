"""A release and its service worker by themselves, in real Chromium without Python: kept whole, changed over to."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from asyncmachine_web.build import static_folder
from asyncmachine_web.build.site import _write_worker
from tests.web.browser import UNANSWERED, Mishaps

PAGE = """<!doctype html>
<title>A page that says its release</title>
<link rel="icon" href="data:,">
<h1>{release}</h1>
<p data-offline hidden>kept</p>
<p data-update hidden><button>Change over</button></p>
<script type="module" src="{release}/pwa.mjs"></script>
<script type="module">
  const phase = new URLSearchParams(location.search).get("phase") ?? "ready";
  dispatchEvent(new CustomEvent("asyncmachine:boot", {{ detail: {{ phase }} }}));
</script>
"""


LATER = ("vendor/pyodide/python_stdlib.zip", "vendor/wheels/msgspec-1-py3-none-any.whl")


class Site:
    """A directory as `am build` makes it, on a web server that knows what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "served"
        self.asked: list[str] = []
        self._made = folder / "made"
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *args: object) -> None: ...

            def log_request(self, *args: object) -> None:
                asked.append(f"{self.command} {self.path}")

            def send_head(self) -> Any:
                del self.headers["if-modified-since"]  # seconds are too coarse for releases of a test
                return super().send_head()

        handler = functools.partial(Handler, directory=str(self.folder))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread: threading.Thread | None = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def deploy(self, release: str, *, at_once: bool = False, spoilt: str = "") -> None:
        """Puts a release there. A file that is `spoilt` has other bytes than the release says."""
        made = self._made / release
        for name in ("pwa.mjs", "tab.mjs", "lifecycle.mjs"):
            (made / release).mkdir(parents=True, exist_ok=True)
            shutil.copy(static_folder() / name, made / release / name)
        (made / release / "large.txt").write_text("the same in every release")
        (made / release / "own.txt").write_text(release)
        for name in LATER:
            (made / release / name).parent.mkdir(parents=True, exist_ok=True)
            (made / release / name).write_text("needed by no start")
        (made / "index.html").write_text(PAGE.format(release=release))
        _write_worker(made, release, at_once=at_once)
        if spoilt:
            (made / spoilt).write_text("of another release")
        shutil.copytree(made, self.folder, dirs_exist_ok=True)

    def stop(self) -> None:
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._thread = None


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.deploy("r-1")
    yield site
    site.stop()


@pytest.fixture
def mishaps(site: Site) -> Mishaps:
    return Mishaps(site.address)


@pytest.fixture
def kept(page: Page, site: Site) -> Page:
    """A page whose release is kept."""
    page.goto(f"{site.address}/")
    expect(page.locator("[data-offline]")).to_be_visible()
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    return page


@pytest.mark.parametrize("why", ["a file is wrong", "there is no room"])
def test_a_page_whose_first_release_cannot_be_kept_says_so(page: Page, site: Site, mishaps: Mishaps, why: str) -> None:
    mishaps.expect("integrity|hash|ServiceWorker|Quota")
    if why == "a file is wrong":
        site.deploy("r-1", spoilt="r-1/own.txt")
    else:
        quota = {"origin": site.address, "quotaSize": 1}
        page.context.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", quota)
    with page.expect_console_message(lambda message: message.text.startswith("not available offline: ")) as told:
        page.goto(f"{site.address}/")
    assert "could not be installed" in told.value.text
    expect(page.locator("[data-offline]")).to_be_hidden()


UPDATE = """async () => {
    const registration = await navigator.serviceWorker.ready;
    await registration.update();
    while (registration.installing) await new Promise(requestAnimationFrame);
    return Boolean(registration.waiting);
}"""
"""Looks for a new release, and whether it was installed."""


def test_a_whole_release_is_kept_and_is_the_page_without_a_network(kept: Page, site: Site, mishaps: Mishaps) -> None:
    mishaps.expect(UNANSWERED)
    site.stop()
    for address in ("/", "/index.html"):
        kept.goto(site.address + address)
        expect(kept.locator("h1")).to_have_text("r-1")
    fetched = "(path) => fetch(path).then((answer) => answer.text(), () => null)"
    assert kept.evaluate(fetched, "r-1/own.txt") == "r-1"
    assert kept.evaluate(fetched, "r-2/own.txt") is None, "not of the release"


def test_what_no_start_needs_is_kept_when_somebody_stays(page: Page, site: Site, mishaps: Mishaps) -> None:
    page.clock.install()
    page.goto(f"{site.address}/")
    expect(page.locator("[data-offline]")).to_be_visible()
    page.clock.run_for(29_000)
    assert not asked_for(site, LATER)
    page.clock.run_for(1_000)
    page.evaluate(KEPT, [f"{site.address}/r-1/{name}" for name in LATER])
    assert asked_for(site, LATER) == [f"GET /r-1/{name}" for name in LATER], "each once"
    mishaps.expect(UNANSWERED)
    site.stop()
    assert page.evaluate(f"fetch('r-1/{LATER[0]}').then((answer) => answer.text())") == "needed by no start"


def test_what_no_start_needs_and_a_page_has_loaded_all_the_same_is_kept_at_once(
    page: Page, site: Site, mishaps: Mishaps
) -> None:
    """Else a page that imports more than the snapshot has would not start without a network."""
    page.goto(f"{site.address}/?phase=downloading")
    page.evaluate(f"fetch('r-1/{LATER[0]}').then((answer) => answer.text())")
    page.evaluate("dispatchEvent(new CustomEvent('asyncmachine:boot', { detail: { phase: 'ready' } }))")
    page.evaluate(KEPT, [f"{site.address}/r-1/{name}" for name in LATER])


def test_a_rest_that_cannot_be_had_is_asked_for_by_the_next_page(page: Page, site: Site, mishaps: Mishaps) -> None:
    mishaps.expect("404")
    page.clock.install()
    there = site.folder / "r-1" / LATER[0]
    content = there.read_bytes()
    there.unlink()
    page.goto(f"{site.address}/")
    expect(page.locator("[data-offline]")).to_be_visible()
    page.clock.run_for(30_000)
    page.evaluate(KEPT, [f"{site.address}/r-1/{LATER[1]}"])
    there.write_bytes(content)
    page.reload()
    expect(page.locator("[data-offline]")).to_be_visible()
    page.clock.run_for(30_000)
    page.evaluate(KEPT, [f"{site.address}/r-1/{name}" for name in LATER])


def asked_for(site: Site, names: tuple[str, ...]) -> list[str]:
    return [line for line in site.asked if line.endswith(names)]


KEPT = "async (all) => { while (!(await Promise.all(all.map((one) => caches.match(one)))).every(Boolean)); }"
"""Returns when all of these are kept."""


def test_what_changes_something_and_what_is_not_of_the_release_goes_to_the_server(
    kept: Page, site: Site, mishaps: Mishaps
) -> None:
    mishaps.expect("404|501")
    site.asked.clear()
    assert kept.evaluate("fetch('index.html', { method: 'POST' }).then((answer) => answer.status)") == 501
    assert kept.evaluate("fetch('data.json').then((answer) => answer.status)") == 404
    assert [line for line in site.asked if "sw.mjs" not in line] == ["POST /index.html", "GET /data.json"]


@pytest.mark.parametrize("spoilt", ["r-2/own.txt", "index.html"])
def test_a_release_of_which_one_file_is_wrong_is_not_taken_and_leaves_nothing(
    kept: Page, site: Site, mishaps: Mishaps, spoilt: str
) -> None:
    mishaps.expect("integrity|hash|ServiceWorker")
    site.deploy("r-2", spoilt=spoilt)
    assert kept.evaluate(UPDATE) is False
    kept.reload()
    expect(kept.locator("h1")).to_have_text("r-1")
    assert kept.evaluate("caches.keys()") == ["asyncmachine / r-1"]


def test_what_two_releases_share_is_not_fetched_again(kept: Page, site: Site) -> None:
    site.deploy("r-2")
    site.asked.clear()
    assert kept.evaluate(UPDATE) is True
    assert "GET /r-2/own.txt" in site.asked
    assert "GET /r-2/large.txt" not in site.asked
    kept.locator("[data-update] button").click()
    expect(kept.locator("h1")).to_have_text("r-2")
    assert kept.evaluate("fetch('r-2/large.txt').then((answer) => answer.text())") == "the same in every release"
    assert "GET /r-2/large.txt" not in site.asked


def test_a_new_release_waits_for_a_click_and_then_has_every_page(kept: Page, site: Site) -> None:
    second = kept.context.new_page()
    second.goto(f"{site.address}/")
    site.deploy("r-2")
    assert kept.evaluate(UPDATE) is True
    for each in (kept, second):
        expect(each.locator("[data-update]")).to_be_visible()
    second.reload()
    expect(second.locator("h1")).to_have_text("r-1")
    kept.locator("[data-update] button").click()
    for each in (kept, second):
        expect(each.locator("h1")).to_have_text("r-2")
        expect(each.locator("[data-update]")).to_be_hidden()
    gone = "async () => { while ((await caches.keys()).length > 1) await new Promise(requestAnimationFrame); }"
    kept.evaluate(gone)
    assert kept.evaluate("caches.keys()") == ["asyncmachine / r-2"]


def test_a_release_that_is_to_be_taken_at_once_asks_nobody(kept: Page, site: Site) -> None:
    site.deploy("r-2", at_once=True)
    kept.evaluate("navigator.serviceWorker.ready.then((registration) => void registration.update())")
    expect(kept.locator("h1")).to_have_text("r-2")


def test_a_page_asks_for_a_new_release_when_somebody_looks_at_it(kept: Page, site: Site) -> None:
    site.deploy("r-2")
    kept.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(kept.locator("[data-update]")).to_be_visible()


def test_a_page_whose_python_does_not_start_is_kept_only_if_it_was_before(page: Page, site: Site) -> None:
    """A release that never worked is not worth it; one that is kept must not keep a better one away."""
    page.goto(f"{site.address}/?phase=failed")
    assert page.evaluate("navigator.serviceWorker.getRegistrations().then((found) => found.length)") == 0
    page.goto(f"{site.address}/")
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    site.deploy("r-2")
    page.goto(f"{site.address}/?phase=failed")
    page.locator("[data-update] button").click()
    expect(page.locator("h1")).to_have_text("r-2")
