"""Handlers by name: which method is called for what, which is refused and with what words, binding and detaching."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import SchemaError
from asyncmachine.machine.handlers import HandlerTable, slots_of
from tests.machine.recording import RawSchema, handler_names

AB: RawSchema = {"A": {}, "B": {}}


def note(calls: list[str], text: str = "") -> Callable[[am.Event], None]:
    return lambda e: calls.append(text or e.name)


# Names


def test_methods_are_found_by_name_in_the_class_and_its_bases() -> None:
    calls: list[str] = []

    class Shared:
        def AState(self, e: am.Event) -> None:
            calls.append("shared AState")

        def BState(self, e: am.Event) -> None:
            calls.append("shared BState")

    class Own(Shared):
        def BState(self, e: am.Event) -> None:
            calls.append("own BState")
            super().BState(e)

    am.Machine(AB, Own()).add(["A", "B"])
    assert calls == ["shared AState", "own BState", "shared BState"]


def test_functions_of_an_instance_are_handlers_too() -> None:
    calls: list[str] = []

    class Handlers:
        def __init__(self) -> None:
            self.AState = note(calls)

    am.Machine(AB, Handlers()).add("A")
    assert calls == ["AState"]


def test_every_legal_name_can_be_bound() -> None:
    machine = am.Machine(AB)
    machine.bind({name: lambda e: None for name in handler_names(machine.names)})


def test_only_names_that_begin_like_a_state_are_looked_at() -> None:
    class Handlers:
        LIMIT = 3

        class Config:
            pass

        def helper(self) -> None: ...

        def _AState(self) -> None: ...

        def AState(self, e: am.Event) -> None:
            self.helper()

    assert am.Machine(AB, Handlers()).add("A").executed


def test_a_method_in_lower_case_is_a_handler_if_it_names_a_state() -> None:
    class Handlers:
        calls: list[str] = []  # noqa: RUF012

        def runState(self, e: am.Event) -> None:
            self.calls.append(e.name)

        def runner(self) -> None: ...

        def reset(self) -> None:
            """Reads like the pair of the states `re` and `set`."""

    schema: RawSchema = {"run": {}, "re": {}, "set": {}}
    am.Machine(schema, Handlers()).add("run")
    both = am.Machine({"LeftA": {}, "Leftrun": {}})
    both.bind(Handlers(), prefix="Left")
    both.add("Leftrun")
    assert Handlers.calls == ["runState", "LeftrunState"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("doorOpenState", "DoorOpenState"),
        ("door_open_exit", "DoorOpenExit"),
        ("onDoorOpen", "DoorOpenState"),
        ("on_door_open", "DoorOpenState"),
        ("on_door_open_end", "DoorOpenEnd"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "Left"])
def test_a_method_that_reads_like_a_handler_and_is_none_is_told(
    name: str, meant: str, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    handlers = type("House", (), {name: lambda self, e: None})()
    am.Machine({f"{prefix}DoorOpen": {}}).bind(handlers, prefix=prefix)
    assert caplog.messages == [
        f"House.{name} is never called: did you mean {meant}? Begin its name with an underscore if it is no handler."
    ]


def test_methods_that_are_for_something_else_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    class House:
        def OpenState(self, e: am.Event) -> None:
            self.on_open(e)

        def on_open(self, e: am.Event) -> None:
            """Called by the handler that it is named after."""

        def closed_state(self) -> str:
            return "takes no event"

        def on_closed(self, why: str) -> None: ...

        @property
        def closedEnd(self) -> None:
            raise AssertionError("is not computed")

        def reopen(self, e: am.Event) -> None: ...

        @am.on.enter("Closed")
        def on_closed_enter(self, e: am.Event) -> None: ...

        def _closed_exit(self, e: am.Event) -> None: ...

    am.Machine({"Open": {}, "Closed": {}}, House())
    assert caplog.messages == []


def test_a_misspelt_handler_of_a_subclass_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    class House:
        def OpenState(self, e: am.Event) -> None: ...

    class Home(House):
        def closedState(self, e: am.Event) -> None: ...

    machines = [am.Machine({"Open": {}, "Closed": {}}, house) for house in (House(), Home(), Home())]
    assert len(machines) == 3
    (told,) = caplog.messages
    assert "Home.closedState is never called: did you mean ClosedState?" in told


@pytest.mark.parametrize(("handlers", "name"), [(None, "None"), (len, "len"), (note, "note")])
def test_what_cannot_have_handlers_is_refused(handlers: object, name: str) -> None:
    with pytest.raises(SchemaError, match=f"^{name} is no object with handlers: bind one function with `machine.on`"):
        am.Machine(AB).bind(handlers)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("AStat", "AStat looks like a handler, but the schema has no state for it; did you mean AState?"),
        ("BEntre", "did you mean BEnter?"),
        ("ZedState", "ZedState looks like a handler, but the schema has no state for it"),
        ("Whatever", "begin its name with a lower-case letter if it is not a handler"),
        ("AnyExit", "AnyExit looks like a handler"),
        ("AAny", "AAny looks like a handler"),
    ],
)
def test_a_name_that_looks_like_a_handler_and_is_none_is_refused(name: str, words: str) -> None:
    with pytest.raises(SchemaError) as caught:
        am.Machine(AB, {name: lambda e: None})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "name", "meanings"),
    [
        ({"A": {}, "AB": {}, "B": {}, "BC": {}, "C": {}}, "ABC", "Pair of A/BC and Pair of AB/C"),
        ({"Foo": {}, "State": {}}, "FooState", "State of Foo and Pair of Foo/State"),
    ],
)
def test_a_name_that_can_mean_two_things_is_refused(schema: RawSchema, name: str, meanings: str) -> None:
    with pytest.raises(SchemaError) as caught:
        am.Machine(schema, {name: lambda e: None})
    assert str(caught.value) == f"handler {name} is ambiguous: it can be {meanings}; rename one of the states"


def test_a_schema_with_such_states_works_as_long_as_nobody_uses_the_name() -> None:
    calls: list[str] = []
    machine = am.Machine({"Foo": {}, "State": {}}, {"StateEnter": note(calls), "FooEnter": note(calls)})
    machine.add(["Foo", "State"])
    assert calls == ["FooEnter", "StateEnter"]


def test_the_meaning_of_every_name_is_found_by_looking_at_all_ways_to_read_it() -> None:
    index = {"A": 0, "AA": 1, "Any": 2, "AnyEnter": 3}
    assert {name: [tuple(slot) for slot in slots_of(index, name)] for name in ("AAA", "AnyState", "Zed", "AAEnd")} == {
        "AAA": [("Pair", 0, 1), ("Pair", 1, 0)],
        "AnyState": [("AnyState", -1, -1)],
        "Zed": [],
        "AAEnd": [("End", 1, -1)],
    }


# Signatures


@pytest.mark.parametrize(
    "function", [lambda: None, lambda e, other: None, lambda *, e: None, functools.partial(lambda e: None, 1)]
)
def test_a_handler_takes_one_argument(function: Callable[..., object]) -> None:
    with pytest.raises(SchemaError, match="handler AState must take one argument, the event"):
        am.Machine(AB, {"AState": function})


@pytest.mark.parametrize("function", [lambda e, more=1: None, lambda *args: None, print, [].append, dir])
def test_further_optional_arguments_do_no_harm(function: Callable[..., object]) -> None:
    assert am.Machine(AB, {"AState": function}).add("A").executed


def test_a_handler_must_be_callable() -> None:
    with pytest.raises(SchemaError, match="handler AState is not callable"):
        am.Machine(AB, {"AState": 3})


def test_a_class_is_not_a_set_of_handlers() -> None:
    class Handlers:
        def AState(self, e: am.Event) -> None: ...

    with pytest.raises(SchemaError, match=r"bind an instance of .*Handlers, not the class"):
        am.Machine(AB, Handlers)


@pytest.mark.parametrize("name", ["AEnter", "AExit", "AA", "AB", "AnyEnter"])
def test_a_negotiation_handler_must_not_be_async(name: str) -> None:
    async def decide(e: am.Event) -> bool:
        return True

    with pytest.raises(SchemaError, match="must be a plain `def`, not `async def`"):
        am.Machine(AB, {name: decide})


def test_a_refused_object_binds_nothing() -> None:
    machine = am.Machine(AB)
    with pytest.raises(SchemaError):
        machine.bind({"AState": lambda e: None, "Wrong": lambda e: None})
    assert machine.handlers() == ()


# Bindings


def test_bindings_are_called_in_their_order_and_have_ids() -> None:
    calls: list[str] = []
    machine = am.Machine(AB)
    first = machine.bind({"AState": note(calls, "first")}, id="one of/them!")
    second = machine.bind({"AState": note(calls, "second")})
    assert first == "oneofthem", "characters that no log could take are left out"
    assert second.startswith("anon-")
    assert machine.handlers() == (first, second)
    machine.add("A")
    assert calls == ["first", "second"]


def test_detached_handlers_are_no_longer_called() -> None:
    calls: list[str] = []
    machine = am.Machine({"A": {"multi": True}})
    machine.bind({"AState": note(calls, "first")}, id="first")
    machine.bind({"AState": note(calls, "second")}, id="second")
    machine.add("A")
    machine.detach("first")
    machine.add("A")
    assert calls == ["first", "second", "second"]
    assert machine.handlers() == ("second",)


def test_of_two_bindings_with_one_id_the_first_is_detached() -> None:
    calls: list[str] = []
    machine = am.Machine({"A": {"multi": True}})
    for text in ("first", "second"):
        machine.bind({"AState": note(calls, text)}, id="same")
    machine.detach("same")
    machine.add("A")
    assert calls == ["second"]


def test_detaching_what_is_not_bound_is_refused() -> None:
    machine = am.Machine(AB)
    with pytest.raises(SchemaError, match="handlers 'x' are not bound; bound are none"):
        machine.detach("x")
    machine.bind({}, id="y")
    with pytest.raises(SchemaError, match="bound are y"):
        machine.detach("x")


def test_ids_made_up_by_the_machine_do_not_meet() -> None:
    machine = am.Machine(AB)
    assert len({machine.bind({}) for _ in range(500)}) == 500


def test_a_handler_may_detach_itself() -> None:
    calls: list[str] = []

    def once(e: am.Event) -> None:
        calls.append(e.name)
        e.machine.detach("once")

    machine = am.Machine({"A": {"multi": True}})
    machine.bind({"AState": once}, id="once")
    machine.add("A")
    machine.add("A")
    assert calls == ["AState"]


def test_a_handler_may_bind_another() -> None:
    calls: list[str] = []
    machine = am.Machine(AB, {"AEnter": lambda e: bool(e.machine.bind({"AState": note(calls)}))})
    machine.add("A")
    assert calls in ([], ["AState"]), "whether it still counts for this transition is left open"
    machine.remove("A")
    machine.detach(machine.handlers()[0])
    calls.clear()
    machine.add("A")
    assert calls == ["AState"]


def test_the_first_binding_of_a_failed_machine_sees_the_error() -> None:
    machine = am.Machine(AB)
    error = OSError("before")
    machine.add_err(error)
    seen: list[object] = []
    machine.bind({"ExceptionState": lambda e: seen.append(e.args(am.ErrorArgs).err)})
    machine.bind({"ExceptionState": lambda e: seen.append("second")})
    assert seen == [error]


def test_when_one_of_several_raises_the_others_are_not_called() -> None:
    calls: list[str] = []

    def boom(e: am.Event) -> None:
        raise RuntimeError

    machine = am.Machine(AB, {"AState": boom})
    machine.bind({"AState": note(calls)})
    machine.add("A")
    assert calls == []


def test_calls_found_while_handlers_are_bound_elsewhere_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread binds while the drain looks up a plan's handlers: the next look-up must see the new ones."""
    calls: list[str] = []
    machine = am.Machine(AB, {"AState": note(calls, "first")})
    look_up = HandlerTable._final
    bound: list[str] = []

    def slow(self: HandlerTable, plan: Any) -> Any:
        found = list(look_up(self, plan))
        if not bound:
            bound.append("now")
            other = threading.Thread(target=machine.bind, args=({"AState": note(calls, "second")},))
            other.start()
            other.join(10)
        return iter(found)

    monkeypatch.setattr(HandlerTable, "_final", slow)
    machine.add("A")
    machine.remove("A")
    calls.clear()
    machine.add("A")
    assert calls == ["first", "second"]


# Prefixes


def test_a_prefix_serves_one_of_several_copies_of_a_schema() -> None:
    part = am.Schema({"On": {}, "Off": {}})
    schema = part.prefixed("Left").merge(part.prefixed("Right"))
    calls: list[str] = []

    class Part:
        def OnState(self, e: am.Event) -> None:
            calls.append(e.name)

        def OffOn(self, e: am.Event) -> None:
            calls.append(e.name)

        def AnyState(self, e: am.Event) -> None:
            calls.append("never: global handlers belong to no part")

    machine = am.Machine(schema)
    machine.bind(Part(), prefix="Left")
    machine.add("LeftOff")
    machine.set("LeftOn")
    machine.add("RightOn")
    assert calls == ["LeftOffLeftOn", "LeftOnState"]


def test_a_prefixed_name_without_a_state_is_refused() -> None:
    with pytest.raises(SchemaError, match="PZedState looks like a handler"):
        am.Machine({"PA": {}}).bind({"ZedState": lambda e: None}, prefix="P")


# Disposal


def test_a_disposed_machine_takes_bindings_and_forgets_them() -> None:
    machine = am.Machine(AB, {"AState": lambda e: None})
    machine.dispose()
    machine.bind({"AState": lambda e: None}, id="late")
    assert machine.handlers() == ()
    machine.detach("late")
