"""Questions about the queue: what waits, where, and what will be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import asyncmachine as am
from tests.machine.recording import RawSchema

STATES: RawSchema = {"A": {}, "B": {}, "C": {}, "D": {}, "M": {"multi": True}}
Ask = Callable[[am.Machine[str]], Any]


def answers(*asks: Ask) -> list[Any]:
    """What a machine answers while these wait: add B, add C with args, remove A, add B C, a dry run of D in front."""
    found: list[Any] = []

    def a_state(e: am.Event) -> None:
        machine: am.Machine[str] = e.machine
        machine.add("B")
        machine.add("C", x=1)
        machine.remove("A")
        machine.add(["B", "C", "M"])
        machine.can_add("D")
        found.extend(ask(machine) for ask in asks)

    am.Machine(STATES, {"AState": a_state}).add("A")
    return found


def test_what_waits_in_the_order_it_will_run() -> None:
    (waiting,) = answers(lambda m: [(q.kind, q.called, q.queue_tick, q.is_check) for q in m.queue()])
    assert waiting == [
        ("add", ("D",), 0, True),
        ("add", ("B",), 3, False),
        ("add", ("C",), 4, False),
        ("remove", ("A",), 5, False),
        ("add", ("B", "C", "M"), 6, False),
    ]


@pytest.mark.parametrize(
    ("ask", "found"),
    [
        (lambda m: m.is_queued("add", "B"), (1, 3)),
        (lambda m: m.is_queued("add", "C"), (2, 4)),
        (lambda m: m.is_queued("add", "M"), (4, 6)),
        (lambda m: m.is_queued("add", ["C", "B"]), (4, 6)),
        (lambda m: m.is_queued("remove", "A"), (3, 5)),
        (lambda m: m.is_queued("set", "A"), None),
        (lambda m: m.is_queued("add", "D"), None),
        (lambda m: m.is_queued("add", "D", is_check=True), (0, 0)),
        (lambda m: m.is_queued("add", "C", without_args=True), (4, 6)),
        (lambda m: m.is_queued("add", "M", strict=True), None),
        (lambda m: m.is_queued("add", "B", min_tick=4), (4, 6)),
        (lambda m: m.is_queued("add", "D", min_tick=1, is_check=True), None),
        (lambda m: m.is_queued("add", "B", position="first"), None),
        (lambda m: m.is_queued("add", "B", position="last"), (4, 6)),
        (lambda m: m.is_queued("add", []), (1, 3)),
    ],
)
def test_where_a_mutation_waits(ask: Ask, found: tuple[int, int] | None) -> None:
    assert answers(ask) == [found]


def test_how_many_wait() -> None:
    assert answers(
        lambda m: m.is_queued_above(2, "add", "B"),
        lambda m: m.is_queued_above(3, "add", "B"),
        lambda m: m.is_queued_above(1, "add", "D"),
    ) == [True, False, False]


def test_what_will_be() -> None:
    assert answers(
        lambda m: m.will_be("B"),
        lambda m: m.will_be(["B", "M"]),
        lambda m: m.will_be("D"),
        lambda m: m.will_be("B", position="first"),
        lambda m: m.will_be_removed("A"),
        lambda m: m.will_be_removed("B"),
    ) == [True, True, False, False, True, False]


def test_an_empty_queue_answers_too() -> None:
    machine = am.Machine(STATES)
    assert machine.queue() == ()
    assert machine.is_queued("add", "A", position="first") is None
    assert not machine.will_be("A") and not machine.is_queued_above(1, "add", "A")
    with pytest.raises(am.StateMissing):
        machine.will_be("Zed")


def test_a_prepended_mutation_runs_before_what_waits_and_takes_no_tick() -> None:
    order: list[str] = []
    results: list[am.Result] = []

    def note(e: am.Event) -> None:
        order.append(f"{e.state} {e.tx.queue_tick} {e.raw_args.get('x')}")

    def a_state(e: am.Event) -> None:
        e.add("B")
        results.append(e.machine.prepend("add", "C", {"x": 1}, e=e))

    machine = am.Machine(STATES, {"AState": a_state, "BState": note, "CState": note})
    machine.add("A")
    assert order == ["C 0 1", "B 3 None"]
    assert results[0].executed and results[0].tick == 0
    assert machine.prepend("remove", ["B", "C"]).executed
    assert machine.queue_tick == 3


def test_an_unknown_kind_is_refused() -> None:
    machine: am.Machine[Any] = am.Machine({"A": {}})
    kind: Any = "ad"
    for call in (machine.prepend, machine.is_queued):
        with pytest.raises(am.InvalidArgs, match="a mutation is one of add, remove, set, got 'ad'"):
            call(kind, "A")
