"""Layouts: what was found out about one object's handlers is shared by all objects of its class."""

from __future__ import annotations

import gc
import weakref

import pytest

import asyncmachine as am
from tests.machine.recording import RawSchema

AB: RawSchema = {"A": {}, "B": {}}


class Shared:
    """Handlers that know what they were called on."""

    def __init__(self) -> None:
        self.calls = 0

    def AState(self, e: am.Event) -> None:
        self.calls += 1


def test_objects_of_one_class_share_a_layout_and_nothing_else() -> None:
    one, two = Shared(), Shared()
    machines = [am.Machine(AB, one), am.Machine(AB, two)]
    first, second = (binding.layout for m in machines if m._table is not None for binding in m._table.bindings)
    assert first is second
    machines[0].add("A")
    assert (one.calls, two.calls) == (1, 0)


def test_a_method_replaced_on_the_class_or_on_the_object_is_the_one_that_is_called() -> None:
    class Changing(Shared):
        pass

    calls: list[str] = []
    before = Changing()
    kept = am.Machine(AB, before)
    Changing.AState = lambda self, e: calls.append("class")  # type: ignore[method-assign]
    am.Machine(AB, Changing()).add("A")
    one = Changing()
    one.AState = lambda e: calls.append("object")  # type: ignore[method-assign]
    am.Machine(AB, one).add("A")
    kept.add("A")
    assert calls == ["class", "object"]
    assert before.calls == 1


def test_the_same_class_is_looked_at_anew_for_other_states() -> None:
    calls = Shared()
    am.Machine({"B": {}, "A": {}}, calls).add("A")
    am.Machine({"A": {}, "B": {}}, calls).add("A")
    assert calls.calls == 2
    with pytest.raises(am.SchemaError, match="AState looks like a handler"):
        am.Machine({"B": {}}, calls)
    am.Machine({"XA": {}}).bind(calls, prefix="X")


def test_a_layout_is_forgotten_with_its_last_machine() -> None:
    class Passing:
        def AState(self, e: am.Event) -> None: ...

    machine = am.Machine(AB, Passing())
    assert machine._table is not None
    layout = weakref.ref(machine._table.bindings[0].layout)
    del machine
    gc.collect()
    assert layout() is None
