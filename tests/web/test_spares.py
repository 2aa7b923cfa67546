"""How many workers wait for an order, and what becomes of those that fail, without a browser."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from asyncmachine_web.page.spares import EXPECTING, Drop, Hatch, LetGo, Ping, Refill, Spares, Watch

READY = {"phase": "ready", "attempt": 1}
CRASH = {"code": "CRASH", "message": ""}


def keeping(count: int) -> Spares:
    spares = Spares()
    spares.keep(count)
    return spares


def test_so_many_are_made_and_looked_at_and_the_newest_are_let_go() -> None:
    spares = Spares()
    assert spares.keep(3) == [Hatch(0, "spare 0"), Hatch(1, "spare 1"), Hatch(2, "spare 2"), Watch(on=True)]
    assert spares.keep(3) == []
    assert spares.keep(1) == [Drop(1), Drop(2)]
    assert spares.keep(0) == [Drop(0), Watch(on=False)]
    assert spares.keep(0) == []
    assert spares.keep(1) == [Hatch(3, "spare 0"), Watch(on=True)]


def test_one_that_was_taken_has_what_it_told_and_is_replaced_when_asked_for() -> None:
    spares = keeping(1)
    spares.heard(0, "READY", {})
    spares.heard(0, "PONG", {})
    spares.heard(0, "PHASE", READY)
    taken = spares.take()
    assert taken is not None
    assert (taken.number, taken.warm, taken.said) == (0, True, [("READY", {}), ("PHASE", READY)])
    assert spares.take() is None
    assert spares.refill() == [Hatch(1, "spare 0")]
    assert spares.refill() == []


def test_one_that_does_not_answer_two_looks_is_replaced() -> None:
    spares = keeping(2)
    assert spares.look() == [Ping(0), Ping(1)]
    spares.heard(0, "PONG", {})
    assert spares.look() == [Ping(0), Ping(1)]
    spares.heard(0, "PONG", {})
    assert spares.look() == [Ping(0), Drop(1), Refill(0.0)]
    assert spares.refill() == [Hatch(2, "spare 1")]


def pauses(spares: Spares, numbers: Iterable[int]) -> list[float]:
    """After each of these has failed."""
    told = []
    for number in numbers:
        drop, refill = spares.heard(number, "ERROR", CRASH)
        assert drop == Drop(number)
        assert isinstance(refill, Refill)
        told.append(refill.after)
        spares.refill()
    return told


def test_those_that_never_start_are_replaced_at_growing_intervals() -> None:
    assert pauses(keeping(1), range(10)) == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_one_that_has_started_ends_the_growing() -> None:
    spares = keeping(1)
    assert pauses(spares, range(3)) == [0.0, 1.0, 2.0]
    spares.heard(3, "PHASE", {"phase": "loading packages", "attempt": 1})
    assert pauses(spares, [3]) == [4.0]
    spares.heard(4, "PHASE", READY)
    assert pauses(spares, [4]) == [0.0]


def test_no_failure_is_one_too_many() -> None:
    assert pauses(keeping(1), range(2000))[-1] == 60.0


def test_one_is_made_for_an_order_that_may_come_and_let_go_when_none_does() -> None:
    spares = Spares()
    assert spares.expect(first=True) == [Hatch(0, "spare 0"), LetGo(EXPECTING)]
    assert spares.expect(first=False) == [LetGo(EXPECTING)]
    assert spares.let_go() == [Drop(0)]


def test_one_that_fails_while_an_order_is_expected_is_not_replaced() -> None:
    spares = Spares()
    spares.expect(first=True)
    assert spares.heard(0, "ERROR", CRASH) == [Drop(0), Refill(0.0)]
    assert spares.refill() == []
    assert spares.expect(first=False) == [LetGo(EXPECTING)]


@pytest.mark.parametrize("wanted", [1, 2])
def test_who_keeps_some_needs_no_other_for_an_order_that_may_come(wanted: int) -> None:
    spares = keeping(wanted)
    assert spares.expect(first=True) == [LetGo(EXPECTING)]
    assert spares.let_go() == []
