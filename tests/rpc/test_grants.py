"""Who may do what."""

from __future__ import annotations

from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.rpc.grants import EVERYTHING, Grants, decide
from asyncmachine.rpc.transport import Peer


@pytest.mark.parametrize(
    ("patterns", "names", "granted"),
    [
        (("*",), ["Anything"], True),
        ((), ["Anything"], False),
        (("A",), ["A"], True),
        (("A",), ["a"], False),
        (("A",), ["A", "B"], False),
        (("A", "B"), ["A", "B"], True),
        (("Browser?Work",), ["Browser3Work"], True),
        (("Browser*",), ["Browser3Work", "Other"], False),
        (("A",), [], True),
    ],
)
def test_all_states_of_a_mutation_must_match_a_pattern(
    patterns: tuple[str, ...], names: list[str], granted: bool
) -> None:
    assert Grants(mutate=patterns).mutates(names) is granted


def test_each_right_has_its_own_patterns() -> None:
    grants = Grants(mutate=("M*",), read=("R*", "S"), payload=("p-?",))
    assert grants.readable(["S", "M1", "R1", "R2"]) == ("S", "R1", "R2")
    assert grants.receives("p-1")
    assert not grants.receives("p-12")
    assert not grants.mutates(["R1"])


@pytest.mark.parametrize("field", ["mutate", "read", "payload"])
@pytest.mark.parametrize("text", ["Order*", b"Order*"])
def test_a_text_in_place_of_patterns_is_refused_with_the_cure(field: str, text: Any) -> None:
    with pytest.raises(am.InvalidArgs, match=rf"{field} takes several texts .*: write \('Order\*',\)"):
        Grants(**{field: text})


def test_a_bracket_in_a_pattern_is_a_bracket() -> None:
    assert not Grants(mutate=("[A-Z]*",)).mutates(["Open"])
    assert Grants(read=("[A]?",)).reads("[A]1")


def test_patterns_may_come_as_a_list() -> None:
    assert Grants(mutate=["A", "B"]) == Grants(mutate=("A", "B"))  # type: ignore[arg-type]
    assert Grants(mutate=["A"]).mutates(["A"])  # type: ignore[arg-type]


def test_the_decision_is_the_applications_then_the_connections_then_everything() -> None:
    of_peer = Grants(read=("A",))
    peer = Peer("memory", grants=of_peer)
    assert decide(lambda *_: None, "id", "token", peer) is None
    assert decide(lambda name, token, _: Grants(read=(name, token)), "id", "token", peer) == Grants(
        read=("id", "token")
    )
    assert decide(None, "id", "", peer) is of_peer
    assert decide(None, "id", "", Peer("memory", grants="words of another kind")) is EVERYTHING
