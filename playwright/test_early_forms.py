"""What becomes of a form that is sent before anybody listens to it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.web.browser import Mishaps

ADDRESS = "/pages/bare-counter.html"
FORM = """<form id="search">
    <input name="q">
    <button id="search-here">here</button>
    <button id="search-there" formaction="blank.html">there</button>
</form>"""
HELD = """(button) => !button.form.dispatchEvent(
    new SubmitEvent("submit", { bubbles: true, cancelable: true, submitter: button })
)"""


def open_with_form(page: Page) -> None:
    page.goto(ADDRESS)
    page.evaluate("form => document.body.insertAdjacentHTML('beforeend', form)", FORM)


def is_held(button: Locator) -> bool:
    """Whether the browser would not send the form by this button; it is not sent."""
    held: bool = button.evaluate(HELD)
    return held


def test_a_form_without_an_action_is_sent_as_soon_as_python_could_listen(page: Page) -> None:
    """As a search that the server answers. A button with an action of its own needs no Python."""
    held: list[Route] = []
    page.route("**/*.wasm", lambda route: held.append(route))
    open_with_form(page)
    while not held:
        page.wait_for_timeout(10)
    assert is_held(page.locator("#search-here"))
    assert not is_held(page.locator("#search-there"))
    page.route("**/*.wasm", lambda route: route.continue_())  # those that are still to come
    for route in held:
        route.continue_()
    expect(page.locator("#badge")).to_have_text("0 clicks")
    page.locator("#search input").fill("Ada")
    page.locator("#search-here").click()
    expect(page).to_have_url(re.compile(rf"{ADDRESS}\?q=Ada$"))


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [("sources.zip", "nowhere.zip", "answered 404"), ("counter:show", "counter:shown", "there is no shown in it")],
)
def test_a_form_stays_where_python_or_its_main_did_not_start(
    page: Page, mishaps: Mishaps, right: str, wrong: str, told: str
) -> None:
    mishaps.expect(f"404|did not start|{told}")

    def spoil(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=response.text().replace(right, wrong))

    page.route(f"**{ADDRESS}", spoil)
    open_with_form(page)
    expect(page.locator("[data-boot=error]")).to_contain_text(told)
    assert is_held(page.locator("#search-here"))
