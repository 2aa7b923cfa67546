"""Recorded cases in which the log says why; states A to D without relations unless given."""

from __future__ import annotations

from typing import Any

import pytest

import asyncmachine as am
from tests.machine.listening import listen

Relations = dict[str, dict[str, Any]]


def machine_of(**relations: dict[str, Any]) -> am.Machine[str]:
    return am.Machine({name: relations.get(name, {}) for name in ("A", "B", "C", "D")})


def boom(e: am.Event) -> None:
    raise ValueError("boom")


def veto(e: am.Event) -> bool:
    return False


def test_a_called_state_that_another_called_one_removes() -> None:
    machine = machine_of(C={"remove": ["D"]})
    machine.add("D")
    lines = listen(machine)
    assert machine.set(["C", "D"]).canceled
    assert "[rel:remove] D by C" in lines


def test_a_called_state_without_what_it_requires() -> None:
    machine = machine_of(C={"require": ["D"]})
    machine.add("A")
    lines = listen(machine)
    assert machine.set(["C", "A"]).canceled
    assert "[reject] C(-D)" in lines


def test_an_auto_state_follows_what_it_requires() -> None:
    machine = machine_of(B={"auto": True, "require": ["A"]})
    lines = listen(machine)
    assert machine.add("A").executed
    assert machine.active_states() == ("A", "B")
    assert "[auto] B" in lines


def test_changes_by_auto_states_have_a_label_of_their_own() -> None:
    machine = machine_of(A={"auto": True}, B={"auto": True, "after": ["A"], "require": ["C"]})
    lines = listen(machine, am.LogLevel.CHANGES)
    machine.add("D")
    assert set(machine.active_states()) == {"A", "D"}
    assert "[auto_] +A" in lines


def test_auto_states_that_cannot() -> None:
    machine = machine_of(C={"auto": True, "require": ["B"]}, D={"auto": True, "require": ["B"]})
    lines = listen(machine)
    machine.add("A")
    assert machine.active_states() == ("A",)
    assert "[cancel:reject] C D" in lines


def test_a_negotiation_handler_that_raises() -> None:
    machine = machine_of()
    machine.add("A")
    machine.bind({"BEnter": boom})
    lines = listen(machine)
    assert machine.add("B").canceled
    assert set(machine.active_states()) == {"A", "Exception"}
    assert "[cancel] (B A) by recover" in lines
    assert lines.index("[recover] handling panic...") < lines.index("[cancel] (B A) by recover")
    assert lines.index("[cancel] (B A) by recover") < lines.index("[prepend:add] Exception")


def test_a_final_handler_that_raises() -> None:
    machine = machine_of()
    machine.bind({"BState": boom})
    lines = listen(machine)
    assert machine.add(["A", "B", "C"]).canceled
    assert set(machine.active_states()) == {"A", "Exception"}
    assert machine.time(["B", "C"]) == (2, 2)
    start = lines.index("[recover] handling panic...")
    assert lines[start : start + 4] == [
        "[recover] handling panic...",
        "[recover] partial final states as (A)",
        "[state] -B -C",
        "[cancel] (A B C) by recover",
    ]
    assert "[error:add] A B C (boom)" in lines


def test_a_multi_state_is_not_ticked_again_by_the_rollback() -> None:
    machine = machine_of(A={"multi": True})
    machine.bind({"BState": boom})
    lines = listen(machine)
    machine.add(["A", "B", "C"])
    assert machine.tick("A") == 1
    assert "[error:add] A B C (boom)" in lines


def test_an_end_handler_that_raises_takes_nothing_back() -> None:
    machine = machine_of()
    machine.add("A")
    called: list[str] = []
    machine.bind({"AEnd": boom, "BState": lambda e: called.append("BState")})
    lines = listen(machine)
    assert machine.set("B").canceled
    assert set(machine.active_states()) == {"B", "Exception"}
    assert machine.tick("A") == 2
    assert called == []
    assert not any(line.startswith("[recover] partial") for line in lines)
    assert "[cancel] (B) by recover" in lines


def test_a_final_handler_that_overruns() -> None:
    machine = machine_of()
    machine.handler_timeout = 0.0
    machine.bind({"BState": lambda e: None}, id="slow")
    lines = listen(machine)
    assert machine.add(["A", "B", "C"]).canceled
    assert machine.time(["A", "B", "C"]) == (1, 2, 2)
    start = lines.index("[cancel] (A B C) by timeout")
    assert lines[start : start + 4] == [
        "[cancel] (A B C) by timeout",
        "[handler:timeout]: BState from slow",
        "[recover] partial final states as (A)",
        "[state] -B -C",
    ]


@pytest.mark.parametrize(("kind", "line"), [("set", "[cancel] (D) by DEnter"), ("add", "[cancel] (D A) by DEnter")])
def test_a_state_that_refuses_to_enter(kind: str, line: str) -> None:
    machine = machine_of()
    machine.add("A")
    machine.bind({"DEnter": veto})
    lines = listen(machine)
    assert getattr(machine, kind)("D").canceled
    assert line in lines


def test_a_state_that_refuses_to_exit() -> None:
    machine = machine_of()
    machine.add("A")
    machine.bind({"AExit": veto})
    lines = listen(machine)
    assert machine.remove("A").canceled
    assert "[cancel] () by AExit" in lines


def test_a_state_that_refuses_to_stay() -> None:
    machine = machine_of()
    machine.add("A")
    machine.bind({"AA": veto})
    lines = listen(machine)
    assert machine.add("B").canceled
    assert "[cancel:self] (B A) by AA" in lines


def test_a_chain_of_requirements_falls_as_one() -> None:
    machine = machine_of(B={"require": ["C"]}, A={"require": ["B"]})
    machine.add(["A", "B", "C"])
    lines = listen(machine)
    machine.remove("C")
    assert machine.active_states() == ()
    assert "[reject] B(-C) A(-B)" in lines


def test_arguments_are_shortened() -> None:
    machine = machine_of()
    machine.log.args_mapper = am.new_log_args_mapper(5, ["arg"])
    lines = listen(machine)
    machine.add("D", arg="foofoofoo", other=1)
    assert lines == ["[queue:add] D (arg=fo...)", "[add] D (arg=fo...)", "[state] +D (arg=fo...)"]


def test_vetoes_in_an_auto_transition_name_what_is_left() -> None:
    machine = machine_of(B={"auto": True}, C={"auto": True}, D={"auto": True})
    machine.bind({"BEnter": veto, "DEnter": veto})
    lines = listen(machine, am.LogLevel.OPS)
    machine.add("A")
    assert [line for line in lines if line.startswith(("[cancel", "[auto_"))] == [
        "[cancel] (B C D A) by BEnter",
        "[cancel] (C D A) by DEnter",
        "[auto_] +C",
    ]
