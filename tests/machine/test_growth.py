"""A running machine takes a larger schema: what stays, what moves, what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import asyncmachine as am
from tests.machine.recording import RawSchema, Recorder

AB: RawSchema = {"A": {}, "B": {"multi": True}}
# The known states stand elsewhere, and B follows A now.
GROWN: RawSchema = {"New": {"require": "A"}, "B": {"multi": True}, "A": {"add": "B"}, "Exception": {"multi": True}}


def test_known_states_keep_their_ticks_and_new_ones_are_inactive() -> None:
    machine = am.Machine(AB)
    machine.add(["B", "A"])
    machine.add("B")
    machine.set_schema(GROWN)
    assert machine.names == ("New", "B", "A", "Exception")
    assert machine.string_all() == "(B:3 A:1) [New:0 Exception:0]"
    assert machine.active_states() == ("B", "A")
    assert machine.schema["A"] == am.State(add=("B",))


def test_new_states_and_new_relations_work() -> None:
    machine = am.Machine(AB)
    machine.set_schema(GROWN)
    assert machine.add("New").canceled
    assert machine.add("A").executed
    assert machine.is_("A", "B"), "A implies B now"
    assert machine.add("New").executed


def test_nothing_starts_by_itself() -> None:
    machine = am.Machine(AB)
    machine.add("A")
    machine.set_schema({**AB, "Auto": {"auto": True}})
    assert machine.not_("Auto")
    machine.add("B")
    assert machine.is_("Auto")


def test_handlers_stay_bound_to_their_states() -> None:
    calls: list[str] = []

    def note(e: am.Event) -> None:
        calls.append(e.name)

    machine = am.Machine(AB, {"AState": note, "AB": note, "AnyEnter": note, "BB": note})
    machine.set_schema(GROWN)
    machine.bind({"NewState": note})
    machine.add("A")
    machine.add("New")
    assert calls == ["AnyEnter", "AState", "BB", "AB", "AnyEnter", "NewState"]


def test_waits_and_scopes_go_on() -> None:
    machine = am.Machine(AB)
    machine.add("A")
    waits = [
        machine.when("B"),
        machine.when_not("A"),
        machine.when_time(["A"], [2]),
        machine.when_query(lambda clock: clock["B"] == 1),
        machine.when_args("B", x=1),
    ]
    scope = machine.scope("A")
    machine.set_schema(GROWN)
    assert not any(wait.done() for wait in waits)
    assert machine.scope("A") is scope
    machine.set(["B"], x=1)
    assert all(wait.done() for wait in waits) and scope.expired
    assert not machine._subscriptions().queries


def test_a_query_sees_the_new_states() -> None:
    machine = am.Machine(AB)
    wait = machine.when_query(lambda clock: clock.get("New", 0) == 1)
    machine.set_schema(GROWN)
    machine.add("A")
    machine.add("New")
    assert wait.done()


async def test_a_task_goes_on() -> None:
    machine = am.Machine(AB, {"AState": _forever})
    machine.add("A")
    await asyncio.sleep(0)
    machine.set_schema(GROWN)
    await asyncio.sleep(0)
    scope = machine.scope("A")
    assert not scope.expired
    machine.remove("A")
    assert scope.expired


async def _forever(e: am.Event) -> None:
    await asyncio.sleep(3600)


def test_a_class_of_states_and_an_order_may_be_given() -> None:
    class Small(am.StatesDef):
        A = am.state()

    class Large(Small):
        B = am.state()
        Both = am.group(Small.A, B)

    machine: am.Machine[str] = am.Machine({"Exception": {"multi": True}, "A": {}})
    machine.set_schema(Large)
    assert list(machine.names) == ["Exception", "A", "B"]
    assert machine.groups["Both"] == ("A", "B")
    machine.set_schema({"A": {}, "B": {}, "C": {}}, names=["C", "B", "A", "Exception"])
    assert list(machine.names) == ["C", "B", "A", "Exception"]


def test_tracers_are_told_with_the_old_schema() -> None:
    seen: list[tuple[am.Schema, am.Schema]] = []

    class Tracer(am.Tracer):
        def schema_change(self, machine: am.View[str], old: am.Schema) -> None:
            seen.append((old, machine.schema))

    machine = am.Machine(AB, tracers=[Tracer()])
    before = machine.schema
    machine.set_schema(GROWN)
    assert seen == [(before, machine.schema)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.set_schema(AB), "must have more than 3 states, it has 3"),
        (lambda m: m.set_schema({"A": {}, "C": {}, "D": {}}), "cannot lose states; the new schema lacks B"),
        (lambda m: m.set_schema({**AB, "C": {"require": "Zed"}}), "require names unknown state 'Zed'"),
        (lambda m: m.set_schema({**AB, "C": {}}, names=["A"]), "must name each state once"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    change: Callable[[am.Machine[str]], None], words: str
) -> None:
    machine = am.Machine(AB)
    machine.add("A")
    with pytest.raises(am.SchemaError) as caught:
        change(machine)
    assert words in str(caught.value)
    assert machine.names == ("A", "B", "Exception") and str(machine) == "(A:1)"
    assert machine.add("B").executed


def test_during_a_transition_it_is_refused() -> None:
    machine = am.Machine(AB, {"AState": lambda e: e.machine.set_schema(GROWN)})
    machine.add("A")
    assert isinstance(machine.err, am.SchemaError)
    assert "cannot set the schema during a transition" in str(machine.err)


def test_the_resolver_stays() -> None:
    machine = am.Machine({"A": {}}, relations="strict")
    machine.set_schema({"A": {"add": "B"}, "B": {"add": "C"}, "C": {"add": "D"}, "D": {}})
    recorder = Recorder()
    machine.trace(recorder)
    machine.add("A")
    assert machine.active_states() == ("A", "B", "C", "D")
