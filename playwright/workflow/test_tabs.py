"""The tab is reloaded, or there are two of them."""

from __future__ import annotations

import json
import time

from playwright.sync_api import Request, expect

import asyncmachine as am
from asyncmachine_relay import RelayStates, TunnelArgs
from examples.wasm_workflow.dag import NODES
from examples.wasm_workflow.states import Orchestrator, of
from tests.wasm_workflow.native import ENDLESS, Serve
from tests.wasm_workflow.tab import Tab

TUNNELS = ("listen/browser1", "dial/browser1", "listen/browser2")


def at(e: am.Event) -> tuple[str, float]:
    """Which tunnel it is about, and the time."""
    tunnel = e.args(TunnelArgs)
    return f"{tunnel.op}/{tunnel.id}", time.time()


def asked_at(request: Request) -> float:
    return request.timing["startTime"] / 1000


def test_a_tab_that_is_reloaded_in_mid_work_has_its_ids_again_when_it_first_asks(
    serve: Serve, tab: Tab, address: str
) -> None:
    """The page lets them go while it is left: nobody waits for a ping, or for a refusal and the next try."""
    flow = serve(ENDLESS)
    relay = flow.app.relay.machine
    with flow.unfinished():
        tab.open(address)
        flow.reach(Orchestrator.RoundOpen)
        closed, opened = flow.note("TunnelDownState", at, of=relay), flow.note("TunnelUpState", at, of=relay)
        requests: list[Request] = []
        tab.page.context.on("request", lambda request: requests.append(request))
        gone = flow.machine.when_not(Orchestrator.Browser1Conn, Orchestrator.Browser2Conn)
        begun = time.time()
        tab.page.reload()
        flow.until(gone)
        flow.reach(Orchestrator.WorkersReady)
    flow.deliver()
    tab.expect_delivery()
    assert any("browser1 is gone" in sentence for sentence in flow.sentences())
    assert flow.app.handlers.runs == 1
    assert [flow.machine.tick(of(node, "Ready")) for node in NODES] == [3, 3, 3, 3]
    assert not relay.tick(RelayStates.Exception), "nothing was refused"
    assert dict(closed).keys() == dict(opened).keys() == {*TUNNELS}
    asked = [request for request in requests if request.url.endswith("/token") and asked_at(request) > begun]
    wishes = [(wish, asked_at(request)) for request in asked for wish in wishes_of(request)]
    assert len(wishes) == len(TUNNELS), "once each"
    for wish, when in wishes:
        tunnel = f"{wish['op']}/{wish['id']}"
        assert dict(closed)[tunnel] < when < dict(opened)[tunnel], f"{tunnel} was not free yet"


def wishes_of(request: Request) -> list[dict[str, str]]:
    """The tunnels that a request asks tokens for: tunnels that are opened together ask together."""
    said = json.loads(request.post_data or "")
    return said if isinstance(said, list) else [said]


def test_a_duplicated_tab_is_told_that_the_ids_are_taken_and_the_first_one_is_undisturbed(
    serve: Serve, tab: Tab, address: str
) -> None:
    flow = serve(ENDLESS)
    tab.page.context.add_init_script("globalThis.copied = {...sessionStorage}")
    with flow.unfinished():
        tab.open(address)
        flow.reach(Orchestrator.RoundOpen)
        tab.expect_link("live")
        kept = tab.page.evaluate("({...sessionStorage})")
        assert set(kept) == {"asyncmachine.tab", "asyncmachine.secrets"}
        with tab.page.expect_popup() as popup:
            tab.page.evaluate("open(location.href)")  # as when a tab is duplicated, the session's storage is copied
        copy = Tab(popup.value)
        assert copy.page.evaluate("copied") == kept
        copy.expect_link("open in another tab")
        expect(copy.page.locator("#notice")).to_contain_text("open in another tab")
    flow.deliver()
    tab.expect_delivery()
    assert [flow.machine.tick(of(node, "Ready")) for node in NODES] == [1, 1, 1, 1], "the first was not disturbed"
    copy.expect_link("open in another tab")
    tab.close()  # and the other goes on by itself
    expect(copy.page.locator("#notice")).to_be_hidden()
    again = flow.machine.when_next_active(Orchestrator.WorkDelivered)
    copy.press("Run again")
    flow.until(again)
    flow.deliver()
    copy.expect_delivery()
