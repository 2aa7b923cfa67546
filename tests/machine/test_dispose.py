"""Disposal: what still runs, what ends, and that a machine that is gone answers everything without raising."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref
from collections.abc import Callable

import pytest

import asyncmachine as am
from tests.machine.recording import RawSchema, Recorder

SCHEMA: RawSchema = {"Start": {}, "A": {}, "B": {}}


def test_start_is_removed_with_its_handlers_first() -> None:
    seen: list[str] = []

    def start_end(e: am.Event) -> None:
        seen.append(f"StartEnd {e.machine.is_disposed}")

    machine = am.Machine(SCHEMA, {"StartEnd": start_end}, id="m")
    machine.add("Start")
    machine.on_dispose(lambda gone: seen.append(f"gone {gone}"))
    scope, wait = machine.scope("A"), machine.when("A")
    machine.dispose()
    assert seen == ["StartEnd False", "gone m"]
    assert machine.is_disposed and scope.expired and wait.done()
    assert machine.err is None


def test_disposal_happens_once() -> None:
    gone: list[str] = []
    machine = am.Machine(SCHEMA, id="m")
    machine.on_dispose(gone.append)
    machine.dispose()
    machine.dispose()
    assert gone == ["m"]
    machine.on_dispose(gone.append)
    assert gone == ["m", "m"], "a callback that comes too late is called at once"


def test_callbacks_run_in_order_and_one_that_raises_stops_nobody() -> None:
    order: list[str] = []
    machine = am.Machine(SCHEMA)

    def broken(id: str) -> None:
        raise OSError("stuck")

    machine.on_dispose(lambda _: order.append("first"))
    machine.on_dispose(broken)
    machine.on_dispose(lambda _: order.append("last"))
    machine.dispose()
    assert order == ["first", "last"]
    assert str(machine.err) == "stuck"


# During a drain


def test_a_handler_may_dispose_its_machine() -> None:
    seen: list[object] = []
    results: list[am.Result] = []

    def a_state(e: am.Event) -> None:
        results.append(e.add("B"))
        e.machine.dispose()
        seen.append(e.machine.is_disposed)
        results.append(e.add("B"))

    machine = am.Machine(SCHEMA, {"AState": a_state, "BState": lambda e: seen.append("never")})
    assert machine.add("A").executed, "the transition that runs comes to its end"
    assert seen == [False]
    assert [result.outcome for result in results] == ["canceled", "canceled"], "what waited is canceled"
    assert machine.is_disposed


def test_another_thread_may_dispose_a_machine_that_is_busy() -> None:
    inside, proceed = threading.Event(), threading.Event()

    def a_state(e: am.Event) -> None:
        inside.set()
        assert proceed.wait(10)

    machine = am.Machine(SCHEMA, {"AState": a_state})
    worker = threading.Thread(target=machine.add, args=("A",))
    worker.start()
    assert inside.wait(10)
    late = machine.add("B")
    machine.dispose()
    assert not machine.is_disposed, "the transition that runs is not cut off"
    proceed.set()
    machine.when_disposed().wait(10)
    worker.join(10)
    assert late.wait(10).canceled


@pytest.mark.parametrize("round", range(20))
def test_many_threads_dispose_and_mutate_at_once(round: int) -> None:
    recorder = Recorder()
    gone: list[str] = []
    machine = am.Machine(SCHEMA, {"AState": lambda e: None}, id="m", tracers=[recorder])
    machine.on_dispose(gone.append)
    errors: list[BaseException] = []
    begin = threading.Barrier(6)

    def mutate() -> None:
        try:
            begin.wait(10)
            for _ in range(20):
                machine.toggle(["A", "B"]).wait(10)
                machine.can_add("A").wait(10)
        except Exception as error:  # noqa: BLE001 (reported by the main thread)
            errors.append(error)

    def end() -> None:
        begin.wait(10)
        machine.dispose()

    threads = [threading.Thread(target=target) for target in (mutate, mutate, mutate, end, end, end)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    machine.when_disposed().wait(10)
    assert errors == []
    assert gone == ["m"] and recorder.hooks.count("machine_dispose m") == 1


# Afterwards

ANSWERS: dict[str, tuple[Callable[[am.Machine[str]], object], object]] = {
    "add": (lambda m: m.add("A"), am.CANCELED),
    "add unknown": (lambda m: m.add("Zed"), am.CANCELED),
    "remove": (lambda m: m.remove("A"), am.CANCELED),
    "set": (lambda m: m.set(["A"]), am.CANCELED),
    "toggle": (lambda m: m.toggle("A"), am.CANCELED),
    "can_add": (lambda m: m.can_add("A"), am.CANCELED),
    "can_remove": (lambda m: m.can_remove("A"), am.CANCELED),
    "add_err": (lambda m: m.add_err(OSError()), am.CANCELED),
    "prepend": (lambda m: m.prepend("add", "A"), am.CANCELED),
    "is_": (lambda m: m.is_("A"), False),
    "is_ nothing": (lambda m: m.is_(), False),
    "not_": (lambda m: m.not_("A"), False),
    "not_ nothing": (lambda m: m.not_(), False),
    "any_": (lambda m: m.any_("A"), False),
    "in": (lambda m: "A" in m, False),
    "has": (lambda m: m.has("A"), False),
    "is_err": (lambda m: m.is_err(), False),
    "tick": (lambda m: m.tick("A"), 0),
    "time": (lambda m: m.time(), ()),
    "clock": (lambda m: m.clock(), {}),
    "index": (lambda m: m.index("A"), -1),
    "active_states": (lambda m: m.active_states(), ()),
    "active_states of": (lambda m: m.active_states(["A"]), ()),
    "switch": (lambda m: m.switch(["A", "B"]), None),
    "str": (str, ""),
    "string_all": (lambda m: m.string_all(), ""),
    "inspect": (lambda m: m.inspect(), ""),
    "inspect of": (lambda m: m.inspect(["A"]), ""),
    "queue_len": (lambda m: m.queue_len, 0),
    "transition": (lambda m: m.transition, None),
    "will_be": (lambda m: m.will_be("A"), False),
    "handlers": (lambda m: m.handlers(), ()),
    "names": (lambda m: m.names, ("Start", "A", "B", "Exception")),
    "schema": (lambda m: tuple(m.schema), ("Start", "A", "B", "Exception")),
    "id": (lambda m: m.id, "m"),
    "repr": (repr, "<Machine m >"),
    "dispose": (lambda m: m.dispose(), None),
}


@pytest.mark.parametrize(("ask", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_a_machine_that_is_gone_answers(ask: Callable[[am.Machine[str]], object], answer: object) -> None:
    machine = am.Machine(SCHEMA, {"AState": lambda e: None}, id="m")
    machine.add(["A", "B"])
    machine.dispose()
    assert ask(machine) == answer
    assert machine.err is None


# Parents


def test_children_go_with_their_parent() -> None:
    parent = am.Machine(SCHEMA)
    child = am.Machine(SCHEMA, parent=parent)
    grandchild = am.Machine(SCHEMA, parent=child)
    parent.dispose()
    assert child.is_disposed and grandchild.is_disposed


def test_a_parent_outlives_its_children() -> None:
    parent = am.Machine(SCHEMA)
    am.Machine(SCHEMA, parent=parent).dispose()
    assert not parent.is_disposed


def test_a_child_of_a_machine_that_is_gone_is_gone() -> None:
    parent = am.Machine(SCHEMA)
    parent.dispose()
    assert am.Machine(SCHEMA, parent=parent).is_disposed


def test_a_parent_keeps_nothing_of_children_that_are_gone() -> None:
    parent = am.Machine(SCHEMA)
    child = am.Machine(SCHEMA, {"AState": lambda e: None}, parent=parent)
    gone = weakref.ref(child)
    child.dispose()
    del child
    gc.collect()
    assert gone() is None


def test_a_machine_that_nobody_refers_to_is_collected_without_being_disposed() -> None:
    machine = am.Machine(SCHEMA, {"AState": lambda e: None}, tracers=[Recorder()])
    machine.add("A")
    gone = weakref.ref(machine)
    del machine
    gc.collect()
    assert gone() is None


def test_a_machine_cannot_be_pickled_and_says_what_to_do_instead() -> None:
    with pytest.raises(TypeError, match=r"machine 'm' cannot be pickled: send its export\(\) and restore\(\)"):
        pickle.dumps(am.Machine(SCHEMA, id="m"))


def test_disposal_from_a_handler_lets_start_end_first() -> None:
    ended: list[str] = []

    class Handlers:
        def QuitState(self, e: am.Event) -> None:
            e.machine.dispose()

        def StartEnd(self, e: am.Event) -> None:
            ended.append("Start")

    machine = am.Machine({"Start": {}, "Quit": {}}, Handlers())
    machine.add("Start")
    machine.add("Quit")
    assert ended == ["Start"] and machine.is_disposed
