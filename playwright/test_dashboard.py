"""The dashboard in real Chromium: what it shows, what can be done, without a network, for everybody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from playwright.sync_api import Error, Page, expect

from asyncmachine_relay import bind
from examples.dashboard.app import App
from examples.dashboard.jobs import QueueHandlers
from examples.dashboard.states import Queue, Wanted
from tests.web.browser import UNANSWERED, Mishaps
from tests.web.looks import A_SECOND, FRAMES_UNTIL_STALE, check_looks


class Native:
    """The dashboard's process, on a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stop = asyncio.Event()
        self.started: Future[App] = Future()
        self.thread = threading.Thread(target=lambda: self.loop.run_until_complete(self.serve()))
        self.thread.start()
        self.app = self.started.result()

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
    expect(dashboard.locator("#open[data-stale]")).to_have_count(1)
    expect(dashboard.locator("#link")).to_have_text("reconnecting")
    expect(dashboard.locator("#pause")).to_be_disabled()
    expect(dashboard.locator("#jobs .word")).to_have_text(["done"])
    dashboard.reload()
    expect(dashboard.locator("#link")).to_have_text("connecting")
    expect(dashboard.locator("#open[data-stale]")).to_have_count(1)


def test_the_page_is_readable_on_a_phone_and_on_a_desk(dashboard: Page, native: Native) -> None:
    native.add("one")
    expect(dashboard.locator("#jobs .word")).to_have_text(["done"])
    check_looks(dashboard)
