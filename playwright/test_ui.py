"""The document follows a machine: bindings, lists and events in a real page, bare and under PyScript."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

COUNTERS = ["/pages/bare-counter.html", "/pages/pyscript-counter.html"]


@pytest.fixture(params=COUNTERS, ids=["bare", "pyscript"])
def counter(request: pytest.FixtureRequest, page: Page) -> Page:
    page.goto(request.param)
    expect(page.locator("#badge")).to_have_class("on")
    return page


def test_bindings_show_states_and_events_change_them(counter: Page) -> None:
    badge = counter.locator("#badge")
    expect(badge).to_have_text("0 clicks")
    expect(badge).not_to_have_attribute("data-even", "")
    expect(counter.locator("#even")).to_be_hidden()
    counter.locator("[data-action=add] i").click()  # inside of what was asked for
    expect(badge).to_have_text("1 clicks")
    expect(badge).to_have_attribute("data-even", "")
    expect(counter.locator("#even")).to_be_visible()
    counter.locator("[data-action=add]").click()
    expect(badge).to_have_text("2 clicks")
    expect(counter.locator("#even")).to_be_hidden()


def test_lists_keep_the_elements_of_rows_that_stay_and_escape_text(counter: Page) -> None:
    expect(counter.locator("#rows li")).to_have_text(["<b>one</b>"])
    counter.evaluate("window.first = document.querySelector('#rows li')")
    counter.locator("[data-action=row]").click()
    expect(counter.locator("#rows li")).to_have_text(["<b>one</b>", "x<y"])
    assert counter.evaluate("first === document.querySelector('#rows li')")
    assert counter.evaluate("document.querySelectorAll('#rows b, #rows y').length") == 0


def test_a_hundred_changes_between_two_frames_are_written_once(counter: Page) -> None:
    writes = counter.evaluate(
        """async () => {
            let writes = 0;
            const seen = new MutationObserver((records) => (writes += records.length));
            seen.observe(document.getElementById("badge"), { childList: true, characterData: true, subtree: true });
            for (let i = 0; i < 100; i++) counter("Click");
            await new Promise(requestAnimationFrame);
            await new Promise(requestAnimationFrame);
            return writes;
        }"""
    )
    expect(counter.locator("#badge")).to_have_text("100 clicks")
    assert writes == 1


def test_bindings_end_with_their_elements(counter: Page) -> None:
    assert counter.evaluate("bindings()") == 5
    counter.evaluate("document.getElementById('badge').remove()")
    counter.evaluate("async () => { while (bindings() !== 2) await new Promise(requestAnimationFrame); }")
    counter.locator("[data-action=add]").click()
    expect(counter.locator("#even")).to_be_visible()
