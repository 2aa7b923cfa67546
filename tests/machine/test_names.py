"""Lists of state names: the repaired subtraction, what happens to doubles, order and unknown names."""

from __future__ import annotations

import re
from hashlib import md5

import pytest

from asyncmachine.machine import names as n


def test_unique_keeps_the_first_of_each() -> None:
    assert n.unique(["B", "A", "B", "C", "A"]) == ("B", "A", "C")
    assert n.unique([]) == ()


def test_union_joins_in_order_and_drops_doubles_of_all_lists() -> None:
    assert n.union(["C", "C"], ["A", "B"], ["B", "D"]) == ("C", "A", "B", "D")


def test_union_of_one_list_changes_nothing() -> None:
    assert n.union(["A", "A", "B"]) == ("A", "A", "B")
    assert n.union(["A", "A"], []) == ("A",)


def test_without_subtracts_every_list_given_the_first_one_too() -> None:
    assert n.without(["A", "B", "C", "B"], ["A"]) == ("B", "C", "B")
    assert n.without(["A", "B", "C", "D"], ["A"], ["C", "Zed"], ["D"]) == ("B",)


def test_without_keeps_doubles_and_an_unchanged_list() -> None:
    assert n.without(["B", "A", "B"], ["Zed"]) == ("B", "A", "B")
    assert n.without(["B", "B"]) == ("B", "B")


def test_shared_is_in_the_order_of_the_first_list() -> None:
    assert n.shared(["C", "A", "A", "B"], ["A", "C"]) == ("C", "A", "A")


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (["A", "B"], ["B", "A", "A"], True),
        ([], [], True),
        (["A"], ["A", "B"], False),
        (["A", "B"], ["A"], False),
    ],
)
def test_same_names_ignores_order_and_doubles(left: list[str], right: list[str], same: bool) -> None:
    assert n.same_names(left, right) is same


def test_indexes_and_names_are_each_others_inverse() -> None:
    known = ("A", "B", "C")
    assert n.indexes_of(known, ("C", "A")) == (2, 0)
    assert n.names_at(known, n.indexes_of(known, ("C", "A"))) == ("C", "A")


def test_an_unknown_name_has_index_minus_one_and_an_unknown_index_a_telling_name() -> None:
    assert n.indexes_of(["A"], ["Zed", "A"]) == (-1, 0)
    assert n.names_at(["A", "B"], [2, -1, 0]) == ("unknown2", "unknown-1", "A")


def test_a_double_name_has_its_first_index() -> None:
    assert n.indexes_of(["A", "B", "A"], ["A"]) == (0,)


def test_starting_with_groups_by_prefix_and_names_each_once() -> None:
    known = ["BarA", "FooA", "FoA", "BarB"]
    assert n.starting_with(known, "Foo", "Bar", "Fo") == ("FooA", "BarA", "BarB", "FoA")
    assert n.starting_with(known) == ()


def test_starting_with_reads_a_generator_once_for_all_prefixes() -> None:
    assert n.starting_with((name for name in ("FooA", "BarA")), "Bar", "Foo") == ("BarA", "FooA")


def test_matching_searches_anywhere_in_the_name() -> None:
    assert n.matching(["ConnError", "Error", "Conn"], "Err") == ("ConnError", "Error")
    assert n.matching(["ConnError", "Error"], re.compile("^Err")) == ("Error",)


def test_matching_refuses_a_broken_pattern() -> None:
    with pytest.raises(re.error):
        n.matching(["A"], "(")


def test_prefixed_names_all() -> None:
    assert n.prefixed(["A", "PreB"], "Pre") == ("PreA", "PrePreB")


def test_short_hash_has_six_digits_unless_told_otherwise() -> None:
    full = md5(b"Foo", usedforsecurity=False).hexdigest()
    assert n.short_hash("Foo") == n.short_hash("Foo", 0) == full[:6]
    assert n.short_hash("Foo", 8) == full[:8]


def test_names_hash_depends_on_order() -> None:
    assert n.names_hash(["A", "B"]) == md5(b"A,B", usedforsecurity=False).hexdigest()[:4]
    assert n.names_hash(["A", "B"]) != n.names_hash(["B", "A"])


@pytest.mark.parametrize(("text", "wanted"), [("fooBar", "FooBar"), ("Foo", "Foo"), ("", ""), ("f", "F")])
def test_capitalized_changes_the_first_letter_only(text: str, wanted: str) -> None:
    assert n.capitalized(text) == wanted


@pytest.mark.parametrize(
    ("handler", "states"),
    [
        ("FooEnter", ("Foo", "")),
        ("FooExit", ("Foo", "")),
        ("FooState", ("Foo", "")),
        ("FooEnd", ("Foo", "")),
        ("FooAny", ("Foo", "")),
        ("ZedState", ("Zed", "")),
        ("AnyFoo", ("Foo", "")),
        ("AnyEnter", ("", "")),
        ("AnyState", ("", "")),
        ("AnyExit", ("Exit", "")),
        ("State", ("", "")),
        ("Any", ("", "")),
        ("FooFoo", ("Foo", "Foo")),
        ("BarFoo", ("Bar", "Foo")),
        ("FooBarBar", ("FooBar", "Bar")),
        ("FooZed", ("", "")),
        ("Foo", ("", "")),
    ],
)
def test_handler_states(handler: str, states: tuple[str, str]) -> None:
    assert n.handler_states(["Foo", "Bar", "FooBar"], handler) == states
