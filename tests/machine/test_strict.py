"""What `relations="strict"` promises: proven on random schemas, shown on the cases where the default does not hold."""

from __future__ import annotations

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

import asyncmachine as am
from tests.machine.recording import RawSchema
from tests.machine.strategies import mutations, schemas


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_relations_hold_after_every_mutation(data: st.DataObject) -> None:
    schema = data.draw(schemas(after_cycles=False))
    note(f"{schema.to_dict()}")
    machine = am.Machine(schema, relations="strict")
    for kind, called in data.draw(st.lists(mutations(schema.names), min_size=1, max_size=12)):
        getattr(machine, kind)(called)
        active = machine.active_states()
        for at, name in enumerate(active):
            found = machine.schema[name]
            assert set(found.require or ()) <= set(active), f"{name} is active without what it requires"
            assert not set(found.remove or ()) & set(active) - {name}, f"{name} is active beside what it removes"
            assert not set(found.after or ()) & set(active[at + 1 :]), f"{name} stands before what it comes after"


def test_add_is_followed_to_its_end() -> None:
    chain: RawSchema = {"A": {"add": "B"}, "B": {"add": "C"}, "C": {"add": "D"}, "D": {"add": "E"}, "E": {"add": "A"}}
    machine = am.Machine(chain, relations="strict")
    machine.add("A")
    assert machine.active_states() == ("A", "B", "C", "D", "E")


def test_what_is_implied_takes_part_in_blocking() -> None:
    machine = am.Machine({"Z": {"add": "Y"}, "Y": {"add": "B"}, "B": {"remove": "A"}, "A": {}}, relations="strict")
    machine.add("A")
    machine.add("Z")
    assert machine.active_states() == ("Z", "Y", "B")


def test_a_dropped_state_takes_along_what_only_it_implied() -> None:
    machine = am.Machine({"A": {"add": "B"}, "B": {"add": "C", "require": "D"}, "C": {}, "D": {}}, relations="strict")
    machine.add("A")
    assert machine.active_states() == ("A",)


def test_a_multi_state_implies_only_when_it_is_called() -> None:
    machine = am.Machine({"A": {"multi": True, "add": "B"}, "B": {}, "C": {}}, relations="strict")
    machine.add("A")
    machine.remove("B")
    machine.add("C")
    assert machine.not_("B")
    machine.add("A")
    assert machine.is_("B")


def test_a_vetoed_auto_state_stays_out_though_another_one_implies_it() -> None:
    schema: RawSchema = {"Go": {}, "A": {"auto": True, "add": "B"}, "B": {"auto": True}}
    strict = am.Machine(schema, {"BEnter": lambda e: False}, relations="strict")
    strict.add("Go")
    assert strict.active_states() == ("A", "Go")
    recorded = am.Machine(schema, {"BEnter": lambda e: False})
    recorded.add("Go")
    assert recorded.is_("B"), "by default it comes back without being asked again"


def test_after_counts_for_every_pair() -> None:
    machine = am.Machine({"A": {"after": "D"}, "B": {}, "C": {}, "D": {"after": "C"}}, relations="strict")
    machine.add(["A", "B", "C", "D"])
    assert machine.active_states() == ("B", "C", "D", "A")


def test_a_cycle_of_after_is_refused() -> None:
    with pytest.raises(am.SchemaError, match="After cycle: A after B after A; drop one of these relations"):
        am.Machine({"A": {"after": "B"}, "B": {"after": "A"}}, relations="strict")


def test_require_gives_way_to_after() -> None:
    machine = am.Machine({"A": {"require": "B"}, "B": {"after": "A"}}, relations="strict")
    machine.add(["B", "A"])
    assert machine.active_states() == ("A", "B")
