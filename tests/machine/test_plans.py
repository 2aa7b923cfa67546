"""Plans: resolved once, remembered, shared between machines, forgotten without anybody noticing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import asyncmachine as am
from asyncmachine.machine import handlers
from asyncmachine.machine import plan as plans
from asyncmachine.machine.plan import forget
from asyncmachine.machine.rules import Rules
from tests.machine.recording import Recorder, logging_handlers
from tests.machine.strategies import mutations, schemas


def remembered(rules: Rules) -> int:
    """How many plans of called states are kept."""
    return sum(len(known) for found in rules.configurations.values() for known in found.plans)


def test_a_mutation_seen_before_is_not_resolved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = am.Machine({"A": {}, "B": {"multi": True}})
    for _ in range(2):
        machine.add("A")
        machine.add(["A", "B"])
        machine.set(())

    def never(*_: object) -> None:
        raise AssertionError("a warm mutation was resolved")

    monkeypatch.setattr(plans, "Plan", never)
    machine.add("A")
    machine.add(["A", "B"])
    machine.set(())
    assert machine.time() == (6, 6, 0)


def test_machines_of_one_schema_learn_from_each_other() -> None:
    schema = am.Schema({"A": {}, "B": {"auto": True}})
    first, second = am.Machine(schema), am.Machine(schema)
    assert first._rules is second._rules
    first.add("A")
    known = remembered(first._rules)
    second.add("A")
    assert remembered(first._rules) == known
    assert first.time() == second.time() == (1, 1, 0)


def test_machines_of_equal_but_separate_schemas_do_not_share() -> None:
    assert am.Machine({"A": {}})._rules is not am.Machine({"A": {}})._rules


@given(st.data())
@settings(max_examples=80, deadline=None)
@pytest.mark.parametrize("relations", ["recorded", "strict"])
def test_remembering_changes_nothing(relations: str, data: st.DataObject) -> None:
    schema = data.draw(schemas(after_cycles=relations == "recorded"))
    vetoes = data.draw(st.sets(st.sampled_from(["AEnter", "BExit", "AB", "BB", "CEnter", "AnyEnter"]), max_size=2))
    steps = data.draw(st.lists(mutations(schema.names), min_size=1, max_size=10))
    with_handlers = data.draw(st.booleans())

    def story(*, forgetful: bool) -> Iterator[object]:
        own = am.Schema(schema)
        calls: list[str] = []
        machine = am.Machine(own, relations=relations)  # type: ignore[call-overload]
        recorder = Recorder()
        if with_handlers:
            machine.bind(logging_handlers(schema.names, calls, vetoes=vetoes))
            machine.trace(recorder)
        for kind, called in steps:
            if forgetful:
                forget(machine._rules)
            yield getattr(machine, kind)(called).outcome
            yield machine.time(), machine.active_states()
        yield calls, recorder.hooks
        yield [(tx.before, tx.after, tx.target, tx.enters, tx.exits, tx.accepted) for tx in recorder.ended]

    assert list(story(forgetful=False)) == list(story(forgetful=True))


def test_the_number_of_plans_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "PLAN_LIMIT", 20)
    names = [f"S{n}" for n in range(10)]
    machine = am.Machine({name: {"multi": n % 3 == 0} for n, name in enumerate(names)})
    for n in range(300):
        machine.toggle([names[n % 10], names[n * n % 10]])
        assert remembered(machine._rules) <= 20
        assert sum(map(len, machine._config.plans)) <= 20


def test_a_machine_that_never_moves_does_not_pile_up_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "PLAN_LIMIT", 20)
    names = [f"S{n}" for n in range(10)]
    machine = am.Machine({"Never": {"require": ["S0"]}, **{name: {} for name in names}})
    for n in range(1, 300):
        called = ["Never", *(name for bit, name in enumerate(names) if bit and n >> bit & 1)]
        assert machine.add(called).canceled
        assert sum(map(len, machine._config.plans)) <= 20


def test_a_veto_of_an_auto_state_does_not_pile_up_plans() -> None:
    machine = am.Machine({"A": {"multi": True}, "Ready": {"auto": True}}, {"ReadyEnter": lambda e: False})
    machine.add("A")
    known = held(machine)
    for _ in range(50):
        machine.add("A")
    assert held(machine) <= known + 2


def test_the_number_of_call_lists_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "CALLS_LIMIT", 10)
    machine = am.Machine({f"S{n}": {} for n in range(8)}, {"AnyState": lambda e: None})
    for n in range(100):
        machine.toggle([f"S{n % 8}", f"S{n * n % 8}"])
        assert held(machine) <= 10


def held(machine: am.Machine[str]) -> int:
    """Call lists that the machine's handlers keep, one a plan."""
    assert machine._table is not None
    return len(machine._table.known)


def test_handlers_bound_later_are_called_for_plans_seen_before() -> None:
    calls: list[str] = []
    machine = am.Machine({"A": {}}, {"AState": lambda e: calls.append("first")})
    machine.add("A")
    machine.remove("A")
    second = machine.bind({"AState": lambda e: calls.append("second")})
    machine.add("A")
    machine.remove("A")
    machine.detach(second)
    machine.add("A")
    assert calls == ["first", "first", "second", "first"]
