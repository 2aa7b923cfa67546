"""Who leads among the pages of an origin, in real Chromium: its lock, its channel and its timers."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, Page

from tests.web.browser import open_python, run

LEAD = """
from asyncmachine_web.page.leading import Leading
told = []
leading = Leading("test", lambda: told.append("granted"), lambda: told.append("ousted"))
None
"""

QUICK = """
    window.asked = 0;
    const every = window.setInterval;
    window.setInterval = (call, ms, ...rest) => {
        if (ms !== 2000) return every(call, ms, ...rest);
        return every(() => { asked += 1; call(); }, 250);
    };
"""
"""Asks eight times as often as `leading` does, which leaves a page on a busy computer a second for its answer."""

NEVER = "const every = setInterval; window.setInterval = (call, ms) => every(call, ms === 2000 ? 2 ** 30 : ms);"
"""Asks nobody, so that it leads only when it is let."""

STAND_STILL = """() => { BroadcastChannel.prototype.postMessage = () => {}; }"""
"""The page answers nobody, as one does that stands still."""

PROXIES = "python._module.pyproxy_alloc_map.size"
"""How many things of Python the browser has."""


def leading(page: Page, quick: str = QUICK) -> Page:
    page.add_init_script(quick)
    open_python(page)
    run(page, LEAD)
    return page


def told(page: Page, *expected: str) -> None:
    """Waits until it was told these."""
    page.wait_for_function("expected => python.runPython('str(told)') === expected", arg=str(list(expected)))


def test_the_next_leads_when_the_first_leaves_and_who_stopped_waiting_never_does(
    page: Page, context: BrowserContext
) -> None:
    told(leading(page, NEVER), "granted")
    second = context.new_page()
    open_python(second)
    run(second, "import asyncmachine_web.page.leading as _; _.lifecycle(); None")
    before = second.evaluate(PROXIES)
    run(second, LEAD)
    third = leading(context.new_page(), NEVER)
    run(second, "leading.leave(); None")
    run(page, "leading.leave(); leading.leave(); None")
    told(third, "granted")
    told(second)
    told(page, "granted")
    second.wait_for_function(f"before => {PROXIES} === before", arg=before)


def test_a_leader_that_does_not_answer_is_ousted_and_knows(page: Page, context: BrowserContext) -> None:
    """Who ousts it gives up a wait, and is not ousted by that itself."""
    told(leading(page), "granted")
    second = leading(context.new_page())
    page.evaluate(STAND_STILL)
    told(second, "granted")
    told(page, "granted", "ousted")
    third = leading(context.new_page())
    third.wait_for_function("() => asked > 12")
    told(second, "granted")
    told(third)
    run(second, "leading.leave(); None")
    told(third, "granted")


def test_without_web_locks_each_page_leads(page: Page) -> None:
    """As on an insecure origin."""
    told(leading(page, "Object.defineProperty(navigator, 'locks', { value: undefined });"), "granted")
    run(page, "leading.leave(); None")
    run(page, LEAD)
    told(page, "granted")
