"""The dashboard in real Chromium: what it shows, what can be done, without a network, for everybody."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error, Page, expect

import asyncmachine as am
from asyncmachine_relay import bind
from asyncmachine_relay.admission import Authorize, own_machine
from asyncmachine_relay.policy import Reason, Refused
from examples.dashboard.app import App
from examples.dashboard.jobs import QueueHandlers
from examples.dashboard.states import Queue, Wanted
from tests.web.browser import ON_HOLD, UNANSWERED, Mishaps, come_back
from tests.web.devtools import tab
from tests.web.looks import A_SECOND, FRAMES_UNTIL_STALE, check_looks, moving


class Native:
    """The dashboard's process, on a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stop = asyncio.Event()
        self.started: Future[App] = Future()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        self.app = self.started.result()

    def run(self) -> None:
        try:
            self.loop.run_until_complete(self.serve())
        except BaseException as error:
            if self.started.done():
                raise
            self.started.set_exception(error)  # or the test would wait for ever

    async def serve(self) -> None:
        async with App(bind(), QueueHandlers(step=0.02, unlucky=0)) as app:
            self.started.set_result(app)
            await self.stop.wait()

    def call(self, function: Callable[[], Any]) -> Any:
        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result()

    def add(self, title: str, steps: int = 10) -> None:
        self.call(lambda: self.app.machine.add(Queue.AddJob, Wanted(title, steps)) and None)

    def end(self) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.stop.set)
            self.thread.join()


@pytest.fixture
def native() -> Iterator[Native]:
    running = Native()
    yield running
    running.end()
    running.loop.close()


@pytest.fixture
def mishaps(native: Native) -> Mishaps:
    return Mishaps(native.app.address.rstrip("/"))


@pytest.fixture
def dashboard(page: Page, native: Native) -> Page:
    page.add_init_script(FRAMES_UNTIL_STALE)
    page.goto(native.app.address)
    expect(page.locator("#link")).to_have_text("live")
    return page


def test_the_page_follows_the_queue(dashboard: Page, native: Native) -> None:
    expect(dashboard.locator("#open")).to_have_class("badge on")
    expect(dashboard.locator("#none")).to_be_visible()
    dashboard.locator("label.switch").click()
    expect(dashboard.locator("#paused")).to_have_class("badge on")
    for title in ("one", "<b>two</b>"):
        native.add(title)
    expect(dashboard.locator("#jobs .title")).to_have_text(["<b>two</b>", "one"])
    expect(dashboard.locator("#jobs .word")).to_have_text(["waiting", "waiting"])
    expect(dashboard.locator("#busy")).to_have_class("badge")
    dashboard.locator("label.switch").click()
    expect(dashboard.locator("#jobs .word")).to_have_text(["done", "done"])
    expect(dashboard.locator("#progress")).to_have_attribute("value", "1.0")
    expect(dashboard.locator("#finished")).to_have_text("2")
    expect(dashboard.locator("#summary")).to_contain_text("ended within")
    assert dashboard.locator("#chart canvas").count() == 1


def test_keys_alone_will_do(dashboard: Page) -> None:
    dashboard.keyboard.press("Tab")
    expect(dashboard.locator("#pause")).to_be_focused()
    dashboard.keyboard.press("Space")
    expect(dashboard.locator("#paused")).to_have_class("badge on")
    dashboard.keyboard.press("Tab")
    expect(dashboard.locator("#title")).to_be_focused()  # nothing waits that could be forgotten
    dashboard.keyboard.type("by keys")
    dashboard.keyboard.press("Enter")
    expect(dashboard.locator("#jobs .title")).to_have_text(["by keys"])
    expect(dashboard.locator("#title")).to_have_value("")
    dashboard.keyboard.press("Shift+Tab")
    expect(dashboard.locator("#clear")).to_be_focused()
    dashboard.keyboard.press("Enter")
    expect(dashboard.locator("#jobs .word")).to_have_text(["failed"])


def test_a_refusal_is_told_in_the_form(dashboard: Page) -> None:
    dashboard.locator("#title").fill("   ")
    dashboard.keyboard.press("Enter")
    expect(dashboard.locator("[data-message]")).to_have_text("The queue does not take this job now.")
    expect(dashboard.locator("#add")).to_have_attribute("data-state", "refused")


def test_a_job_that_breaks_in_a_handler_has_failed_and_is_not_called_impossible(
    dashboard: Page, native: Native
) -> None:
    """What the error says is the server's own business."""

    def broken(_: am.Event) -> None:
        raise OSError("no room in /srv/queue")

    native.call(lambda: native.app.machine.bind({"AddJobState": broken}) and None)
    dashboard.locator("#title").fill("one")
    dashboard.keyboard.press("Enter")
    expect(dashboard.locator("#add")).to_have_attribute("data-state", "failed")
    expect(dashboard.locator("[data-message]")).to_have_text("Something went wrong, and this did not work.")
    expect(dashboard.locator("#title")).to_have_value("one")
    assert "/srv/queue" not in dashboard.content()
    dashboard.locator("#title").fill("   ")
    dashboard.keyboard.press("Enter")
    expect(dashboard.locator("#add")).to_have_attribute("data-state", "refused")


def refuse(native: Native, authorize: Authorize) -> None:
    """Whoever asks for a tunnel from now on is answered so."""
    native.app.relay._admission._authorize = authorize


def test_a_page_that_is_refused_for_good_says_why_and_that_it_does_not_try_again(
    page: Page, native: Native, mishaps: Mishaps
) -> None:
    mishaps.expect("401")
    asked = []
    refuse(native, lambda request: asked.append(request))
    page.goto(native.app.address)
    expect(page.locator("#link")).to_have_text("refused")
    expect(page.locator("#refused")).to_have_text(
        "No connection: you have to log in first. "
        "This is not tried again by itself: reload the page once it can work. (AUTH: log in first)"
    )
    assert len(asked) == 3
    refuse(native, own_machine)
    page.evaluate("for (const what of ['offline', 'online']) dispatchEvent(new Event(what))")  # or somebody looks again
    expect(page.locator("#link")).to_have_text("live")
    expect(page.locator("#refused")).to_be_hidden()


def test_a_page_that_is_refused_for_now_says_so_and_goes_on_by_itself(
    page: Page, native: Native, mishaps: Mishaps
) -> None:
    mishaps.expect("429")

    def busy(_: object) -> None:
        raise Refused(Reason.LIMIT, "the relay has 512 tunnels; try again later")

    refuse(native, busy)
    page.goto(native.app.address)
    expect(page.locator("#refused")).to_have_text(
        "No connection: the server is asked for too much just now. "
        "This is tried again every few seconds. (LIMIT: the relay has 512 tunnels; try again later)"
    )
    refuse(native, own_machine)
    expect(page.locator("#link")).to_have_text("live")
    expect(page.locator("#refused")).to_be_hidden()


@pytest.mark.parametrize(("status", "told"), [(401, "you have to log in first"), (403, "you may not connect here")])
def test_a_refusal_of_a_proxy_is_told_too(page: Page, native: Native, mishaps: Mishaps, status: int, told: str) -> None:
    """Its words are none of ours."""
    mishaps.expect(str(status))
    page.route("**/token", lambda route: route.fulfill(status=status, body="<html>The gateway says no"))
    page.goto(native.app.address)
    expect(page.locator("#refused")).to_contain_text(told)
    expect(page.locator("#refused")).to_contain_text("not tried again")


HOLD = """
const compile = WebAssembly.compileStreaming;
WebAssembly.compileStreaming = async (...given) => {
    await new Promise((done) => (window.release = done));
    return compile.apply(WebAssembly, given);
};
"""
"""Python does not start before the test says `release()`."""


def test_what_was_typed_before_python_listened_wins_over_the_draft_and_becomes_it(
    dashboard: Page, native: Native
) -> None:
    draft = dashboard.locator("#draft")
    dashboard.locator("#title").fill("half a thought")
    dashboard.locator("#steps").fill("3")
    expect(draft).to_have_attribute("data-kept", re.compile(r"\d"))
    expect(draft).to_be_visible()
    dashboard.add_init_script(HOLD)
    dashboard.reload()
    dashboard.wait_for_function("() => window.release !== undefined")
    dashboard.locator("#title").fill("a better one")
    dashboard.evaluate("release()")
    expect(draft).to_be_visible()
    expect(dashboard.locator("#title")).to_have_value("a better one")
    expect(dashboard.locator("#steps")).to_have_value("3")
    dashboard.reload()
    dashboard.wait_for_function("() => window.release !== undefined")
    dashboard.evaluate("release()")
    expect(draft).to_be_visible()
    expect(dashboard.locator("#title")).to_have_value("a better one")


def test_a_draft_outlives_a_reload_and_a_crash(dashboard: Page, native: Native) -> None:
    draft = dashboard.locator("#draft")
    dashboard.locator("#title").fill("half a thought")
    expect(draft).to_be_visible()
    dashboard.reload()
    expect(dashboard.locator("#title")).to_have_value("half a thought")
    expect(draft).to_be_visible()
    dashboard.locator("#steps").fill("3")
    expect(draft).to_have_attribute("data-kept", "3")
    with dashboard.expect_event("crash"), pytest.raises(Error, match="crash"):
        dashboard.goto("chrome://crash")

    again = dashboard.context.new_page()
    again.goto(native.app.address)
    expect(again.locator("#title")).to_have_value("half a thought")
    expect(again.locator("#steps")).to_have_value("3")
    expect(again.locator("#link")).to_have_text("live")
    again.locator("#title").press("Enter")
    expect(again.locator("#jobs .title")).to_have_text(["half a thought"])
    expect(again.locator("#title")).to_have_value("")
    expect(again.locator("#steps")).to_have_value("10")
    expect(again.locator("#draft")).to_be_hidden()


def test_a_page_that_comes_back_says_no_more_that_its_draft_is_kept_when_another_has_it(
    caching: Page, native: Native, mishaps: Mishaps
) -> None:
    mishaps.expect("in memory only: TakenOver|404")  # Chromium looks for a favicon of the image
    second = caching.context.new_page()
    for page, text in ((caching, "half a thought"), (second, "another")):
        page.goto(native.app.address)
        expect(page.locator("#link")).to_have_text("live")
        page.locator("#title").fill(text)
        expect(page.locator("#draft")).to_be_visible()
        if page is caching:
            expect(page.locator("[data-offline]")).to_be_visible()  # what still loads something is not kept
            page.goto(f"{native.app.address}icon.svg")
    come_back(caching)
    expect(caching.locator("#title")).to_have_value("half a thought")
    expect(caching.locator("#draft")).to_be_hidden()


def test_old_figures_are_marked_within_a_second_and_the_page_opens_offline(
    dashboard: Page, native: Native, mishaps: Mishaps
) -> None:
    native.add("one")
    expect(dashboard.locator("#jobs .word")).to_have_text(["done"])
    expect(dashboard.locator("[data-offline]")).to_be_visible()
    mishaps.expect(f"{UNANSWERED}|WebSocket connection|ERR_")
    native.end()
    assert dashboard.evaluate("framesUntilStale") <= A_SECOND
    expect(dashboard.locator("#lost")).to_be_visible()
    expect(dashboard.locator("#chart[data-stale]")).to_have_css("filter", "none")  # grey lines look alike
    expect(dashboard.locator("#open[data-stale]")).to_have_count(1)
    expect(dashboard.locator("#link")).to_have_text("reconnecting")
    expect(dashboard.locator("#pause")).to_be_disabled()
    expect(dashboard.locator("#jobs .word")).to_have_text(["done"])
    dashboard.reload()
    expect(dashboard.locator("#link")).to_have_text("connecting")
    expect(dashboard.locator("#open[data-stale]")).to_have_count(1)
    for figure in ("#added", "#finished", "#failed", "#since"):
        expect(dashboard.locator(figure)).to_have_text("–")  # nothing is known yet, which is not none
    expect(dashboard.locator("#none")).to_be_hidden()


def test_the_back_forward_cache_keeps_the_page(caching: Page, native: Native, mishaps: Mishaps) -> None:
    """It comes back with its draft, and with what has happened meanwhile; nothing is there twice."""
    mishaps.expect("404")  # Chromium looks for a favicon of the image
    caching.add_init_script(ON_HOLD)
    caching.goto(native.app.address)
    expect(caching.locator("#link")).to_have_text("live")
    native.add("before")
    expect(caching.locator("#jobs .word")).to_have_text(["done"])
    caching.locator("#title").fill("half a thought")
    expect(caching.locator("#draft")).to_be_visible()
    expect(caching.locator("[data-offline]")).to_be_visible()  # what still loads something is not kept
    caching.evaluate("hold()")
    caching.goto(f"{native.app.address}icon.svg")
    native.add("meanwhile")
    come_back(caching)
    expect(caching.locator("#link")).to_have_text("reconnecting")
    expect(caching.locator("#jobs .title")).to_have_text(["before"])
    caching.evaluate("release()")
    expect(caching.locator("#link")).to_have_text("live")
    expect(caching.locator("#jobs .title")).to_have_text(["meanwhile", "before"])
    expect(caching.locator("#finished")).to_have_text("2")
    caching.locator("#title").press("Enter")
    expect(caching.locator("#jobs .title")).to_have_text(["half a thought", "meanwhile", "before"])


def test_the_page_is_readable_on_a_phone_and_on_a_desk(dashboard: Page, native: Native) -> None:
    native.add("one", 50)
    assert moving(dashboard, ".job.running") == []
    expect(dashboard.locator("#jobs .word")).to_have_text(["done"])
    check_looks(dashboard)
    dashboard.set_viewport_size({"width": 390, "height": 844})
    for each in (".badge", ".figures > div"):
        assert dashboard.locator(each).evaluate_all(ROWS) == 1, f"{each} stand in one row on a phone"


ROWS = "(elements) => new Set(elements.map((each) => each.getBoundingClientRect().top)).size"


def test_the_page_can_be_installed(native: Native, tmp_path: Path) -> None:
    with tab(tmp_path / "profile") as page:
        page.open(native.app.address)
        page.wait_until("document.querySelector('[data-offline]')?.hidden === false")
        assert page.why_not_installed() == []
