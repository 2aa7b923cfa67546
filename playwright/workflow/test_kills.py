"""Workers that die in mid-work. Their parent forks them again, and the round goes on."""

from __future__ import annotations

import pytest

import asyncmachine as am
from examples.wasm_workflow.dag import NODES
from examples.wasm_workflow.orders import Child
from examples.wasm_workflow.states import LEAVES, Orchestrator, of
from tests.wasm_workflow.native import BUSY, ENDLESS, Serve
from tests.wasm_workflow.tab import Tab
from tests.web.browser import Mishaps


@pytest.fixture(autouse=True)
def _calls_are_lost_with_whom_they_are_for(mishaps: Mishaps) -> None:
    """A page says so; the nodes are tried again."""
    mishaps.expect("nobody awaited .*, (which has failed: |whose outcome is unknown: )")


def test_a_leaf_that_its_parent_terminates_at_work_is_forked_again(serve: Serve, tab: Tab, address: str) -> None:
    flow = serve(BUSY)
    lost = flow.note("Browser3ReadyEnd", lambda e: e.tx.active_before)
    kills: list[am.Result] = []

    def kill(e: am.Event) -> None:
        """At once, and only at the leaf's first attempt: the order goes to its parent, who calls `terminate()`."""
        if not kills:
            kills.append(e.add(Orchestrator.KillWorker, Child("browser3")))

    flow.machine.bind({"Browser3WorkingState": kill})
    tab.open(address)
    flow.deliver()
    tab.expect_delivery()
    (before,) = lost
    assert Orchestrator.Browser3Working in before
    assert "round 1: browser3 is gone" in flow.sentences()
    assert "round 1: browser3 starts over, attempt 2" in flow.sentences()
    assert (flow.app.handlers.run.round, dict(flow.app.handlers.run.attempts)["browser3"]) == (1, 2)
    assert [flow.machine.tick(of(node, "Ready")) for node in NODES] == [1, 1, 3, 1], "nobody else was disturbed"


def test_a_dispatcher_that_is_killed_on_the_page_comes_back_with_new_leaves(
    serve: Serve, tab: Tab, address: str
) -> None:
    flow = serve(ENDLESS)
    with flow.unfinished():
        tab.open(address)
        flow.reach(Orchestrator.RoundOpen)
        tab.expect_link("live")
        before = tab.workers()
        gone = flow.machine.when_not(Orchestrator.Browser2Conn)
        tab.kill("browser2")
        flow.until(gone)
        flow.reach(Orchestrator.WorkersReady)
    flow.deliver()
    tab.expect_delivery()
    assert any("browser2, browser3 and browser4 are gone" in sentence for sentence in flow.sentences())
    assert flow.app.handlers.runs == 1
    assert [flow.machine.tick(of(node, "Ready")) for node in NODES] == [1, 3, 3, 3]
    after = tab.workers()
    assert not set(before.values()) & set(after.values()), "the leaves are new, and none of the old ones is left"


def test_leaves_that_are_stuck_or_die_unheard_are_replaced(serve: Serve, tab: Tab, address: str) -> None:
    """Nobody is told of either: only the answers to their parent's questions stop."""
    flow = serve(ENDLESS)
    with flow.unfinished():
        tab.open(address)
        flow.reach(Orchestrator.RoundOpen, Orchestrator.Browser3Working)
        gone = [flow.machine.when_not(of(leaf, "Ready")) for leaf in LEAVES]
        workers = tab.workers()
        for leaf, fault in zip(LEAVES, ("for (;;);", "close()"), strict=True):
            workers[leaf].evaluate(f"void setTimeout(() => {{ {fault} }})")
        for wait in gone:
            flow.until(wait)
        flow.reach(Orchestrator.WorkersReady)
    flow.deliver()
    tab.expect_delivery()
    assert flow.app.handlers.runs == 1
    assert [flow.machine.tick(of(node, "Ready")) for node in NODES] == [1, 1, 3, 3], "nobody else was disturbed"
