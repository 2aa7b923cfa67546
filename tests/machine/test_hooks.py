"""Which hooks of a tracer are called."""

from __future__ import annotations

from typing import Any

import asyncmachine as am
from asyncmachine.machine.tracer import NO_HOOKS, Hooks, hooks_of


class Ends(am.Tracer):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def transition_end(self, tx: am.Transition) -> None:
        self.seen.append(repr(tx.mutation))


class More(Ends):
    def queue_end(self, machine: am.View[Any]) -> None:
        self.seen.append("queue_end")


def test_only_what_is_overridden_is_called() -> None:
    ends, more = Ends(), More()
    assert hooks_of([am.Tracer()]) == NO_HOOKS
    assert hooks_of([ends, am.Tracer(), more]) == Hooks(
        transition_end=(ends.transition_end, more.transition_end), queue_end=(more.queue_end,)
    )


def test_a_hook_can_belong_to_one_object() -> None:
    seen: list[str] = []
    tracer = am.Tracer()
    tracer.transition_start = lambda tx: seen.append("start")  # type: ignore[method-assign]
    machine = am.Machine({"A": {}}, tracers=[tracer])
    machine.add("A")
    assert seen == ["start"]


def test_hooks_come_and_go_with_their_tracer() -> None:
    machine = am.Machine({"A": {}})
    ends, more = Ends(), More()
    first, second = machine.trace(ends), machine.trace(more)
    machine.add("A")
    machine.untrace(first)
    machine.remove("A")
    machine.untrace(second)
    machine.add("A")
    assert ends.seen == ["[add] A"]
    assert more.seen == ["[add] A", "queue_end", "[remove] A", "queue_end"]
    assert machine._hooks == NO_HOOKS
