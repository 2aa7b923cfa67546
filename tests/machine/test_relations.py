"""Where a mutation leads: cases with a known answer, and a second, slow machine to agree with on random schemas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

import asyncmachine as am
from asyncmachine import Outcome
from tests.machine.recording import RawSchema, Recorder, logging_handlers
from tests.machine.slow_machine import SlowMachine
from tests.machine.strategies import mutations, schemas

DONE, NOT = Outcome.EXECUTED, Outcome.CANCELED
Step = tuple[str, str]


@dataclass(frozen=True)
class Case:
    """Known behaviour: after `before`, the last mutation gives `outcome` and leaves the machine as `after`.

    `schema` names the states that have relations; A to E are there anyway.
    """

    number: str
    schema: RawSchema
    mutation: Step
    outcome: Outcome
    after: str
    before: tuple[Step, ...] = ()
    vetoes: tuple[str, ...] = ()
    raises: tuple[str, ...] = ()
    named: str = field(default="")

    def __str__(self) -> str:
        return f"{self.number} {self.named}"


WATER: RawSchema = {
    "Wet": {"require": "Water"},
    "Dry": {"remove": "Wet"},
    "Water": {"add": "Wet", "remove": "Dry"},
}
EITHER: RawSchema = {"Z": {"add": "B"}, "A": {"remove": "B"}, "B": {"remove": "A"}}
CHAIN: RawSchema = {"A": {"require": "B"}, "B": {"require": "C"}}

CASES = [
    Case("4", {"A": {"add": "B"}, "B": {"add": "C"}, "C": {"add": "D"}, "D": {"add": "E"}}, ("add", "A"), DONE,
         "(A:1 B:1 C:1)", named="Add reaches two levels"),
    Case("5", {"Z": {"add": "Y"}, "Y": {"add": "B"}, "B": {"remove": "A"}}, ("add", "Z"), DONE,
         "(A:1 B:1 Z:1 Y:1)", before=(("add", "A"),), named="Remove of the second level does not count"),
    Case("6", {"Y": {"add": "B"}, "B": {"remove": "A"}}, ("add", "Y"), DONE,
         "(B:1 Y:1)", before=(("add", "A"),), named="an implied state removes an active one"),
    Case("7", EITHER, ("add", "Z"), DONE,
         "(A:1 Z:1)", before=(("add", "A"),), named="active goes before implied"),
    Case("8", EITHER, ("set", "Z"), DONE,
         "(B:1 Z:1)", named="nothing is in the way of the implied one"),
    Case("9", {"A": {"multi": True, "add": "B"}}, ("add", "C"), DONE,
         "(A:1 B:3 C:1)", before=(("add", "A"), ("remove", "B")), named="an active Multi state implies every time"),
    Case("10", {"C": {"remove": "D"}}, ("set", "C D"), NOT,
         "(D:1)", before=(("add", "D"),), named="called states are all or nothing"),
    Case("11", {"C": {"require": "D"}}, ("set", "C A"), NOT,
         "(A:1)", before=(("add", "A"),), named="a missing requirement cancels"),
    Case("12", {"B": {"auto": True, "require": "A"}}, ("add", "A"), DONE,
         "(A:1 B:1)", named="an Auto state follows"),
    Case("13", {"A": {"auto": True}, "B": {"auto": True, "after": "A", "require": "C"}}, ("add", "D"), DONE,
         "(A:1 D:1)", named="auto is content with some"),
    Case("14", {"C": {"auto": True, "require": "B"}, "D": {"auto": True, "require": "B"}}, ("add", "A"), DONE,
         "(A:1)", named="auto may find none"),
    Case("15", {"A": {"auto": True}, "B": {"auto": True}}, ("add", "C"), DONE,
         "(A:1 C:1)", vetoes=("CB",), named="a pair's veto takes out one Auto state"),
    Case("16", {"A": {"auto": True}, "B": {"auto": True, "add": "D"}}, ("add", "C"), DONE,
         "(A:1 C:1)", vetoes=("BEnter",), named="what a vetoed Auto state implied does not come"),
    Case("17", {"A": {"auto": True}, "B": {"auto": True}}, ("add", "C"), DONE,
         "(C:1)", vetoes=("CC",), named="a self veto cancels the auto transition"),
    Case("18", {"A": {"multi": True, "add": "B", "require": "C"}, "B": {"require": "C"}}, ("remove", "B"), DONE,
         "(A:1 C:1)", before=(("add", "A C"),), named="what is removed is not implied again"),
    Case("19", WATER, ("set", "Water"), DONE,
         "(Wet:1 Water:1)", before=(("set", "Dry"),), named="water makes wet"),
    Case("22", {}, ("add", "B"), NOT,
         "(A:1 Exception:1)", before=(("add", "A"),), raises=("BEnter",), named="a negotiation handler raises"),
    Case("23", {}, ("add", "A B C"), NOT,
         "(A:1 Exception:1)", raises=("BState",), named="a State handler raises"),
    Case("24", {"A": {"multi": True}}, ("add", "A B C"), NOT,
         "(A:1 Exception:1)", raises=("BState",), named="a State handler raises beside a Multi state"),
    Case("25", {}, ("set", "B"), NOT,
         "(B:1 Exception:1)", before=(("add", "A"),), raises=("AEnd",), named="an End handler raises"),
    Case("27a", {}, ("set", "D"), NOT,
         "(A:1)", before=(("add", "A"),), vetoes=("DEnter",), named="a veto of set"),
    Case("27b", {}, ("add", "D"), NOT,
         "(A:1)", before=(("add", "A"),), vetoes=("DEnter",), named="a veto of add"),
    Case("28", {}, ("remove", "A"), NOT,
         "(A:1)", before=(("add", "A"),), vetoes=("AExit",), named="a veto of remove"),
    Case("32a", {"A": {"require": "B"}, "B": {"require": "A"}}, ("add", "A"), NOT,
         "()", named="half of a pair that needs each other"),
    Case("32b", {"A": {"require": "B"}, "B": {"require": "A"}}, ("add", "A B"), DONE,
         "(A:1 B:1)", named="both of them"),
    Case("33", CHAIN, ("remove", "C"), DONE,
         "()", before=(("add", "A B C"),), named="all that need it go with it"),
    Case("a", {"C": {"remove": "D"}}, ("add", "C"), DONE,
         "(C:1)", before=(("add", "D"),), named="called goes before active"),
    Case("b", {"C": {"remove": "D"}, "D": {"remove": "C"}}, ("add", "C"), DONE,
         "(C:1)", before=(("add", "D"),), named="called wins when both remove each other"),
    Case("c", {"A": {"remove": "B"}}, ("add", "B"), NOT,
         "(A:1)", before=(("add", "A"),), named="an active state blocks what it removes"),
    Case("d", {"A": {"add": "B"}, "C": {"require": "B"}}, ("add", "A C"), DONE,
         "(A:1 B:1 C:1)", named="a requirement that the same mutation implies"),
    Case("e", {"A": {"remove": "B"}, "B": {"remove": "C"}}, ("set", "A C"), DONE,
         "(A:1 C:1)", before=(("add", "B"),), named="who is gone blocks nobody"),
    Case("f", {"A": {"add": "B"}, "B": {"add": "C"}, "C": {"add": "A"}}, ("add", "A"), DONE,
         "(A:1 B:1 C:1)", named="an Add cycle"),
    Case("g", {"A": {"auto": True, "remove": "B"}, "B": {"auto": True, "remove": "A"}}, ("add", "C"), DONE,
         "(A:1 C:1)", named="two Auto states that remove each other: the first one"),
    Case("h", {"A": {"auto": True, "remove": "B"}, "B": {"auto": True, "remove": "A"}}, ("remove", "A"), DONE,
         "(C:1)", before=(("add", "C"),), vetoes=("CA",), named="and none when that one is refused"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_known_behaviour(case: Case) -> None:
    names = unique_names(case.schema)
    machine = am.Machine({name: case.schema.get(name, {}) for name in names})
    for kind, states in case.before:
        getattr(machine, kind)(states.split())
    if case.vetoes or case.raises:
        machine.bind(logging_handlers(names, [], vetoes=case.vetoes, raises=case.raises))
    kind, states = case.mutation
    result: am.Result = getattr(machine, kind)(states.split())
    assert (result.outcome, str(machine)) == (case.outcome, case.after)


def unique_names(schema: Mapping[str, object]) -> list[str]:
    return list(dict.fromkeys(["A", "B", "C", "D", "E", *schema]))


def test_required_states_come_first_in_the_order_of_handlers() -> None:
    schema: RawSchema = {
        "Start": {},
        "A": {"auto": True, "require": ["B", "C"]},
        "B": {"auto": True, "require": "D"},
        "C": {"auto": True},
        "D": {"auto": True},
    }
    calls: list[str] = []
    machine = am.Machine(schema, logging_handlers(schema, calls))
    machine.add("Start")
    order = [name for name in calls if name in ("AState", "BState", "CState", "DState")]
    assert order.index("DState") < order.index("BState") < order.index("AState")
    assert order.index("CState") < order.index("AState")


def test_after_orders_neighbours_only() -> None:
    machine = am.Machine(
        {"A": {"after": "D"}, "B": {}, "C": {}, "D": {"after": "C"}, "E": {"require": "B"}},
    )
    machine.add(["A", "B", "C", "D", "E"])
    assert machine.active_states() == ("A", "C", "D", "B", "E")


def test_after_goes_on_from_neighbour_to_neighbour() -> None:
    machine = am.Machine({"A": {"after": "D"}, "B": {"after": "D"}, "C": {"after": "D"}, "D": {}})
    machine.add(["A", "B", "C", "D"])
    assert machine.active_states() == ("D", "A", "B", "C")


def test_states_that_are_after_each_other_stay_as_they_were_called() -> None:
    machine = am.Machine({"A": {"after": ["B"]}, "B": {"after": ["A"]}})
    machine.add(["A", "B"])
    assert machine.active_states() == ("A", "B")


def test_active_states_stand_in_the_order_of_the_last_target() -> None:
    machine = am.Machine({"A": {}, "B": {}, "C": {}})
    machine.add("A")
    machine.add("B")
    assert machine.active_states() == ("B", "A")
    machine.add(["C", "A"])
    assert machine.active_states() == ("C", "A", "B")
    assert str(machine) == "(A:1 B:1 C:1)", "the text keeps the order of the schema"


def test_a_called_multi_state_ticks_twice_when_it_is_active() -> None:
    machine = am.Machine({"A": {}, "B": {"multi": True}, "C": {}, "D": {}})
    times = []
    for kind, states in [
        ("add", "A B"), ("add", "A B"), ("add", "A B C"), ("set", "D"),
        ("add", "D C"), ("remove", "B C"), ("add", "A B"), ("add", "C"),
    ]:  # fmt: skip
        getattr(machine, kind)(states.split())
        times.append("".join(map(str, machine.time(["A", "B", "C", "D"]))))
    # Without a relation between them, an add keeps what is active.
    assert times == ["1100", "1300", "1510", "2621", "2631", "2641", "3741", "3751"]


@given(st.data())
@settings(max_examples=250, deadline=None)
def test_the_slow_machine_agrees(data: st.DataObject) -> None:
    """With and without somebody who watches: a machine that nobody watches takes a shorter path."""
    machine = am.Machine(data.draw(schemas()))
    slow = SlowMachine(machine.schema)
    note(f"{machine.schema.to_dict()}")
    match data.draw(st.sampled_from(["unseen", "traced", "handled", "awaited"])):
        case "traced":
            machine.trace(Recorder())
        case "handled":
            machine.bind({"AnyState": lambda e: None})
        case "awaited":
            machine.when_query(lambda clock: False)
    for kind, called in data.draw(st.lists(mutations(machine.names), min_size=1, max_size=12)):
        result: am.Result = getattr(machine, kind)(called)
        assert result.outcome == slow.run(kind, called), (kind, called)
        assert machine.clock() == slow.ticks, (kind, called)
        assert list(machine.active_states()) == slow.active, (kind, called)
