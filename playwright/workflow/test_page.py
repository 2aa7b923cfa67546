"""The page: its controls are mutations, and it can be read on every screen."""

# mypy: disable-error-code="import-untyped"
from __future__ import annotations

from playwright.sync_api import expect

from examples.wasm_workflow.states import Orchestrator
from tests.wasm_workflow.native import BUSY, Serve
from tests.wasm_workflow.tab import Tab
from tests.web.browser import Mishaps
from tests.web.looks import check_looks, moving


def test_the_controls_are_mutations(serve: Serve, tab: Tab, mishaps: Mishaps, address: str) -> None:
    """And keys are enough for all of them."""
    flow = serve(BUSY)
    tab.open(address)
    flow.deliver()
    tab.expect_delivery()
    corrupt = tab.page.locator("#corrupt")
    for pressed in ("true", "false", "true"):  # at rest, where no result comes that would take it
        tab.press("Corrupt the next result")
        expect(corrupt).to_have_attribute("aria-pressed", pressed)

    gone = flow.machine.when_not(Orchestrator.Browser4Ready)
    tab.kill("browser4")
    flow.until(gone)
    flow.reach(Orchestrator.WorkersReady)
    tab.expect_told("browser4 is being killed, as you asked")

    with mishaps.server_away():
        tab.press("Cut the connection")
        tab.expect_link("reconnecting")
        tab.expect_link("live")
    flow.reach(Orchestrator.WorkersReady)

    chips = tab.page.locator("#browser1 .chips")
    tab.page.evaluate("document.dispatchEvent(new Event('freeze'))")
    expect(chips).to_contain_text("Frozen")
    tab.page.evaluate("document.dispatchEvent(new Event('resume'))")
    expect(chips).not_to_contain_text("Frozen")

    again = flow.machine.when_next_active(Orchestrator.WorkDelivered)
    tab.press("Run again")
    flow.until(again)
    flow.deliver()
    tab.expect_delivery()
    expect(tab.page.locator("#restarts")).to_have_text("1 of 50")
    expect(corrupt).to_have_attribute("aria-pressed", "false")
    assert flow.app.handlers.runs == 2


def test_it_is_readable_on_a_phone_and_on_a_desk(serve: Serve, tab: Tab, address: str) -> None:
    """Nothing is wider than the screen, nothing moves if asked not to, and an audit for people with a disability finds
    nothing, dark or light.
    """
    serve(BUSY)
    tab.open(address)
    assert moving(tab.page, ".machine[data-state=working]") == []
    tab.expect_delivery()
    expect(tab.page.locator("#phase")).to_contain_text("delivered the work")
    check_looks(tab.page)
    tab.page.set_viewport_size({"width": 390, "height": 844})
    assert tab.page.locator(".controls button").evaluate_all(WIDTHS) == 1, "they stand below each other, and are alike"


WIDTHS = "(buttons) => new Set(buttons.map((each) => each.offsetWidth)).size"
