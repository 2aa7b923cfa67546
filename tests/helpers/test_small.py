"""Conditions, tags, ready-made handlers, getters, disposal and mirrors: small things, each with what it promises."""

import threading
from typing import Any, Self

import pytest

import asyncmachine as am
from asyncmachine.helpers.cond import Cond
from asyncmachine.helpers.disposal import dispose, dispose_bind
from asyncmachine.helpers.getters import eval_getter
from asyncmachine.helpers.handlers import handler_to_state, remove_multi
from asyncmachine.helpers.mirror import new_mirror
from asyncmachine.helpers.tags import tag_value, tag_value_int
from asyncmachine.states import Basic, Disposed, DisposedHandlers


def abc() -> am.Machine[str]:
    schema = {"A": am.State(multi=True), "B": am.State(), "C": am.State(require=("B",))}
    machine = am.Machine(schema, id="abc")
    machine.add(["A", "B"])
    return machine


@pytest.mark.parametrize(
    ("cond", "holds"),
    [
        (Cond(), True),
        (Cond(is_=("A", "B")), True),
        (Cond(is_=("A", "C")), False),
        (Cond(any_=("C", "B")), True),
        (Cond(any_=("C",)), False),
        (Cond(any_of=(("A", "C"), ("A", "B"))), True),
        (Cond(any_of=(("A", "C"),)), False),
        (Cond(not_=("C",)), True),
        (Cond(not_=("A", "C")), False),
        (Cond(clock={"A": 1, "C": 0}), True),
        (Cond(clock={"A": 2}), False),
        (Cond(is_=("A",), any_=("B",), not_=("B",)), False),
        (Cond(is_=("A",), any_=("B",), not_=("C",), clock={"B": 1}), True),
    ],
)
def test_conditions(cond: Cond, holds: bool) -> None:
    assert cond.check(abc()) is holds


def test_a_condition_holds_of_no_machine_that_is_not_there() -> None:
    gone = abc()
    gone.dispose()
    for cond in (Cond(), Cond(not_=("A",))):
        assert not cond.check(None) and not cond.check(gone)


def test_an_empty_condition_asks_for_nothing() -> None:
    assert Cond().is_empty
    given = [Cond(is_=("A",)), Cond(any_=("A",)), Cond(any_of=(("A",),)), Cond(not_=("A",)), Cond(clock={"A": 1})]
    assert not any(cond.is_empty for cond in given)


def test_tags_with_and_without_a_value() -> None:
    tags = ("bare", "port:80", "name:a:b", "port:81", "empty:")
    assert tag_value(tags, "bare") == "bare"
    assert tag_value(tags, "port") == "80"
    assert tag_value(tags, "name") == "a:b"
    assert tag_value(tags, "empty") == tag_value(tags, "nope") == tag_value(tags, "por") == ""
    assert tag_value_int(tags, "port") == 80
    assert tag_value_int(tags, "name") == tag_value_int(tags, "nope") == tag_value_int(tags, "bare") == -1


def test_an_action_takes_itself_away() -> None:
    class Handlers:
        AState = remove_multi("A")

    machine = am.Machine({"A": {"multi": True}}, Handlers())
    machine.add("A")
    machine.add("A")
    assert machine.tick("A") == 4
    loose = am.Machine({"A": {}})
    loose.bind({"AState": remove_multi("A")})
    loose.add("A")
    assert loose.tick("A") == 2


def test_the_state_of_a_handler() -> None:
    names = ("FooState", "FooEnter", "FooEnd", "FooExit", "FooBar", "Foo", "AnyState")
    assert [handler_to_state(name) for name in names] == ["Foo", "Foo", "Foo", "Foo", "FooBar", "Foo", "Any"]


class Stuck:
    """A machine that another thread drains until it is let go."""

    def __init__(self, kind: type[am.Machine[str]] = am.Machine) -> None:
        self.machine = kind({"A": {}, "B": {}}, eval_timeout=0.01, handler_timeout=60, handler_deadline=60)
        self.inside, self.leave = threading.Event(), threading.Event()
        self.machine.bind({"AState": self.hold})
        self.thread = threading.Thread(target=self.machine.add, args=("A",))

    def hold(self, e: am.Event) -> None:
        self.inside.set()
        self.leave.wait(30)

    def __enter__(self) -> Self:
        self.thread.start()
        self.inside.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self.leave.set()
        self.thread.join(30)


def test_a_getter_waits_for_its_turn_as_often_as_it_is_told() -> None:
    waits: list[float] = []

    class Counting(am.Machine[str]):
        def eval(self, function: Any) -> Any:
            waits.append(self.eval_timeout)
            if len(waits) == 3:
                stuck.leave.set()
                stuck.thread.join(30)
            return super().eval(function)

    with Stuck(Counting) as stuck:
        assert eval_getter(stuck.machine, lambda: stuck.machine.tick("A"), tries=3) == 1
        assert len(waits) == 3


@pytest.mark.parametrize("tries", [-1, 0, 1, 2])
def test_a_getter_gives_up_and_its_function_is_never_called(tries: int) -> None:
    calls: list[int] = []
    with Stuck() as stuck, pytest.raises(am.WaitTimeout):
        eval_getter(stuck.machine, lambda: calls.append(1), tries=tries)
    assert calls == []
    assert eval_getter(stuck.machine, lambda: 5, tries=tries) == 5


class Closing(Disposed, Basic):
    pass


async def test_a_machine_is_disposed_the_way_it_wants() -> None:
    plain, careful = am.Machine(Basic), am.Machine(Closing, DisposedHandlers())
    seen: list[Any] = []
    assert dispose_bind(plain, lambda gone, scope: seen.append((gone, scope.expired))).executed
    assert dispose_bind(careful, lambda gone, scope: seen.append((gone, scope.expired))).executed
    assert dispose(plain).executed and plain.is_disposed
    careful.trace(origins := Origins())
    source = am.MutationSource("other", "tx1")
    assert dispose(careful, e=source).executed and not careful.is_disposed
    await careful.when_disposed()
    assert seen == [(plain.id, True), (careful.id, False)]
    assert origins.seen["Disposing"] == source


class Origins(am.Tracer):
    def __init__(self) -> None:
        self.seen: dict[str, am.MutationSource | None] = {}

    def transition_init(self, tx: am.Transition) -> None:
        self.seen[tx.called[0]] = tx.source


async def test_a_coroutine_needs_somebody_to_await_it() -> None:
    seen: list[str] = []

    async def slowly(id: str, scope: am.Scope) -> None:
        seen.append(id)

    with pytest.raises(am.SchemaError, match=r"lacks the states of states\.Disposed"):
        dispose_bind(am.Machine(Basic), slowly)
    machine = am.Machine(Closing, DisposedHandlers())
    dispose_bind(machine, slowly)
    dispose(machine)
    await machine.when_disposed()
    assert seen == [machine.id]


def test_a_mirror_begins_like_its_source_and_follows_it() -> None:
    source = abc()
    mirror = new_mirror(source, ["A", "C", "A"], id="mirror")
    assert mirror.names == ("A", "C", "Exception") and mirror.parent_id == "abc"
    assert mirror.schema["A"].multi and mirror.schema["C"] == am.State()
    assert mirror.active_states() == ("A",)
    source.add("C")
    assert mirror.is_("A", "C")
    source.remove("B")
    assert mirror.active_states() == ("A",)


def test_a_flat_mirror_knows_activity_and_the_other_one_every_call() -> None:
    source, seen = abc(), list[Any]()
    flat = new_mirror(source, ["A"])
    full = new_mirror(source, ["A"], {"AState": lambda e: seen.append(e.raw_args)}, flat=False)
    source.add("A", n=1)
    assert flat.tick("A") == 1 and full.tick("A") == 3
    assert seen == [{}, {"n": 1}]


def test_a_mirror_goes_with_its_source() -> None:
    source = abc()
    mirror = new_mirror(source, ["A"])
    source.dispose()
    assert mirror.is_disposed


def test_a_mirror_of_what_is_not_there() -> None:
    with pytest.raises(am.StateMissing, match="'D'"):
        new_mirror(abc(), ["A", "D"])
