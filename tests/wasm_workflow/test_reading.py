from collections.abc import Iterator

import pytest

import asyncmachine as am
from examples.wasm_workflow import reading
from examples.wasm_workflow.dag import NODES
from examples.wasm_workflow.states import Orchestrator, of


@pytest.fixture
def flow() -> Iterator[am.Machine[str]]:
    """The orchestrator's states without any handler."""
    machine = am.Machine(Orchestrator.schema)
    machine.add(["Start", "Ready"])
    yield machine
    machine.dispose()


def network(flow: am.Machine[str]) -> None:
    flow.add(["Browser1Conn", "Browser2Conn", *(of(node, "Ready") for node in NODES)])
    flow.remove("StartWork")
    flow.add("RoundOpen")


def test_the_headline_says_what_is_waited_for(flow: am.Machine[str]) -> None:
    assert reading.headline(am.Machine(Orchestrator), linked=False) == "Connecting to the orchestrator"
    assert reading.headline(flow, linked=False) == "The connection is cut"
    assert reading.headline(flow, linked=True) == "Waiting for browser1, browser2, browser3 and browser4"
    network(flow)
    flow.remove("Browser4Ready")
    assert reading.headline(flow, linked=True) == "Waiting for browser4"
    flow.add("ErrBrowser2")
    assert reading.headline(flow, linked=True) == "An error in browser2"


def test_the_headline_says_how_far_it_is(flow: am.Machine[str]) -> None:
    network(flow)
    assert reading.headline(flow, linked=True) == "Round 1 is under way"
    flow.add(["Browser3Delivered", "Browser4Delivered"])
    assert reading.headline(flow, linked=True) == "Round 1 delivered the work"
    assert (reading.outcome(flow), reading.stage(flow)) == ("delivered", "done")
    flow.add(["ErrWorkflow", "Exception"])
    assert reading.headline(flow, linked=True) == "The workflow gave up"
    assert (reading.outcome(flow), reading.stage(flow)) == ("failed", "failed")


def test_a_node_in_one_word(flow: am.Machine[str]) -> None:
    def word() -> str:
        return reading.standing(flow, "browser3")

    assert word() == "starting"
    network(flow)
    assert word() == "idle"
    flow.add("Browser3Pending")
    assert word() == "asked"
    for state in ("Working", "Retrying", "Failed"):
        flow.add(of("browser3", state))
        assert word() == state.lower()
        flow.remove(of("browser3", state))
    flow.add("Browser3Delivered")
    assert word() == "delivered"
    flow.remove("Browser2Conn")
    assert word() == "gone"
    assert reading.standing(flow, "browser3", seen=False) == "starting", "as after a reload"


def test_the_stages_of_the_orchestrator(flow: am.Machine[str]) -> None:
    assert reading.stage(am.Machine(Orchestrator)) == "starting"
    assert reading.stage(flow) == "waiting"
    network(flow)
    assert (reading.stage(flow), reading.outcome(flow)) == ("dispatching", "open")


def test_states_are_shown_with_their_machine(flow: am.Machine[str]) -> None:
    network(flow)
    flow.add(["Browser3Working", "Browser3Pending"])
    assert reading.states_of(flow, "browser3") == ("Ready", "Working")
    assert set(reading.own_states(flow)) == {
        *("Start", "Ready", "WorkersReady", "NetworkReady", "RoundOpen", "Browser3Pending")
    }
