"""Durable machines in real pages: reloaded, crashed, killed, taken over, without storage, in the back/forward cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Error, Page, Playwright, Route

from tests.web.browser import Mishaps, chromium, come_back, kill, open_python, run, wait_for_python

OPEN = """
import shop
from asyncmachine_web.page.journal import NotKept
machine = await shop.open_shop()
json.dumps(shop.told(machine))
"""
PAY = "await machine.add('Open'); await machine.add('Paid'); json.dumps(shop.told(machine))"
TOLD = "json.dumps(shop.told(machine))"


def opened(page: Page) -> Any:
    return run(page, OPEN)


def test_a_reloaded_page_resumes_where_it_was(python: Page) -> None:
    first = opened(python)
    assert (first["clock"]["Open"], first["keeping"]) == (0, ["Kept"])
    before = run(python, PAY)
    python.reload()
    wait_for_python(python)
    after = opened(python)
    assert after == {**before, "keeping": ["Kept", "Resumed"]}
    assert after["clock"] == {"Exception": 0, "Open": 1, "Paid": 1}
    assert after["paid"] == 1


def test_what_was_not_awaited_is_begun_before_the_page_goes(python: Page) -> None:
    opened(python)
    python.evaluate("() => { python.runPython('machine.add(\"Open\")'); location.reload(); }")
    python.wait_for_function("() => !window.python")
    wait_for_python(python)
    assert opened(python)["clock"]["Open"] == 1


def test_what_was_awaited_outlives_a_crash_of_the_renderer(context: BrowserContext, python: Page) -> None:
    opened(python)
    before = run(python, PAY)
    with python.expect_event("crash"), pytest.raises(Error, match="crash"):
        python.goto("chrome://crash")
    again = context.new_page()
    open_python(again)
    assert opened(again) == {**before, "keeping": ["Kept", "Resumed"]}


def test_what_was_awaited_outlives_the_death_of_the_browser(
    playwright: Playwright, base_url: str, tmp_path: Path
) -> None:
    told = []
    for ask in (PAY, TOLD):
        with chromium(tmp_path / "profile") as (process, devtools):
            page = playwright.chromium.connect_over_cdp(devtools).contexts[0].new_page()
            page.goto(f"{base_url}/pages/python.html")
            wait_for_python(page)
            opened(page)
            told.append(run(page, ask))
            kill(process)
    assert told[1] == {**told[0], "keeping": ["Kept", "Resumed"]}


def test_the_page_that_opens_last_writes_and_the_other_knows(
    context: BrowserContext, python: Page, mishaps: Mishaps
) -> None:
    mishaps.expect("in memory only: TakenOver")
    opened(python)
    second = context.new_page()
    open_python(second)
    opened(second)
    run(second, PAY)
    told = run(
        python,
        """
        try:
            await machine.add("Paid")
        except NotKept as error:
            told = {**shop.told(machine), "why": str(error)}
        json.dumps(told)
        """,
    )
    assert told["keeping"] == ["ErrTakenOver", "Exception", "InMemory"]
    assert told["clock"]["Paid"] == 1
    assert "another page has opened shop" in told["why"]


def test_what_a_person_clears_is_written_again_by_the_page_that_is_open(
    context: BrowserContext, python: Page, base_url: str, mishaps: Mishaps
) -> None:
    """With the site's data goes what was kept, also what the next change would go on from."""
    mishaps.expect("in memory only: AbortError")  # for a moment: the browser closes first
    mishaps.expect("shop: Emptied: the browser has cleared what was kept of shop; all of it is written once more")
    opened(python)
    before = run(python, PAY)
    devtools = context.new_cdp_session(python)
    devtools.send("Storage.clearDataForOrigin", {"origin": base_url, "storageTypes": "indexeddb"})
    again = run(python, "await machine.add('Paid'); json.dumps(shop.told(machine))")
    assert (again["clock"]["Paid"], again["keeping"]) == (before["clock"]["Paid"] + 2, ["Kept"])
    python.reload()
    wait_for_python(python)
    assert opened(python)["clock"] == again["clock"]


def test_what_was_cleared_is_written_again_without_a_mutation(
    context: BrowserContext, python: Page, base_url: str, mishaps: Mishaps
) -> None:
    mishaps.expect("in memory only: AbortError|all of it is written once more")
    opened(python)
    before = run(python, PAY)
    run(python, "written = machine.keeping.when_next_active('Kept'); None")
    devtools = context.new_cdp_session(python)
    devtools.send("Storage.clearDataForOrigin", {"origin": base_url, "storageTypes": "indexeddb"})
    run(python, "await written; None")
    python.reload()
    wait_for_python(python)
    assert opened(python)["clock"] == before["clock"]


@pytest.mark.parametrize("first", [0, 1], ids=["older first", "newer first"])
def test_of_two_pages_whose_data_were_cleared_the_newer_keeps_its_own(
    context: BrowserContext, python: Page, base_url: str, mishaps: Mishaps, first: int
) -> None:
    """The older one was overtaken and does not know yet; with the data went the mark that would have told it."""
    mishaps.expect("in memory only: (AbortError|TakenOver)|all of it is written once more")
    opened(python)
    newer = context.new_page()
    open_python(newer)
    opened(newer)
    run(newer, PAY)
    devtools = context.new_cdp_session(python)
    devtools.send("Storage.clearDataForOrigin", {"origin": base_url, "storageTypes": "indexeddb"})
    for page in (python, newer) if first == 0 else (newer, python):
        run(
            page,
            """
            try:
                await machine.add("Paid")
            except NotKept:
                pass
            None
            """,
        )
    run(newer, "await machine.add('Paid'); None")
    third = context.new_page()
    open_python(third)
    assert opened(third)["paid"] == 3


def test_a_page_that_fails_to_open_leaves_the_machine_to_the_other(context: BrowserContext, python: Page) -> None:
    opened(python)
    second = context.new_page()
    open_python(second)
    why = run(
        second,
        """
        import shop
        from asyncmachine_web.page import durable
        try:
            await durable.open(shop.Counter, id="shop")
        except durable.SchemaChanged as error:
            why = str(error)
        json.dumps(why)
        """,
    )
    assert "older schema" in why
    assert run(python, PAY)["keeping"] == ["Kept"]


def test_two_applications_of_one_origin_keep_their_own(page: Page) -> None:
    """The same page in two folders; each has a machine `shop`."""
    page.route("**/elsewhere/**", lambda route: route.continue_(url=route.request.url.replace("/elsewhere", "")))
    told = []
    for folder in ("", "/elsewhere"):
        open_python(page, folder)
        told.append(opened(page)["clock"]["Open"])
        run(page, PAY)
    assert told == [0, 0]


def test_a_machine_is_kept_by_a_page_of_an_insecure_origin_too(page: Page, base_url: str, mishaps: Mishaps) -> None:
    """As from a computer of the local network, by http: such a page lacks `crypto.randomUUID` and Web Locks."""
    origin = mishaps._own = "http://shop.lan"
    mishaps.expect("Cross-Origin-Opener-Policy")  # has no effect there

    def answer(route: Route) -> None:
        address = route.request.url.replace(origin, base_url)
        route.fulfill(response=route.fetch(url=address, headers={}))

    page.route(f"{origin}/**", answer)
    open_python(page, origin)
    assert page.evaluate("isSecureContext") is False
    assert opened(page)["keeping"] == ["Kept"]
    told = run(page, PAY)
    assert (told["clock"]["Paid"], told["keeping"]) == (1, ["Kept"])


def test_without_storage_the_machine_goes_on_in_memory(page: Page) -> None:
    page.add_init_script("Object.defineProperty(window, 'indexedDB', {value: null})")
    open_python(page)
    assert opened(page)["keeping"] == ["ErrBlocked", "Exception", "InMemory"]
    assert run(page, "json.dumps(bool(machine.add('Open')) and 'Open' in machine)") is True


def test_full_storage_is_told_and_mended_when_there_is_room(
    context: BrowserContext, python: Page, base_url: str, mishaps: Mishaps
) -> None:
    mishaps.expect("in memory only: QuotaExceededError")
    devtools = context.new_cdp_session(python)
    devtools.send("Storage.overrideQuotaForOrigin", {"origin": base_url, "quotaSize": 300_000})
    opened(python)
    full = run(
        python,
        """
        shop.basket.note = "x" * 3_000_000
        try:
            await machine.add("Paid")
            told = shop.told(machine)
        except NotKept as error:
            told = {**shop.told(machine), "why": type(error.__cause__).__name__}
        json.dumps(told)
        """,
    )
    assert (full["keeping"], full["why"]) == (["ErrFull", "Exception", "InMemory"], "StorageFull")
    devtools.send("Storage.overrideQuotaForOrigin", {"origin": base_url})
    assert run(python, PAY)["keeping"] == ["Kept"]
    python.reload()
    wait_for_python(python)
    assert opened(python)["clock"]["Paid"] == 3


def test_a_machine_outlives_the_back_forward_cache(caching: Page) -> None:
    open_python(caching)
    opened(caching)
    run(caching, "machine.add('Open'); kept = 42; None")
    caching.goto("/pages/blank.html")
    come_back(caching)
    caching.wait_for_selector("#python", state="attached")
    told = run(caching, "await machine.add('Paid'); json.dumps([kept, shop.told(machine)])")
    assert told[0] == 42
    assert (told[1]["clock"]["Paid"], told[1]["keeping"]) == (1, ["Kept"])


def test_a_page_that_comes_back_from_the_cache_knows_at_once_that_another_has_its_machine(
    caching: Page, mishaps: Mishaps
) -> None:
    mishaps.expect("in memory only: TakenOver")
    open_python(caching)
    opened(caching)
    caching.goto("/pages/blank.html")
    second = caching.context.new_page()
    open_python(second)
    opened(second)
    run(second, PAY)
    come_back(caching)
    caching.wait_for_selector("#python", state="attached")
    told = run(caching, "await machine.keeping.when('InMemory'); json.dumps(shop.told(machine))")
    assert told["keeping"] == ["ErrTakenOver", "Exception", "InMemory"]
    assert told["clock"]["Paid"] == 0
