"""What the states mean to a person: one word for each machine, one headline for all of them. Pure."""

from __future__ import annotations

from typing import Protocol

from asyncmachine.machine.clock import activations
from examples.wasm_workflow.dag import NODES
from examples.wasm_workflow.states import PIPED, Orchestrator, of

AT_WORK = ("Working", "Retrying")

SEEN = frozenset(of(node, state) for node in NODES for state in ("Conn", *PIPED))
"""The orchestrator's copies of other machines' states, which are shown with those machines."""


class Readable(Protocol):
    """The read half of a machine."""

    def is_(self, *states: str) -> bool: ...
    def tick(self, state: str) -> int: ...
    def active_states(self) -> tuple[str, ...]: ...


def round_of(flow: Readable) -> int:
    """The number of the round, 0 before the first."""
    return activations(flow.tick(Orchestrator.StartWork))


def headline(flow: Readable, linked: bool) -> str:
    """The state of the whole workflow."""
    if not linked:
        return "Connecting to the orchestrator" if flow.tick(Orchestrator.Start) == 0 else "The connection is cut"
    if flow.is_(Orchestrator.ErrWorkflow):
        return "The workflow gave up"
    if flow.is_(Orchestrator.WorkDelivered):
        return f"Round {round_of(flow)} delivered the work"
    if flow.is_(Orchestrator.NetworkReady):
        return f"Round {round_of(flow)} is under way"
    broken = [node for node in NODES if flow.is_(f"Err{of(node)}")]
    if broken:
        return f"An error in {_names(broken)}"
    return f"Waiting for {_names([node for node in NODES if not flow.is_(of(node, 'Ready'))])}"


def standing(flow: Readable, node: str, *, seen: bool = True) -> str:
    """What a node does, in one word: starting, gone, idle, asked, working, retrying, failed or delivered.

    To a page that has not `seen` it yet, one that is not there is starting, whatever there was before the page.
    """
    if not flow.is_(of(node, "Ready")):
        return "gone" if seen and flow.tick(of(node, "Ready")) else "starting"
    if flow.is_(of(node, "Delivered")):
        return "delivered"
    for state in (*AT_WORK, "Failed"):
        if flow.is_(of(node, state)):
            return state.lower()
    return "asked" if flow.is_(of(node, "Pending")) else "idle"


def outcome(flow: Readable) -> str:
    """What the run came to, in one word: open, delivered or failed."""
    if flow.is_(Orchestrator.ErrWorkflow):
        return "failed"
    return "delivered" if flow.is_(Orchestrator.WorkDelivered) else "open"


def stage(flow: Readable) -> str:
    """What the orchestrator does: starting, waiting, working, done, failed."""
    if flow.is_(Orchestrator.ErrWorkflow):
        return "failed"
    if flow.is_(Orchestrator.WorkDelivered):
        return "done"
    if flow.is_(Orchestrator.NetworkReady):
        return "dispatching"
    return "waiting" if flow.is_(Orchestrator.Ready) else "starting"


def own_states(flow: Readable) -> tuple[str, ...]:
    """The active states of the orchestrator that are not copies of another machine's."""
    return tuple(state for state in flow.active_states() if state not in SEEN)


def states_of(flow: Readable, node: str) -> tuple[str, ...]:
    """The active states of a worker, as far as the orchestrator follows them."""
    return tuple(state for state in PIPED if flow.is_(of(node, state)))


def _names(nodes: list[str]) -> str:
    *others, last = nodes or ["the network"]
    return f"{', '.join(others)} and {last}" if others else last
