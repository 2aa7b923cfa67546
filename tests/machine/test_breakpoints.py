"""Breakpoints: mutations to stop at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import asyncmachine as am
from tests.machine.listening import listen, made

HIT = "[breakpoint] Machine.breakpoint"


def hits(machine: am.Machine[Any], *mutations: Callable[[], object]) -> int:
    lines = listen(machine, am.LogLevel.CHANGES)
    for mutate in mutations:
        mutate()
    return lines.count(HIT)


def test_a_hit_is_told_once() -> None:
    machine = made(A={}, B={})
    machine.add_breakpoint("A")
    assert hits(machine, lambda: machine.add("A"), lambda: machine.add("B"), lambda: machine.remove("A")) == 1


def test_a_nested_mutation_hits_when_it_is_queued() -> None:
    machine = made(A={}, B={})
    machine.bind({"AState": lambda e: machine.add("B")})
    machine.add_breakpoint("B")
    lines = listen(machine, am.LogLevel.OPS)
    machine.add("A")
    queued = lines.index("[queue:add] B")
    assert lines[queued : queued + 3] == ["[queue:add] B", HIT, "[postpone] queue running (1 item)"]


def test_states_have_to_be_the_same_in_the_same_order() -> None:
    machine = made(A={}, B={})
    machine.add_breakpoint(["A", "B"])
    assert hits(machine, lambda: machine.add("A"), lambda: machine.add(["B", "A"])) == 0
    assert hits(machine, lambda: machine.add(["A", "B"])) == 1


def test_a_breakpoint_for_both_ways() -> None:
    machine = made(A={}, B={})
    machine.add_breakpoint("A", "B")
    assert hits(machine, lambda: machine.add("A"), lambda: machine.remove("B"), lambda: machine.remove("A")) == 2


def test_what_never_hits() -> None:
    machine = made(A={"auto": True}, B={})
    machine.add_breakpoint("A", "B")
    assert hits(machine, lambda: machine.set("A"), lambda: machine.can_add("A"), lambda: machine.can_remove("B")) == 0
    assert hits(machine, lambda: machine.set("B")) == 0  # A follows by itself
    assert hits(machine, lambda: machine.add([]), lambda: machine.remove([])) == 0


def test_a_strict_one_passes_over_what_changes_nothing() -> None:
    machine = made(A={}, B={})
    machine.add("A")
    machine.add_breakpoint("A", strict=True)
    machine.add_breakpoint((), "B", strict=True)
    assert hits(machine, lambda: machine.add("A"), lambda: machine.remove("B")) == 0
    machine.remove("A")
    machine.add("B")
    assert hits(machine, lambda: machine.add("A"), lambda: machine.remove("B")) == 2


def test_a_hit_shows_where_the_mutation_was_made() -> None:
    machine = made(A={})
    machine.add_breakpoint("A")
    lines = listen(machine, am.LogLevel.CHANGES)
    machine.log.traces = True
    machine.add("A")
    assert lines[0].startswith(f"{HIT}\n")
    assert "test_a_hit_shows_where_the_mutation_was_made" in lines[0]


def test_a_function_can_be_called_at_a_hit_and_the_breakpoint_removed() -> None:
    machine = made(A={})
    found: list[am.Mutation] = []
    breakpoint_id = machine.add_breakpoint("A", hit=found.append)
    machine.add("A", x=1)
    machine.untrace(breakpoint_id)
    machine.add("A")
    assert [mutation.args for mutation in found] == [{"x": 1}]
    assert machine.log.take_pending() == ()


def test_a_function_that_fails_stops_nothing() -> None:
    machine = made(A={})

    def fail(mutation: am.Mutation) -> None:
        raise ValueError("boom")

    machine.add_breakpoint("A", hit=fail)
    assert machine.add("A").executed
    assert str(machine.err) == "boom"


def test_unknown_states_are_refused() -> None:
    with pytest.raises(am.StateMissing, match="Nobody"):
        made(A={}).add_breakpoint("A", "Nobody")
