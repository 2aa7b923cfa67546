"""Tracers: which hook fires when, that failing ones hurt nobody, and that they leave nothing behind."""

from __future__ import annotations

import gc
import random
import tracemalloc
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.machine.tracer import hooks_of
from tests.machine.recording import RawSchema, Recorder

SCHEMA: RawSchema = {"A": {}, "B": {"auto": True, "require": "A"}, "C": {}, "D": {}}


def test_the_whole_sequence() -> None:
    def a_state(e: am.Event) -> None:
        e.add("D")
        e.machine.can_add("C")

    recorder = Recorder()
    machine = am.Machine(SCHEMA, {"AEnter": lambda e: None, "AState": a_state})
    machine.trace(recorder)
    machine.add("A")
    assert recorder.hooks == [
        "queued add A", "init add A", "start", "AEnter(", "AEnter)", "finals",
        "AState(", "queued add D", "queued check add C", "AState)", "queued auto add B", "end",
        "init auto add B", "start", "finals", "end",
        "init check add C", "start", "end",
        "init add D", "start", "finals", "end",
        "queue_end",
    ]  # fmt: skip


def test_every_transition_has_one_beginning_and_one_end() -> None:
    def boom(e: am.Event) -> None:
        raise RuntimeError

    recorder = Recorder()
    machine = am.Machine(
        {"A": {"require": "B"}, "B": {}, "C": {}, "D": {}},
        {"BEnter": lambda e: False, "CState": boom, "DEnter": boom},
    )
    machine.trace(recorder)
    for name in ("A", "B", "C", "D"):
        machine.add(name)
    begun = [hook for hook in recorder.hooks if hook.startswith("init ")]
    assert [hook.removeprefix("init ") for hook in begun] == [
        f"{tx.kind} {' '.join(tx.called)}" for tx in recorder.ended
    ]
    assert recorder.hooks.count("start") == recorder.hooks.count("end") == len(begun)
    assert recorder.hooks.count("finals") == 3, "of C and of the two errors"


def test_what_a_rejected_transition_shows() -> None:
    recorder = Recorder()
    machine = am.Machine({"A": {"require": "B"}, "B": {}}, tracers=[recorder])
    machine.add("B")
    machine.remove("B")
    machine.add("A")
    tx = recorder.ended[-1]
    assert (tx.accepted, tx.completed, tx.broken) == (False, True, False)
    assert (tx.called, tx.enters, tx.exits, tx.before, tx.after) == (("A",), (), (), (0, 2, 0), (0, 2, 0))


def test_waits_are_resolved_after_the_end_of_the_transition() -> None:
    order: list[str] = []

    class Tracer(am.Tracer):
        def transition_end(self, tx: am.Transition) -> None:
            order.append("end")

    machine = am.Machine({"A": {}}, tracers=[Tracer()])
    machine.when("A").then(lambda: order.append("met"))
    machine.add("A")
    assert order == ["end", "met"]


def test_a_machine_tells_the_tracers_it_is_made_with_and_its_parent() -> None:
    of_parent, of_child = Recorder(), Recorder()
    parent = am.Machine({"A": {}}, id="parent", tracers=[of_parent])
    child = am.Machine({"A": {}}, id="child", parent=parent, tracers=[of_child])
    assert of_parent.hooks == ["machine_init parent", "new_submachine child of parent"]
    assert of_child.hooks == ["machine_init child"]
    assert child.parent_id == "parent"
    assert child.tracers == (of_child,), "a parent's tracers are not inherited"


def test_disposal_is_told() -> None:
    recorder = Recorder()
    machine = am.Machine({"A": {}}, id="m", tracers=[recorder])
    machine.dispose()
    assert recorder.hooks == ["machine_init m", "machine_dispose m"]


def test_queue_len_tells_what_still_waits() -> None:
    lengths: list[int] = []

    class Tracer(am.Tracer):
        def transition_end(self, tx: am.Transition) -> None:
            lengths.append(tx.queue_len)

    def a_state(e: am.Event) -> None:
        e.add("C")
        e.add("D")

    am.Machine({"A": {}, "C": {}, "D": {}}, {"AState": a_state}, tracers=[Tracer()]).add("A")
    assert lengths == [2, 1, 0]


# Binding


def test_tracers_are_called_in_the_order_they_were_bound() -> None:
    order: list[str] = []

    class Tracer(am.Tracer):
        def queue_end(self, machine: am.View[Any]) -> None:
            order.append(self.id)

    machine = am.Machine({"A": {}})
    for name in ("second", "first"):
        tracer = Tracer()
        tracer.id = name
        assert machine.trace(tracer) == name
    machine.add("A")
    assert order == ["second", "first"]
    machine.untrace("second")
    machine.untrace("nobody")
    machine.add("A")
    assert order == ["second", "first", "first"]


def test_a_tracer_without_an_id_gets_one_and_keeps_it() -> None:
    first, second = am.Machine({"A": {}}), am.Machine({"A": {}})
    tracer = Recorder()
    bound_as = first.trace(tracer)
    assert bound_as.startswith("tracer-") and tracer.id == bound_as
    assert second.trace(tracer) == bound_as
    assert first.tracers == second.tracers == (tracer,)


def test_a_tracer_can_be_bound_for_a_while() -> None:
    machine = am.Machine({"A": {}, "B": {}})
    with machine.traced(Recorder()) as recorder:
        machine.add("A")
    machine.add("B")
    assert [tx.called for tx in recorder.ended] == [("A",)]


def test_a_tracer_does_nothing_by_itself() -> None:
    machine = am.Machine({"A": {}}, {"AState": lambda e: None}, tracers=[am.Tracer()])
    am.Machine({"A": {}}, parent=machine)
    assert machine.add("A").executed
    machine.dispose()
    tracer = am.Tracer()
    tracer.schema_change(machine, machine.schema)
    tracer.machine_init(machine)


# Failing tracers


@pytest.mark.parametrize(
    "hook",
    ["transition_init", "transition_start", "transition_finals", "transition_end", "handler_start", "handler_end"],
)
def test_a_hook_that_raises_once_is_an_error_and_stops_nothing(hook: str, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(am.Tracer):
        pass

    raised: list[str] = []

    def fail(self: Failing, *args: object) -> None:
        if not raised:
            raised.append(hook)
            raise RuntimeError(f"in {hook}")

    setattr(Failing, hook, fail)
    calls: list[str] = []
    machine = am.Machine({"A": {}}, {"AState": lambda e: calls.append("A")}, tracers=[Failing()])
    assert machine.add("A").executed
    assert calls == ["A"]
    assert machine.is_("A", "Exception")
    assert str(machine.err) == f"in {hook}"
    assert "an observer raised" in caplog.text


@pytest.mark.parametrize(
    "hook",
    [
        "machine_init", "mutation_queued", "transition_init", "transition_start", "transition_finals",
        "transition_end", "handler_start", "handler_end", "queue_end", "machine_dispose",
    ],
)  # fmt: skip
def test_a_hook_that_always_raises_does_not_keep_the_machine_busy(hook: str) -> None:
    class Failing(am.Tracer):
        pass

    def fail(self: Failing, *args: object) -> None:
        raise RuntimeError(f"in {hook}")

    setattr(Failing, hook, fail)
    machine = am.Machine({"A": {"multi": True}}, {"AState": lambda e: None}, tracers=[Failing(), Failing()])
    # An error handler that clears the error lets it come again.
    machine.bind({"ExceptionState": lambda e: e.remove("Exception")})
    for _ in range(3):
        assert machine.add("A").executed
    assert machine.queue_len == 0
    machine.dispose()
    assert machine.is_disposed
    assert str(machine.err) == f"in {hook}"


def test_a_tracer_may_mutate_its_machine() -> None:
    class Following(am.Tracer):
        def transition_end(self, tx: am.Transition) -> None:
            if "A" in tx.called:
                assert tx.machine.add("B").queued

        def queue_end(self, machine: am.View[Any]) -> None:
            if machine.is_("B") and machine.not_("C"):
                assert machine.add("C").executed  # type: ignore[attr-defined]

    machine = am.Machine({"A": {}, "B": {}, "C": {}}, tracers=[Following()])
    machine.add("A")
    assert machine.is_("A", "B", "C")


# Memory


def test_a_thousand_tracers_come_and_go_and_leave_memory_flat() -> None:
    machine = am.Machine({"A": {}, "B": {}}, {"AState": lambda e: None})

    def come_and_go(times: int) -> None:
        for _ in range(times):
            tracer = Recorder()
            machine.trace(tracer)
            machine.add("A")
            machine.remove("A")
            machine.untrace(tracer.id)

    come_and_go(20)
    tracemalloc.start()
    come_and_go(10)
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    come_and_go(1000)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert machine.tracers == ()
    assert after - before < 20_000


def test_on_change_hears_of_each_transition_that_is_no_dry_run() -> None:
    machine = am.Machine({"A": {}, "B": {"require": "A"}})
    heard: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    heard_by = machine.on_change(lambda _, before, after: heard.append((before, after)))
    machine.add("A")
    machine.add(["B", "A"])
    machine.can_remove("A")
    machine.remove("B")
    machine.untrace(heard_by)
    machine.remove("A")
    assert heard == [((0, 0, 0), (1, 0, 0)), ((1, 0, 0), (1, 1, 0)), ((1, 1, 0), (1, 2, 0))]


def test_on_error_hears_of_added_errors_and_of_those_of_handlers() -> None:
    machine = am.Machine({"A": {}}, {"AState": lambda e: 1 / 0})
    heard: list[BaseException] = []
    machine.on_error(lambda _, error: heard.append(error))
    added = ValueError("added")
    machine.add_err(added)
    machine.add("A")
    assert heard[0] is added and isinstance(heard[1], ZeroDivisionError) and len(heard) == 2


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(TypeError, match="'queue_limits'; did you mean queue_limit"):
        am.Machine({"A": {}}, queue_limits=3)  # type: ignore[call-overload]


class Ends(am.Tracer):
    def transition_end(self, tx: am.Transition) -> None: ...


class Plain(Ends):
    def transition_plain(self, machine: Any, plan: Any, auto: Any, queue_tick: int) -> None: ...


class Queues(am.Tracer):
    def mutation_queued(self, *_: Any) -> None: ...

    def queue_end(self, *_: Any) -> None: ...


def assigned() -> am.Tracer:
    """One whose hook is no method of its own."""
    tracer = am.Tracer()
    tracer.transition_start = lambda tx: None  # type: ignore[method-assign]
    return tracer


@pytest.mark.parametrize("seed", range(20))
def test_hooks_are_those_of_the_tracers_that_are_bound_however_they_came_and_went(seed: int) -> None:
    draw = random.Random(seed)
    machine = am.Machine({"A": {}})
    bound: list[am.Tracer] = []
    for _ in range(60):
        if bound and draw.random() < 0.45:
            gone = draw.choice(bound)
            bound = [tracer for tracer in bound if tracer.id != gone.id]
            machine.untrace(gone.id)
        else:
            tracer = draw.choice((Ends, Plain, Plain, Plain, Queues, assigned))()
            tracer.id = draw.choice(("", "", "", "twice"))
            machine.trace(tracer)
            bound.append(tracer)
        assert machine.tracers == tuple(bound)
        assert machine._hooks == hooks_of(bound)
