"""Steps: what a transition consulted and did, in order."""

from __future__ import annotations

from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.machine.steps import touched_states
from tests.machine.listening import Keeper, made

T = am.StepType


def stepping(machine: am.Machine[Any]) -> Keeper:
    machine.log.steps = True
    keeper = Keeper()
    machine.trace(keeper)
    return keeper


def told(tx: am.Transition) -> list[str]:
    return [str(step) for step in tx.steps]


def test_the_text_of_a_transition() -> None:
    machine = made(A={"add": ["B"], "remove": ["C"]}, B={"require": ["A"], "after": ["A"]}, C={})
    machine.add("C")
    keeper = stepping(machine)
    machine.add("A")
    tx = keeper.last
    assert tx.text() == (
        f"tx#{tx.id}\n"
        "[add] A\n"
        "- called **A**\n"
        "- activate **A**\n"
        "- **A** add **B**\n"
        "- activate **B**\n"
        "- **B** require **A**\n"
        "- **A** remove **C**\n"
        "- deactivate **C**\n"
        "- **A** add **B**\n"
        "- activate **B**\n"
        "- **B** require **A**\n"
        "- **A** after **B**"
    )
    assert touched_states(tx.steps) == ("A", "B", "C")


def test_the_text_names_the_source() -> None:
    machine = made(A={})
    keeper = stepping(machine)
    machine.add("A", e=am.MutationSource("other", "123", 7))
    assert keeper.last.text().splitlines()[1:3] == ["[add] A", "source: [123](other/123/t7)"]


def test_nothing_is_recorded_unless_asked_for() -> None:
    machine = made(A={})
    keeper = Keeper()
    machine.trace(keeper)
    machine.log.keep(am.LogLevel.EVERYTHING)
    machine.add("A")
    assert keeper.last.steps == ()
    assert keeper.last.text() == f"tx#{keeper.last.id}\n[add] A"


def test_dry_runs_are_recorded_when_they_are_asked_for_too() -> None:
    machine = made(A={})
    keeper = stepping(machine)
    machine.can_add("A")
    assert keeper.last.steps == ()
    machine.log.can = True
    machine.can_add("A")
    assert told(keeper.last) == ["called **A**", "activate **A**"]


@pytest.mark.parametrize("relations", ["recorded", "strict"])
def test_a_removal(relations: Any) -> None:
    machine: am.Machine[str] = am.Machine({"A": {}, "B": {"require": ["A"]}, "C": {}}, relations=relations)
    machine.add(["A", "B"])
    keeper = stepping(machine)
    machine.remove(["A", "C"])
    assert told(keeper.last)[:6] == [
        "called **A**",
        "called **C**",
        "deactivate **A**",
        "deactivate **C**",
        "**B** require **A**",
        "deactivate-passive **B**",
    ]
    assert machine.active_states() == ()


def test_a_set_leaves_states_out() -> None:
    machine = made(A={}, B={}, C={})
    machine.add(["A", "B"])
    keeper = stepping(machine)
    machine.set(["C", "B"])
    assert told(keeper.last) == ["called **C**", "called **B**", "activate **C**", "deactivate **A**"]


def test_a_called_state_that_misses_something() -> None:
    machine = made(A={"require": ["B", "C"]}, B={}, C={})
    machine.add("B")
    keeper = stepping(machine)
    assert machine.add("A").canceled
    assert told(keeper.last) == [
        "called **A**",
        "activate **A**",
        "**A** require **B**",
        "**A** require **C**",
        "deactivate-passive **A**",
        "cancel **C**",
        "cancel **A**",
    ]


def test_a_requirement_that_nobody_defines() -> None:
    machine = am.Machine({"A": {"require": ["Nobody"]}}, unknown_names="keep")
    keeper = stepping(machine)
    assert machine.add("A").canceled
    assert "**A** require **Nobody**" in told(keeper.last)
    assert "cancel **Nobody**" in told(keeper.last)


def test_a_blocked_state() -> None:
    machine = made(A={"remove": ["B"]}, B={}, C={"remove": ["B"]})
    machine.add(["A", "C"])
    keeper = stepping(machine)
    assert machine.add("B").canceled
    assert told(keeper.last) == [
        "called **B**",
        "activate **B**",
        "**A** remove **B**",
        "**C** remove **B**",
        "deactivate-passive **B**",
        "cancel **B**",
    ]


def test_exits_are_put_in_order_too() -> None:
    machine = made(A={"after": ["B"]}, B={})
    machine.add(["A", "B"])
    keeper = stepping(machine)
    machine.set(())
    assert told(keeper.last) == ["deactivate **B**", "deactivate **A**", "**B** after **A**"]


def test_handlers() -> None:
    machine = made(A={}, B={})
    machine.add("A")
    names = ["AExit", "AEnd", "BEnter", "BState", "AA", "AB", "AnyEnter", "AnyState"]
    machine.bind({name: lambda e: None for name in names})
    keeper = stepping(machine)
    machine.add("B")
    assert keeper.last.steps[2:] == [
        am.Step(T.HANDLER, to_state="B", is_enter=True),
        am.Step(T.HANDLER, to_state="A", is_self=True),
        am.Step(T.HANDLER, "A", "B"),
        am.Step(T.HANDLER, "Any", "Any", is_enter=True),
        am.Step(T.HANDLER, to_state="B", is_final=True, is_enter=True),
        am.Step(T.HANDLER, "Any", "Any", is_final=True, is_enter=True),
    ]
    assert told(keeper.last)[2:] == [
        "handler **B**Enter",
        "handler **A** **A**",
        "handler **A** **B**",
        "handler **Any**Enter",
        "handler **B**State",
        "handler **Any**State",
    ]
    machine.remove("A")
    assert keeper.last.steps[2:] == [
        am.Step(T.HANDLER, from_state="A"),
        am.Step(T.HANDLER, "A", "B"),
        am.Step(T.HANDLER, "Any", "Any", is_enter=True),
        am.Step(T.HANDLER, to_state="A", is_final=True),
        am.Step(T.HANDLER, "Any", "Any", is_final=True, is_enter=True),
    ]
    assert told(keeper.last)[2:] == [
        "handler **A**Exit",
        "handler **A** **B**",
        "handler **Any**Enter",
        "handler **A**End",
        "handler **Any**State",
    ]
    assert touched_states(keeper.last.steps) == ("A", "B")


def test_each_function_that_is_called_is_a_step() -> None:
    machine = made(A={}, B={})
    machine.bind({"AState": lambda e: None, "BEnter": lambda e: False})
    machine.bind({"AState": lambda e: None, "BEnter": lambda e: None})
    keeper = stepping(machine)
    machine.add("A")
    assert told(keeper.last)[2:] == ["handler **A**State"] * 2
    machine.add("B")
    assert told(keeper.last)[2:] == ["handler **B**Enter"]


def test_an_auto_transition_consults_relations_twice() -> None:
    machine = made(
        A={}, B={"auto": True, "add": ["C"]}, C={"require": ["A"]}, D={"auto": True, "require": ["Never"]}, Never={}
    )
    keeper = stepping(machine)
    machine.bind({"BEnter": lambda e: None})
    machine.add("A")
    resolved = ["**B** add **C**", "activate **C**", "**C** require **A**"]
    assert told(keeper.last) == [
        "called **B**",
        "called **D**",
        "activate **B**",
        "activate **D**",
        "**B** add **C**",
        "activate **C**",
        "**D** require **Never**",
        "deactivate-passive **D**",
        "cancel **Never**",
        "**C** require **A**",
        "**C** require **A**",
        "**B** add **C**",
        "activate **C**",
        "**C** require **A**",
        "handler **B**Enter",
        *resolved,
        *resolved,
    ]


def test_texts_of_kinds() -> None:
    assert [str(kind) for kind in T] == [
        "rel",
        "handler",
        "activate",
        "deactivate",
        "deactivate-passive",
        "called",
        "cancel",
    ]
    assert [kind.value for kind in T] == [1, 2, 4, 8, 16, 32, 64]
    assert [(str(kind), kind.value) for kind in am.Relation] == [
        ("after", 0),
        ("add", 1),
        ("require", 2),
        ("remove", 3),
    ]


def test_a_step_without_states_is_about_any() -> None:
    assert str(am.Step(T.CALLED)) == "called **Any**"
