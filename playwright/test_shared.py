"""One machine for all tabs: they follow whoever leads, and another takes over when that tab is gone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Error, Page, Route

from tests.web.browser import Mishaps, come_back, open_python, run

JOIN = """
import shop
tab = shop.join_counter()
await tab.client.when_ready()
json.dumps(sorted(tab.machine.active_states()))
"""
LOOK = "json.dumps([sorted(tab.machine.active_states()), tab.mirror.tick('Paid')])"
PAY = "json.dumps((await tab.mirror.add('Paid')).executed)"
TAKEN_OVER = "await tab.machine.when('Leading'); await tab.client.when_ready(); " + LOOK


def joined(page: Page) -> Any:
    open_python(page)
    return run(page, JOIN)


def paid(page: Page, tick: int) -> None:
    """Waits until the page sees so many ticks."""
    run(page, f"await tab.mirror.when_time(['Paid'], [{tick}]); None")


def test_all_tabs_see_and_change_one_machine(context: BrowserContext, page: Page) -> None:
    assert joined(page) == ["Leading"]
    second = context.new_page()
    assert joined(second) == ["Following"]
    assert run(second, PAY) is True
    paid(page, 1)
    assert run(page, PAY) is True
    paid(second, 3)
    assert run(second, LOOK) == [["Following"], 3]
    assert run(page, "json.dumps([tab.own.tick('Paid'), shop.basket.paid])") == [3, 2]


def test_when_the_leader_is_closed_another_takes_over_from_the_store(context: BrowserContext, page: Page) -> None:
    joined(page)
    second = context.new_page()
    joined(second)
    assert run(second, PAY) is True
    page.close()
    assert run(second, TAKEN_OVER) == [["Leading"], 1]
    assert run(second, PAY) is True
    assert run(second, "json.dumps(shop.basket.paid)") == 2


def test_when_the_leader_crashes_another_takes_over_from_the_store(context: BrowserContext, page: Page) -> None:
    joined(page)
    second = context.new_page()
    joined(second)
    assert run(second, PAY) is True
    with page.expect_event("crash"), pytest.raises(Error, match="crash"):
        page.goto("chrome://crash")
    assert run(second, TAKEN_OVER) == [["Leading"], 1]
    assert run(second, PAY) is True


def test_a_tab_that_cannot_open_the_machine_lets_another_lead(context: BrowserContext, page: Page) -> None:
    open_python(page)
    run(
        page,
        """
        import shop
        from asyncmachine_web.page import shared
        async def broken():
            raise OSError("no room")
        tab = shared.join("counter", shop.Counter, broken)
        await tab.machine.when("ErrOpen")
        assert isinstance(tab.machine.err, OSError)
        None
        """,
    )
    second = context.new_page()
    assert joined(second) == ["Leading"]
    assert run(second, PAY) is True
    run(page, "await tab.client.when_ready(); None")
    paid(page, 1)


def test_a_tab_that_could_not_open_the_machine_tries_again(page: Page) -> None:
    open_python(page)
    told = run(
        page,
        """
        import shop
        from asyncmachine_web.page import shared
        failures = [OSError("no room"), OSError("still none")]
        async def at_the_third_time():
            if failures:
                raise failures.pop(0)
            return await shop.open_counter()
        tab = shared.join("counter", shop.Counter, at_the_third_time)
        await tab.machine.when("ErrOpen")
        await tab.machine.when("Leading")
        await tab.client.when_ready()
        json.dumps([sorted(tab.machine.active_states()), (await tab.mirror.add("Paid")).executed])
        """,
    )
    assert told == [["Leading"], True]


def dispatch(page: Page, *events: str) -> None:
    """As Chromium does when it freezes a page, or lets it go on: it never freezes one that a test drives."""
    for event in events:
        page.evaluate("event => void document.dispatchEvent(new Event(event))", event)


def test_a_tab_that_was_left_stays_away_whatever_the_page_does(context: BrowserContext, page: Page) -> None:
    assert joined(page) == ["Leading"]
    run(page, "tab.leave(); None")
    run(
        page, "from asyncmachine_web.page.lifecycle import lifecycle; before = lifecycle().machine.tick('Frozen'); None"
    )
    dispatch(page, "freeze", "resume")
    assert run(page, "json.dumps([lifecycle().machine.tick('Frozen') - before])") == [2], "it was frozen"
    assert run(page, "json.dumps(sorted(tab.machine.active_states()))") == ["Away"]
    second = context.new_page()
    assert joined(second) == ["Leading"]
    run(page, "tab.enter(); await tab.client.when_ready(); None")
    assert run(page, "json.dumps(sorted(tab.machine.active_states()))") == ["Following"]


def test_a_frozen_leader_lets_another_lead_and_follows_when_it_goes_on(context: BrowserContext, page: Page) -> None:
    joined(page)
    second = context.new_page()
    joined(second)
    dispatch(page, "freeze")
    assert run(second, TAKEN_OVER) == [["Leading"], 0]
    assert run(second, PAY) is True
    dispatch(page, "resume")
    run(page, "await tab.client.when_ready(); None")
    paid(page, 1)
    assert run(page, LOOK) == [["Following"], 1]


OPEN_SLOWLY = """
import shop
from asyncmachine_web.page import shared
asked, answer = asyncio.Event(), asyncio.Event()
ended = []
async def open_slowly():
    asked.set()
    await answer.wait()
    try:
        return await shop.open_counter()
    except Exception as error:
        ended.append(type(error).__name__)
        raise
tab = shared.join("counter", shop.Counter, open_slowly)
await asked.wait()
None
"""
"""What opens the machine asks for something of its own first."""

ANSWERED = """
answer.set()
while not ended: await asyncio.sleep(0.01)
await tab.machine.when("Following")
await tab.client.when_ready()
json.dumps([ended, sorted(tab.machine.active_states()), tab.mirror.tick("Paid")])
"""


@pytest.mark.parametrize("how", ["leaves", "is frozen"])
def test_a_tab_that_leads_no_more_takes_nothing_over_however_late_it_opens(
    context: BrowserContext, page: Page, how: str
) -> None:
    open_python(page)
    run(page, OPEN_SLOWLY)
    if how == "leaves":
        run(page, "tab.leave(); None")
    else:
        dispatch(page, "freeze")
    second = context.new_page()
    assert joined(second) == ["Leading"]
    assert run(second, PAY) is True
    if how == "leaves":
        run(page, "tab.enter(); None")
    else:
        dispatch(page, "resume")
    assert run(page, ANSWERED) == [["TermOver"], ["Following"], 1]
    assert run(second, PAY) is True
    assert run(second, "json.dumps(sorted(tab.own.keeping.active_states()))") == ["Kept"]


def test_a_page_from_the_back_forward_cache_takes_nothing_over_however_late_it_opens(caching: Page) -> None:
    open_python(caching)
    run(caching, OPEN_SLOWLY)
    second = caching.context.new_page()
    caching.goto("/pages/blank.html")
    assert joined(second) == ["Leading"]
    assert run(second, PAY) is True
    come_back(caching)
    caching.wait_for_selector("#python", state="attached")
    assert run(caching, ANSWERED) == [["TermOver"], ["Following"], 1]
    assert run(second, PAY) is True


def test_a_leader_from_which_the_machine_was_taken_opens_it_again(
    context: BrowserContext, page: Page, mishaps: Mishaps
) -> None:
    """By a page that opens it by itself. It goes on from what that one has written."""
    mishaps.expect("in memory only: TakenOver")
    joined(page)
    assert run(page, PAY) is True
    second = context.new_page()
    open_python(second)
    run(second, "import shop; own = await shop.open_counter(); await own.add('Paid'); None")
    told = run(
        page,
        """
        first = tab.own
        try:
            await tab.mirror.add("Paid")
            why = "kept"
        except am.AmError as error:
            why = type(error).__name__
        while tab.own in (None, first): await asyncio.sleep(0.01)
        await tab.client.when_ready()
        json.dumps([why, sorted(tab.machine.active_states()), tab.mirror.tick("Paid")])
        """,
    )
    assert told == ["UnknownOutcome", ["Leading"], 3]
    assert run(page, PAY) is True
    assert run(page, "json.dumps(sorted(tab.own.keeping.active_states()))") == ["Kept", "Resumed"]


ASKS_OFTEN = """
    window.asked = 0;
    const every = window.setInterval;
    window.setInterval = (call, ms, ...rest) => {
        if (ms !== 2000) return every(call, ms, ...rest);
        return every(() => { asked += 1; call(...rest); }, 400);
    };
"""
"""Five times as often as `leading` does."""

WAKE_TO_WRITE = """void setTimeout(() => {
    const request = new XMLHttpRequest();
    request.open("GET", "/pages/wake", false);
    request.send();
    python.runPython("stale = tab.own.add('Paid')");
})"""
"""No script of the page runs until its request is answered; then, in the same breath, it changes the machine."""


def test_a_leader_that_stands_still_is_ousted_and_what_it_writes_then_is_refused(
    context: BrowserContext, page: Page, mishaps: Mishaps
) -> None:
    mishaps.expect("in memory only: TakenOver")
    joined(page)
    second = context.new_page()
    second.add_init_script(ASKS_OFTEN)
    joined(second)
    assert run(second, PAY) is True
    second.wait_for_function("() => asked > 6")
    assert run(page, LOOK) == [["Leading"], 1], "who answers is left alone"

    asked: list[Route] = []
    page.route("**/pages/wake", lambda route: asked.append(route))
    page.evaluate(WAKE_TO_WRITE)
    while not asked:
        second.wait_for_timeout(20)
    assert run(second, TAKEN_OVER) == [["Leading"], 1]
    assert run(second, PAY) is True

    asked[0].fulfill(body="go on")
    told = run(
        page,
        """
        from asyncmachine_web.page.journal import NotKept
        try:
            why = (await stale).outcome
        except NotKept as error:
            why = type(error.__cause__).__name__
        await tab.machine.when("Following")
        await tab.client.when_ready()
        await tab.mirror.when_time(["Paid"], [3])
        json.dumps([why, sorted(tab.machine.active_states()), tab.mirror.tick("Paid"), tab.own is None])
        """,
    )
    assert told == ["TakenOver", ["Following"], 3, True]
    assert run(page, PAY) is True
    assert run(second, LOOK) == [["Leading"], 5]


def test_a_tab_that_stands_still_while_it_opens_takes_nothing_over(
    context: BrowserContext, page: Page, mishaps: Mishaps
) -> None:
    """In `load`: what it had read belongs to another tab when it goes on, and it does not know yet."""
    open_python(page)
    run(page, "import shop; own = await shop.open_counter(); await own.add('Paid'); own.dispose(); None")
    asked: list[Route] = []
    page.route("**/pages/wake", lambda route: asked.append(route))
    run(
        page,
        """
        import js
        from asyncmachine_web.page import durable, shared
        loaded = []
        def load(data):
            loaded.append(data)
            request = js.XMLHttpRequest.new()
            request.open("GET", "/pages/wake", False)
            request.send()
        async def open_slowly():
            return await durable.open(shop.Counter, shop.basket, id="counter", save=shop.basket.save, load=load)
        tab = shared.join("counter", shop.Counter, open_slowly)
        None
        """,
    )
    while not asked:
        page.wait_for_timeout(20)
    second = context.new_page()
    second.add_init_script(ASKS_OFTEN)
    assert joined(second) == ["Leading"]
    assert run(second, PAY) is True
    asked[0].fulfill(body="go on")
    told = run(
        page,
        """
        await tab.client.when_ready()
        await tab.mirror.when_time(["Paid"], [3])
        json.dumps([sorted(tab.machine.active_states()), len(loaded)])
        """,
    )
    assert told == [["Following"], 1]
    assert run(second, PAY) is True
    assert run(second, "json.dumps(sorted(tab.own.keeping.active_states()))") == ["Kept", "Resumed"]


def test_a_leader_in_the_back_forward_cache_lets_another_lead(caching: Page) -> None:
    joined(caching)
    second = caching.context.new_page()
    joined(second)
    caching.goto("/pages/blank.html")
    assert run(second, TAKEN_OVER) == [["Leading"], 0]
    assert run(second, PAY) is True
    come_back(caching)
    caching.wait_for_selector("#python", state="attached")
    run(caching, "await tab.client.when_ready(); None")
    paid(caching, 1)
    assert run(caching, LOOK) == [["Following"], 1]


def test_a_call_whose_leader_dies_is_answered_or_unknown_and_never_run_twice(
    context: BrowserContext, page: Page
) -> None:
    joined(page)
    second = context.new_page()
    joined(second)
    run(
        second,
        """
        async def pour():
            told = []
            for _ in range(200):
                try:
                    told.append("run" if (await tab.mirror.add("Paid")).executed else "canceled")
                except am.AmError as error:
                    told.append(type(error).__name__)
                    await tab.client.when_ready()
            return told
        pouring = asyncio.create_task(pour())
        await tab.mirror.when_time(["Paid"], [21])
        None
        """,
    )
    with page.expect_event("crash"), pytest.raises(Error, match="crash"):
        page.goto("chrome://crash")
    told, count = run(second, "told = await pouring; json.dumps([told, tab.own.tick('Paid')])")
    ran = (count + 1) // 2
    unknown = len([word for word in told if word == "UnknownOutcome"])
    assert set(told) <= {"run", "UnknownOutcome", "NotConnected"}
    assert told.count("run") <= ran <= told.count("run") + unknown
