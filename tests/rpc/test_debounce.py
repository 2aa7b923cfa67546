"""When changes are pushed."""

from __future__ import annotations

from asyncmachine.rpc.debounce import Debounce


def test_the_first_change_goes_at_once_and_later_ones_together() -> None:
    debounce = Debounce(0.25)
    assert debounce.changed(10.0)
    debounce.pushed(10.0)
    assert not debounce.changed(10.1)
    assert not debounce.changed(10.2)
    assert debounce.deadline == 10.25
    assert not debounce.due(10.24)
    assert debounce.due(10.25)
    debounce.pushed(10.25)
    assert not debounce.changed(10.3)
    assert debounce.deadline == 10.5


def test_nothing_is_due_when_nothing_has_changed() -> None:
    debounce = Debounce(0.25)
    assert debounce.deadline is None
    assert not debounce.due(1e9)
    assert debounce.changed(1.0)
    debounce.pushed(1.0)
    assert debounce.deadline is None
    assert not debounce.due(1e9)


def test_what_an_answer_told_is_not_pushed_and_does_not_use_up_the_interval() -> None:
    debounce = Debounce(0.25)
    debounce.changed(1.0)
    debounce.told()
    assert debounce.deadline is None
    assert debounce.changed(1.01)
