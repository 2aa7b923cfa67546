"""`transition_plain`: what relations alone decide is told without a `Transition`, and is the same story."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import asyncmachine as am
from asyncmachine.machine.plan import Plan
from tests.machine.strategies import Mutation, mutations, schemas

Told = tuple[str, tuple[str, ...], bool, bool, bool, tuple[int, ...], int]
"""Kind, called states, auto, check, accepted, ticks after, queue tick of the machine."""


class Whole(am.Tracer):
    """Hears of transitions."""

    def __init__(self) -> None:
        self.told: list[Told] = []

    def transition_end(self, tx: am.Transition) -> None:
        machine = tx.machine
        self.told.append((tx.kind, tx.called, tx.is_auto, tx.is_check, tx.accepted, machine.time(), machine.queue_tick))


class Plain(Whole):
    """Is content with plans where there is no more to tell."""

    def __init__(self) -> None:
        super().__init__()
        self.plans = 0

    def transition_plain(self, machine: am.View[Any], plan: Plan, auto: Plan | None, queue_tick: int) -> None:
        after = machine.time()
        if auto is not None:
            self.tell(machine, plan, before(auto, after), queue_tick)
        self.tell(machine, auto or plan, after, queue_tick)

    def tell(self, machine: am.View[Any], plan: Plan, after: tuple[int, ...], queue_tick: int) -> None:
        self.plans += 1
        called = tuple(machine.names[i] for i in plan.called)
        kind = ("add", "remove", "set")[plan.kind]
        self.told.append((kind, called, plan.is_auto, False, plan.accepted, after, queue_tick))


def before(plan: Plan, after: tuple[int, ...]) -> tuple[int, ...]:
    """The ticks that a plan has begun with."""
    ticks = list(after)
    for i in plan.settled.rises if plan.accepted else ():
        ticks[i] -= 1
    for i in plan.settled.again if plan.accepted else ():
        ticks[i] -= 2
    return tuple(ticks)


def run(machine: am.Machine[str], steps: list[Mutation]) -> list[am.Result]:
    return [getattr(machine, kind)(called) for kind, called in steps]


@given(st.data())
def test_both_tell_the_same(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    steps = data.draw(st.lists(mutations(schema.names), max_size=8))
    plain, whole = Plain(), Whole()
    told = am.Machine(schema, tracers=[plain], unknown_names="keep")
    seen = am.Machine(schema, tracers=[whole], unknown_names="keep")
    unseen = am.Machine(schema, unknown_names="keep")
    assert run(told, steps) == run(seen, steps) == run(unseen, steps)
    assert plain.told == whole.told
    assert told.export().time == seen.export().time == unseen.export().time
    assert told.queue_tick == seen.queue_tick


def test_an_auto_state_that_is_rejected_is_told_too() -> None:
    schema = {"A": {}, "B": {"auto": True, "require": ["A", "C"]}, "C": {}}
    plain = Plain()
    machine = am.Machine(schema, tracers=[plain])
    machine.add("A")
    assert [(told[1], told[2], told[4]) for told in plain.told] == [(("A",), False, True), (("B",), True, False)]
    assert plain.plans == 2


@pytest.mark.parametrize("why", ["another tracer", "a handler", "an argument", "a source", "the log", "a wait"])
def test_whoever_needs_a_transition_makes_one_for_all(why: str) -> None:
    plain = Plain()
    machine = am.Machine({"A": {}, "B": {}}, tracers=[plain])
    args: dict[str, Any] = {}
    e: am.MutationSource | None = None
    match why:
        case "another tracer":
            machine.trace(Whole())
        case "a handler":
            machine.bind({"AState": lambda e: None})
        case "an argument":
            args = {"name": "x"}
        case "a source":
            e = am.MutationSource("other", "tx")
        case "the log":
            machine.log.keep(3)
        case _:
            machine.when_args("A")
    machine.add("A", args, e=e)
    assert (plain.plans, len(plain.told)) == (0, 1)


def test_a_wait_for_states_is_met_before_it_is_told() -> None:
    plain = Plain()
    machine = am.Machine({"A": {}, "B": {}}, tracers=[plain])
    wait = machine.when("A")
    wait.then(lambda: machine.add("B"))
    machine.add("A")
    assert wait.done()
    assert [told[1] for told in plain.told] == [("A",), ("B",)]
    assert plain.plans == 1


def test_one_that_raises_does_not_keep_the_others_from_hearing() -> None:
    class Broken(Plain):
        def transition_plain(self, machine: am.View[Any], plan: Plan, auto: Plan | None, queue_tick: int) -> None:
            raise RuntimeError("boom")

    plain = Plain()
    machine = am.Machine({"A": {}}, tracers=[Broken(), plain])
    assert machine.add("A").executed
    assert str(machine.err) == "boom"
    assert [told[1] for told in plain.told] == [("A",), ("Exception",)]


def test_a_restored_machine_tells_of_it() -> None:
    class Restored(am.Tracer):
        def machine_restore(self, machine: am.View[Any]) -> None:
            times.append(machine.time())

    times: list[tuple[int, ...]] = []
    first = am.Machine({"A": {}}, id="m")
    first.add("A")
    second = am.Machine({"A": {}}, id="m", tracers=[Restored()])
    second.restore(first.export())
    assert times == [first.time()]
