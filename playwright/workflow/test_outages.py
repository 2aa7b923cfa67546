"""The relay is gone for a while, or the whole native process. The page waits, and nothing in it starts anew."""

from __future__ import annotations

import signal
import socket
import time
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from examples.wasm_workflow.states import Orchestrator
from tests.wasm_workflow.native import BUSY, ENDLESS, Launch, Serve
from tests.wasm_workflow.tab import Tab
from tests.web.browser import Mishaps

BARS = "(machines) => machines.map((each) => getComputedStyle(each, '::after').display)"

ANSWERS = 10
"""Questions that a page must have answered while the relay is still away."""


@pytest.mark.parametrize(
    "outage",
    [
        pytest.param(5.0, id="five seconds"),
        pytest.param(60.0, id="a minute", marks=[pytest.mark.nightly, pytest.mark.timeout(400)]),
    ],
)
def test_listener_and_all_tunnels_are_closed_for_a_while(
    serve: Serve, tab: Tab, mishaps: Mishaps, address: str, port: int, outage: float
) -> None:
    flow = serve(ENDLESS)
    with flow.unfinished():
        tab.open(address)
        flow.reach(Orchestrator.RoundOpen)
        tab.expect_link("live")
        with mishaps.server_away():
            with flow.outage(outage):
                flow.leave(Orchestrator.Browser1Conn, Orchestrator.Browser2Conn)
                tab.expect_link("reconnecting")
                expect(tab.page.locator(".graph.stale")).to_be_visible()
                assert tab.page.locator(".machine").evaluate_all(BARS) == ["none"] * 6, "nothing seems to be at work"
                workers = tab.workers()
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port))
                assert flow.machine.is_(Orchestrator.Ready, Orchestrator.RoundOpen), "the orchestrator lives"
                begun, answered = time.monotonic(), 0
                while time.monotonic() - begun < outage or answered < ANSWERS:
                    tab.page.wait_for_function("true")  # drawn a frame, and run a task
                    tab.page.wait_for_timeout(100)
                    answered += 1
            tab.expect_link("live")
        flow.reach(Orchestrator.WorkersReady)
    flow.deliver()
    tab.expect_delivery()
    tab.assert_not_reloaded()
    assert tab.workers() == workers
    assert any("browser2, browser3 and browser4 are gone" in sentence for sentence in flow.sentences())
    assert flow.app.handlers.runs == 1


def test_the_native_process_is_killed_and_started_again_on_its_port(
    launch: Launch, tab: Tab, mishaps: Mishaps, address: str
) -> None:
    first = launch(replace(BUSY, seed=1))
    tab.open(address)
    tab.expect_node("browser1", "working")
    with mishaps.server_away():
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        tab.expect_link("reconnecting")
        expect(tab.page.locator("#result")).to_have_attribute("data-state", "open")
        workers = tab.workers()
        second = launch(replace(BUSY, seed=2))
        tab.expect_link("live")
    expect(tab.page.locator("#seed")).to_have_text("2")
    tab.expect_told("run 1 begins with seed 2")
    tab.expect_delivery()
    tab.assert_not_reloaded()
    assert tab.workers() == workers
    tab.close()
    assert second.end(signal.SIGINT) == 0
