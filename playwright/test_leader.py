"""Who leads among the pages of an origin, by itself, in real Chromium without Python."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import BrowserContext, Page

LEAD = """async () => {
    const { lead } = await import("/leader.mjs");
    window.told = [];
    window.leave = lead("test", () => told.push("granted"), () => told.push("ousted"));
}"""

QUICK = """
    window.asked = 0;
    window.limit = Infinity;
    const every = window.setInterval;
    window.setInterval = (call, ms, ...rest) => {
        if (ms !== 2000) return every(call, ms, ...rest);
        return every(() => { if (asked < limit) { asked += 1; call(...rest); } }, 250);
    };
"""
"""Asks eight times as often as `leader.mjs` does, which leaves a page on a busy computer a second for its answer."""

STAND_STILL = """() => {
    const { postMessage } = BroadcastChannel.prototype;
    BroadcastChannel.prototype.postMessage = function () {};
    window.go = () => { BroadcastChannel.prototype.postMessage = postMessage; };
}"""
"""The page answers nobody, as one does that stands still."""


def leading(page: Page) -> Page:
    page.add_init_script(QUICK)
    page.goto("/pages/blank.html")
    page.evaluate(LEAD)
    return page


def told(page: Page) -> Any:
    return page.evaluate("told")


def test_the_next_leads_when_the_first_leaves(page: Page, context: BrowserContext) -> None:
    leading(page).wait_for_function("() => told.length")
    second, third = leading(context.new_page()), leading(context.new_page())
    page.evaluate("leave()")
    second.wait_for_function("() => told.length")
    assert (told(page), told(second), told(third)) == (["granted"], ["granted"], [])


def test_who_stopped_waiting_never_leads(page: Page, context: BrowserContext) -> None:
    leading(page).wait_for_function("() => told.length")
    second, third = leading(context.new_page()), leading(context.new_page())
    second.evaluate("leave()")
    page.evaluate("leave()")
    third.wait_for_function("() => told.length")
    assert (told(second), told(third)) == ([], ["granted"])


def test_who_has_left_answers_for_nobody(page: Page, context: BrowserContext) -> None:
    leading(page).wait_for_function("() => told.length")
    second, third = leading(context.new_page()), leading(context.new_page())
    page.evaluate("leave()")
    second.wait_for_function("() => told.length")
    second.evaluate(STAND_STILL)
    third.wait_for_function("() => told.length")
    assert (told(page), told(third)) == (["granted"], ["granted"])


def test_a_leader_that_answers_is_left_alone(page: Page, context: BrowserContext) -> None:
    leading(page).wait_for_function("() => told.length")
    second = leading(context.new_page())
    second.wait_for_function("() => asked > 12")
    assert (told(page), told(second)) == (["granted"], [])


def test_a_leader_that_does_not_answer_is_ousted_and_knows(page: Page, context: BrowserContext) -> None:
    leading(page).wait_for_function("() => told.length")
    second = leading(context.new_page())
    page.evaluate(STAND_STILL)
    second.wait_for_function("() => told.length")
    page.wait_for_function("() => told.length === 2")
    assert (told(page), told(second)) == (["granted", "ousted"], ["granted"])


def test_a_page_that_nobody_sees_ousts_nobody(page: Page, context: BrowserContext) -> None:
    """Its timers are slowed down, and those of the others may be, too."""
    leading(page).wait_for_function("() => told.length")
    second = leading(context.new_page())
    second.evaluate("import('/lifecycle.mjs').then(({ tell }) => tell('hidden'))")
    page.evaluate(STAND_STILL)
    second.evaluate("asked = 0")
    second.wait_for_function("() => asked > 12")
    assert (told(page), told(second)) == (["granted"], [])
    second.evaluate("import('/lifecycle.mjs').then(({ tell }) => tell('visible'))")
    second.wait_for_function("() => told.length")


def test_one_answer_begins_the_count_anew(page: Page, context: BrowserContext) -> None:
    leading(page).wait_for_function("() => told.length")
    second = leading(context.new_page())
    second.evaluate("limit = asked + 2")
    page.evaluate(STAND_STILL)
    second.wait_for_function("() => asked === limit")
    page.evaluate("go()")
    second.evaluate("asked = 0; limit = Infinity")
    second.wait_for_function("() => asked > 12")
    assert (told(page), told(second)) == (["granted"], [])
