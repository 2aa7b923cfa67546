"""Schemas: as a class, as a mapping, merged, prefixed, verified."""

from __future__ import annotations

from types import new_class
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import Schema, SchemaError, State, StatesDef, group, state


class Base(StatesDef):
    Start = state()
    Ready = state(require=Start)


class Download(Base):
    Downloading = state(require=Base.Start, remove="Downloaded")
    Downloaded = state(remove=Downloading)
    Flow = group(Downloading, Downloaded)


# A class of states


def test_members_are_plain_texts() -> None:
    assert type(Download.Downloading) is str
    assert Download.Downloading == "Downloading"


@pytest.mark.parametrize("declares", [state, group])
def test_a_declaration_without_parentheses_is_refused(declares: Any) -> None:
    """It would be no state, and nobody would hear of it."""
    with pytest.raises(SchemaError, match=rf"^Door.Open = {declares.__name__}: write {declares.__name__}\(\)"):
        new_class("Door", (StatesDef,), exec_body=lambda body: body.update(Closed=state(), Open=declares))


def test_names_are_exception_then_inherited_then_own_in_declared_order() -> None:
    assert Download.names == ("Exception", "Start", "Ready", "Downloading", "Downloaded")
    assert Download.schema.names == Download.names


def test_several_bases_are_taken_one_after_another_and_each_state_once() -> None:
    class Left(Base):
        L = state()

    class Right(Base):
        R = state()

    class Both(Left, Right):
        Own = state()

    assert Both.names == ("Exception", "Start", "Ready", "L", "R", "Own")


def test_a_relation_names_members_texts_and_groups() -> None:
    class Flow(StatesDef):
        A = state(remove=("B", "C"))
        B = state(add=A)
        C = state(after=(A, B))
        AB = group(A, B)
        D = state(require=AB, remove=[AB, "C"])

    assert Flow.schema["A"] == State(remove=("B", "C"))
    assert Flow.schema["B"] == State(add=("A",))
    assert Flow.schema["C"] == State(after=("A", "B"))
    assert Flow.schema["D"] == State(require=("A", "B"), remove=("A", "B", "C"))


def test_a_state_declared_again_is_replaced_whole() -> None:
    class Again(Download):
        Downloading = state(multi=True)

    assert Again.schema["Downloading"] == State(multi=True)
    assert Again.names == Download.names
    assert Download.schema["Downloading"] == State(require=("Start",), remove=("Downloaded",))


def test_of_two_inherited_definitions_the_one_counts_that_python_would_find() -> None:
    class Plain(Base):
        pass

    class Changed(Base):
        Ready = state(auto=True)

    class Both(Plain, Changed):
        pass

    assert Both.schema["Ready"] == State(auto=True)


def test_groups_are_tuples_of_names_and_are_inherited() -> None:
    class More(Download):
        Pair = group(Base.Start, Base.Ready)

    assert Download.Flow == ("Downloading", "Downloaded")
    assert More.Flow == Download.Flow
    assert More.groups == {"self": (), "Flow": ("Downloading", "Downloaded"), "Pair": ("Start", "Ready")}
    assert Download.groups["self"] == ("Downloading", "Downloaded")


def test_an_empty_relation_is_not_the_same_as_none() -> None:
    class Empty(StatesDef):
        A = state(remove=())
        B = state()

    assert Empty.schema["A"].remove == ()
    assert Empty.schema["B"].remove is None


def test_the_schema_of_a_class_is_made_once() -> None:
    assert Download.schema is Download.schema
    assert Base.schema is not Download.schema


# A mapping


def test_a_schema_is_read_from_plain_data() -> None:
    schema = Schema({"Foo": {"require": ["Bar"], "auto": True}, "Bar": {"multi": True, "tags": ["a", "b:1"]}})
    assert schema["Foo"] == State(auto=True, require=("Bar",))
    assert schema["Bar"] == State(multi=True, tags=("a", "b:1"))
    assert schema.names == ("Foo", "Bar")
    assert len(schema) == 2 and "Foo" in schema and "Zed" not in schema


def test_a_schema_shows_its_names() -> None:
    assert repr(Download.schema) == "Schema(Exception, Start, Ready, Downloading, Downloaded)"


def test_one_name_will_do_for_a_list() -> None:
    assert Schema({"Foo": {"require": "Bar"}})["Foo"].require == ("Bar",)


def test_plain_data_makes_the_same_schema_again() -> None:
    data = Download.schema.to_dict()
    assert data["Downloading"] == {"require": ["Start"], "remove": ["Downloaded"]}
    assert data["Start"] == {}
    assert Schema(data) == Download.schema
    assert Schema(data).hash == Download.schema.hash


@pytest.mark.parametrize(
    ("states", "complaint"),
    [
        ({"Foo": {"requires": ["Bar"]}}, "state 'Foo': unknown keys ['requires']; known are auto, multi"),
        ({"Foo": 3}, "state 'Foo': expected a State or a mapping, got int"),
        ({"Foo": {"add": 3}}, "state 'Foo': add must be a list of names, got 3"),
        ({"Foo": {"add": ["Bar", 3]}}, "state 'Foo': add must be a list of names"),
        ({"": {}}, "state names are non-empty texts, got ''"),
        ({3: {}}, "state names are non-empty texts, got 3"),
    ],
)
def test_data_that_is_no_schema_is_refused_with_the_state_and_the_cure(
    states: dict[str, object], complaint: str
) -> None:
    with pytest.raises(SchemaError) as caught:
        Schema(states)  # type: ignore[arg-type]
    assert complaint in str(caught.value)


# Operations


def test_extend_turns_flags_on_and_lets_relations_grow() -> None:
    base = State(auto=True, require=("A",), remove=("X",), tags=("t",))
    grown = base.extend(State(multi=True, require=("B", "A"), add=("C",), tags=("ignored",)))
    assert grown == State(auto=True, multi=True, require=("A", "B"), add=("C",), remove=("X",), tags=("t",))


def test_override_replaces_the_relations_that_are_given() -> None:
    base = State(auto=True, require=("A",), remove=("X",), tags=("t",))
    assert base.override(State(require=(), add=("C",))) == State(
        auto=True, require=(), add=("C",), remove=("X",), tags=("t",)
    )
    assert base.override(State(), auto=False, multi=True) == State(
        multi=True, require=("A",), remove=("X",), tags=("t",)
    )


def test_related_lists_add_after_require_and_remove() -> None:
    found = State(require=("R",), add=("A",), remove=("X",), after=("F",))
    assert found.related() == ("A", "F", "R", "X")


def test_merge_takes_the_right_most_definition_as_a_whole() -> None:
    left = Schema({"A": {"require": "B"}, "B": {}})
    merged = left.merge({"A": State(auto=True)}, {"C": State()})
    assert merged.names == ("A", "B", "C")
    assert merged["A"] == State(auto=True)
    assert left["A"] == State(require=("B",)), "the original is untouched"


def test_prefixed_renames_states_and_their_targets() -> None:
    schema = Schema({"Foo": {"require": ["Bar"]}, "Bar": {"remove": ["Foo"]}}).prefixed("Browser3")
    assert schema == Schema({"Browser3Foo": {"require": ["Browser3Bar"]}, "Browser3Bar": {"remove": ["Browser3Foo"]}})


def test_prefixed_leaves_targets_outside_of_the_copied_states_alone() -> None:
    schema = Schema({"Foo": {"require": ["Start", "Bar"]}, "Bar": {}, "Start": {}}).prefixed("P", ["Foo", "Bar"])
    assert schema == Schema({"PFoo": {"require": ["Start", "PBar"]}, "PBar": {}})


def test_prefixed_once_decides_for_each_name_alone() -> None:
    schema = Schema({"PFoo": {"require": ["Bar"]}, "Bar": {"remove": ["PFoo"]}}).prefixed("P", once=True)
    assert schema == Schema({"PFoo": {"require": ["PBar"]}, "PBar": {"remove": ["PFoo"]}})


def test_ordered_needs_each_state_once() -> None:
    schema = Schema({"A": {}, "B": {}})
    assert schema.ordered(["B", "A"]).names == ("B", "A")
    for names in (["A"], ["A", "B", "C"], ["A", "B", "B"]):
        with pytest.raises(SchemaError, match="must name each state once"):
            schema.ordered(names)


def test_the_hash_tells_names_order_and_rules_apart() -> None:
    schema = Schema({"A": {"require": ["B"]}, "B": {}})
    assert len(schema.hash) == 16 and int(schema.hash, 16) >= 0
    assert schema.hash == Schema({"A": State(require=("B",)), "B": State(add=())}).hash
    others = [
        Schema({"B": {}, "A": {"require": ["B"]}}),
        Schema({"A": {"require": ["B"]}, "C": {}}),
        Schema({"A": {"remove": ["B"]}, "B": {}}),
        Schema({"A": {"require": ["B"]}, "B": {"multi": True}}),
    ]
    assert len({schema.hash, *(other.hash for other in others)}) == 5


def test_relations_are_listed_in_a_fixed_order() -> None:
    schema = Schema({"A": {"after": ["B"], "add": ["B", "C"], "remove": []}, "B": {"require": ["A"]}, "C": {}})
    assert schema.relations_of("A") == ("add", "remove", "after")
    assert schema.relations_between("A", "B") == ("add", "after")
    assert schema.relations_between("A", "C") == ("add",)
    assert schema.relations_between("C", "A") == ()
    assert schema.inbound_relations_of("B") == ("A",)
    assert schema.inbound_relations_of("A") == ("B",)
    with pytest.raises(KeyError):
        schema.relations_of("Zed")
    with pytest.raises(KeyError):
        schema.relations_between("A", "Zed")
    with pytest.raises(KeyError):
        schema.inbound_relations_of("Zed")


# In a machine


def test_exception_is_added_to_a_schema_without_it() -> None:
    machine = am.Machine({"A": {}})
    assert machine.names == ("A", "Exception")
    assert machine.schema["Exception"] == State(multi=True)


def test_an_own_definition_of_exception_is_used_as_given() -> None:
    machine = am.Machine({"Exception": {"remove": ["A"]}, "A": {}})
    assert machine.schema["Exception"] == State(remove=("A",))


def test_names_fix_the_order() -> None:
    machine = am.Machine({"A": {}, "B": {}}, names=["Exception", "B", "A"])
    assert machine.names == ("Exception", "B", "A")
    assert [machine.index(name) for name in ("B", "A", "Zed")] == [1, 2, -1]
    with pytest.raises(SchemaError, match=r"missing: \['Exception'\]"):
        am.Machine({"A": {}}, names=["A"])


@pytest.mark.parametrize("key", ["require", "add", "remove", "after"])
def test_a_relation_to_an_unknown_state_is_refused_with_the_nearest_name(key: str) -> None:
    with pytest.raises(SchemaError) as caught:
        am.Machine({"Downloading": {key: ["Downloadd"]}, "Downloaded": {}})
    assert str(caught.value) == (
        f"state 'Downloading': {key} names unknown state 'Downloadd'; did you mean 'Downloaded'?"
    )


def test_a_relation_to_a_name_like_no_other_says_what_to_do() -> None:
    with pytest.raises(SchemaError, match="define it, or drop it from the relation"):
        am.Machine({"A": {"add": ["Whatever"]}})


def test_a_misspelt_forward_reference_of_a_class_is_found_when_a_machine_is_made() -> None:
    class Typo(StatesDef):
        Loading = state(remove="Loadde")
        Loaded = state()

    with pytest.raises(SchemaError, match="did you mean 'Loaded'"):
        am.Machine(Typo)


def test_unknown_names_can_be_kept_out_instead() -> None:
    machine = am.Machine(
        {"A": {"add": ["Zed", "B"], "remove": ["Yak"], "after": ["Zed"]}, "B": {}, "C": {"require": ["Zed"]}},
        unknown_names="keep",
    )
    assert machine.schema["A"] == State(add=("B",), remove=(), after=())
    assert machine.add("A").executed
    assert machine.add("C").canceled, "a Require of a state that does not exist is never met"


def test_requiring_what_one_removes_is_refused() -> None:
    with pytest.raises(SchemaError, match="require-remove conflict for A to B"):
        am.Machine({"A": {"require": ["B"], "remove": ["B"]}, "B": {}})


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(SchemaError) as caught:
        am.Machine({"A": {"require": ["B"], "remove": ["B"]}, "B": {"add": ["Zed"]}})
    assert "conflict for A to B; drop one of the two relations; state 'B': add names" in str(caught.value)


def test_a_state_neither_removes_nor_follows_itself() -> None:
    machine = am.Machine({"A": {"remove": ["A", "B"], "after": ["A"]}, "B": {"remove": ["A", "B"]}})
    assert machine.schema["A"] == State(remove=("B",), after=())
    assert machine.add("A").executed


def test_a_state_that_is_both_added_and_removed_is_added() -> None:
    machine = am.Machine({"A": {"add": ["B"], "remove": ["B"]}, "B": {}})
    machine.add("A")
    assert machine.active_states() == ("A", "B")


def test_machines_of_one_schema_share_its_rules_and_not_their_time() -> None:
    first, second = am.Machine(Download), am.Machine(Download)
    first.add(Download.Start)
    assert first.schema is second.schema
    assert second.active_states() == ()


def test_a_long_chain_of_requirements_is_ordered() -> None:
    size = 3000
    chain = {f"S{n}": {"require": [f"S{n + 1}"]} if n + 1 < size else {} for n in range(size)}
    machine = am.Machine(chain)
    machine.add([f"S{n}" for n in range(size)])
    assert machine.active_states()[0] == f"S{size - 1}"


def test_relations_must_be_a_known_way_to_resolve() -> None:
    with pytest.raises(SchemaError, match=r"relations must be .* got .other."):
        am.Machine({"A": {}}, relations="other")  # type: ignore[call-overload]


@pytest.mark.parametrize("states", [["Foo"], "Foo", None, Base()])
def test_what_is_no_schema_is_refused(states: Any) -> None:
    words = f"a mapping from names to states; got an instance of {type(states).__name__}$"
    with pytest.raises(SchemaError, match=words):
        am.Machine(states)
