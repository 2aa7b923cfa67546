"""Explanations: they tell what the resolvers did, and listening changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import asyncmachine as am
from asyncmachine.machine import explain as explaining
from asyncmachine.machine.explain import Blocked, Dropped, Fact, States, explanation, order_facts, resolver_facts
from asyncmachine.machine.narrator import require_cycle
from asyncmachine.machine.plan import Configuration, Plan, configuration, forget
from asyncmachine.machine.relations import RECORDED, Recorded
from asyncmachine.machine.rules import Rules, mask_of
from asyncmachine.machine.steps import Relation, Step, StepType
from tests.machine.listening import Keeper, listen, texts
from tests.machine.recording import logging_handlers
from tests.machine.strategies import mutations, schemas

RESOLVERS = ["recorded", "strict"]


def rules_for(schema: am.Schema, relations: str) -> Rules:
    machine: am.Machine[str] = am.Machine(schema, relations=relations)  # type: ignore[call-overload]
    return machine._rules


def run(steps: States) -> tuple[list[Fact], list[int]]:
    facts = []
    while True:
        try:
            facts.append(next(steps))
        except StopIteration as end:
            return facts, end.value


@given(st.data())
@settings(max_examples=300, deadline=None)
@pytest.mark.parametrize("relations", RESOLVERS)
def test_twins_decide_as_their_resolvers(relations: str, data: st.DataObject) -> None:
    schema = data.draw(schemas(after_cycles=relations == "recorded"))
    rules = rules_for(schema, relations)
    some = st.lists(st.integers(0, len(rules.names) - 1), unique=True)
    active, called, kind = data.draw(some), data.draw(some), data.draw(st.integers(0, 2))
    vetoed = data.draw(st.integers(0, 7)) if kind == 0 else 0
    twin, order_twin = explaining.twins_of(rules)
    assert twin is not None
    assert order_twin is not None
    facts, target = run(twin(rules, active, kind, called, vetoed))
    assert tuple(target) == rules.resolver.target_states(rules, active, kind, called, vetoed)
    assert tuple(run(order_twin(rules, active))[1]) == rules.resolver.in_order(rules, active)
    for fact in facts:
        check(fact, rules, active)


def check(fact: Fact, rules: Rules, active: Sequence[int]) -> None:
    """What a fact claims is in the schema."""
    schema = rules.schema
    match fact:
        case Step(type=StepType.RELATION, from_state=one, to_state=other, relation=Relation.AFTER):
            assert one in (schema[other].after or ())
        case Step(type=StepType.RELATION, from_state=one, to_state=other, relation=relation):
            assert relation is not None
            assert other in getattr(schema[one], str(relation))
        case Dropped(states):
            for name, missing in states:
                assert set(missing) <= set(schema[name].require or ())
        case Blocked(name, by, was_active):
            assert was_active == (rules.index[name] in active)
            assert all(name in (schema[blocker].remove or ()) for blocker in by)


def story(
    schema: am.Schema,
    relations: str,
    steps: Iterable[tuple[str, tuple[str, ...]]],
    vetoes: Iterable[str],
    forgetful: bool,
) -> Iterator[object]:
    """All that is told about these mutations."""
    machine: am.Machine[str] = am.Machine(schema, relations=relations, id="m")  # type: ignore[call-overload]
    lines = listen(machine)
    keeper = Keeper()
    machine.log.switch("steps", "can")
    machine.bind(logging_handlers(schema.names, [], vetoes=vetoes), id="h")
    machine.trace(keeper)
    for kind, called in steps:
        if forgetful:
            forget(machine._rules)
        yield getattr(machine, kind)(called).outcome
        yield machine.time()
    yield [line for line in lines if not line.startswith("[tracers]")]
    for tx in keeper.ended:
        yield from (tx.steps, texts(tx.log_entries), texts(tx.pre_log_entries)[-1:], tx.text().split("\n")[1:])


@given(st.data())
@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize("relations", RESOLVERS)
def test_what_is_remembered_is_told_alike(relations: str, data: st.DataObject) -> None:
    schema = data.draw(schemas(after_cycles=relations == "recorded"))
    vetoes = data.draw(st.sets(st.sampled_from(["AEnter", "BExit", "AB", "BB", "CEnter", "AnyEnter"]), max_size=2))
    steps = data.draw(st.lists(mutations(schema.names), min_size=1, max_size=8))
    warm = am.Schema(schema)
    first = list(story(warm, relations, steps, vetoes, forgetful=False))
    assert list(story(warm, relations, steps, vetoes, forgetful=False)) == first
    assert list(story(am.Schema(schema), relations, steps, vetoes, forgetful=True)) == first


@given(st.data())
@settings(max_examples=100, deadline=None)
@pytest.mark.parametrize("relations", RESOLVERS)
def test_listening_changes_nothing(relations: str, data: st.DataObject) -> None:
    schema = data.draw(schemas(after_cycles=relations == "recorded"))
    steps = data.draw(st.lists(mutations(schema.names), min_size=1, max_size=8))
    quiet: am.Machine[str] = am.Machine(schema, relations=relations)  # type: ignore[call-overload]
    heard: am.Machine[str] = am.Machine(schema, relations=relations)  # type: ignore[call-overload]
    lines = listen(heard)
    heard.log.switch()
    for kind, called in steps:
        assert getattr(quiet, kind)(called).outcome is getattr(heard, kind)(called).outcome
        assert quiet.time() == heard.time()
        assert quiet.active_states() == heard.active_states()
    assert quiet.queue_tick == heard.queue_tick
    assert lines


# Other resolvers


class Silent:
    """A resolver of one's own: what is called is the target."""

    name = "silent"

    def verify(self, rules: Rules) -> None:
        pass

    def target_states(
        self, rules: Rules, active: Sequence[int], kind: int, called: Sequence[int], vetoed: int = 0
    ) -> tuple[int, ...]:
        return tuple(called) if called != (0,) else (1,)

    def in_order(self, rules: Rules, states: Iterable[int]) -> tuple[int, ...]:
        return tuple(states)

    def auto_states(self, rules: Rules, active: int) -> tuple[int, ...]:
        return ()


class Talking(Silent):
    """The same, with reasons."""

    def explain(self, rules: Rules, active: Sequence[int], kind: int, called: Sequence[int], vetoed: int = 0) -> States:
        yield Blocked("A", ("Nature",), was_active=False)
        return list(self.target_states(rules, active, kind, called))

    def explain_order(self, rules: Rules, states: Iterable[int]) -> States:
        yield Step(StepType.RELATION, "B", "A", Relation.AFTER)
        return list(states)


class Backwards(Recorded):
    """A resolver derived from a shipped one, which no twin tells about."""

    def target_states(
        self, rules: Rules, active: Sequence[int], kind: int, called: Sequence[int], vetoed: int = 0
    ) -> tuple[int, ...]:
        return super().target_states(rules, active, kind, called, vetoed)[::-1]


def facing(resolver: Any) -> tuple[am.Machine[str], list[str], Keeper]:
    schema: dict[str, dict[str, Any]] = {"A": {"remove": ["C"], "add": ["B"]}, "B": {}, "C": {}}
    machine: am.Machine[str] = am.Machine(schema, relations=resolver)
    keeper = Keeper()
    machine.trace(keeper)
    machine.log.steps = True
    return machine, listen(machine), keeper


def test_a_resolver_without_reasons_is_told_by_its_outcome() -> None:
    machine, lines, keeper = facing(Silent())
    assert machine.add("A").canceled
    assert lines == ["[queue:add] A", "[add] A", "[implied] B", "[cancel:reject] A"]
    assert [str(step) for step in keeper.last.steps] == ["called **A**", "activate **A**", "cancel **A**"]


def test_a_resolver_can_give_its_reasons() -> None:
    machine, lines, keeper = facing(Talking())
    assert machine.add("A").canceled
    assert lines[2:] == ["[rel:remove] A by Nature", "[implied] B", "[cancel:reject] A"]
    machine.set(["C", "B"])
    machine.set("B")
    assert [str(step) for step in keeper.last.steps][-1] == "**B** after **A**"


def test_reasons_that_do_not_fit_the_outcome_are_not_given() -> None:
    machine, lines, _ = facing(Backwards())
    machine.add("C")
    machine.add("A")
    assert lines[-4:] == ["[queue:add] A", "[add] A", "[implied] B", "[state] +B +A -C"]


# Keeping


def test_an_explanation_is_made_once() -> None:
    rules = rules_for(am.Schema({"A": {"add": ["B"]}, "B": {}}), "recorded")
    plan = Plan(rules, configuration(rules, ()), 0, (0,))
    found = explanation(rules, plan)
    assert explanation(rules, plan) is found
    assert plan.explained is found
    assert found.shown(am.LogLevel.OPS) is found.shown(am.LogLevel.OPS)
    assert texts(found.shown(am.LogLevel.OPS)) == ["[add] A", "[implied] B"]
    assert found.shown(am.LogLevel.CHANGES) == ()


def test_facts_of_the_shipped_resolver() -> None:
    rules = rules_for(am.Schema({"A": {"after": ["B"]}, "B": {}}), "recorded")
    plan = Plan(rules, Configuration(rules, ()), 0, (0, 1))
    after = Step(StepType.RELATION, "B", "A", Relation.AFTER)
    assert resolver_facts(rules, plan) == [after]
    assert order_facts(rules, [0, 1], [1, 0]) == [after]
    assert order_facts(rules, [0, 1], [0, 1]) == []
    assert rules.resolver is RECORDED
    assert mask_of(plan.target) == 3


def test_a_cycle_is_named_by_its_first_state() -> None:
    assert require_cycle([(1,), (2,), (1,)]) == 1
    assert require_cycle([(1,), ()]) == -1
    assert require_cycle([(0,)]) == 0
