"""What leaves a handler as a `BaseException`: Ctrl-C reaches the caller at once, and the machine goes on afterwards."""

from __future__ import annotations

import threading

import pytest

import asyncmachine as am
from tests.machine.recording import RawSchema, Recorder


def interrupt(e: am.Event) -> None:
    raise KeyboardInterrupt


STATES: RawSchema = {"A": {}, "B": {}, "C": {}, "D": {}}


@pytest.mark.parametrize(("handler", "left"), [("AEnter", "()"), ("AState", "()"), ("AnyState", "(A:1)")])
def test_it_goes_up_to_the_caller_and_the_transition_is_undone_as_after_an_error(handler: str, left: str) -> None:
    machine = am.Machine(STATES, {handler: interrupt}, id="m")
    recorder = Recorder()
    machine.trace(recorder)
    with pytest.raises(KeyboardInterrupt):
        machine.add("A")
    (tx,) = recorder.ended
    assert not tx.accepted and tx.completed
    assert tx.after == machine.time()
    assert str(machine) == left
    assert machine.err is None and not machine.is_err(), "an interrupt is no error of the machine"
    machine.detach(machine.handlers()[0])
    assert machine.add("B").executed


def test_what_waits_is_left_to_the_next_mutation() -> None:
    order: list[str] = []

    def a_state(e: am.Event) -> None:
        e.add("B")
        e.add("C")
        raise KeyboardInterrupt

    handlers = {name + "State": lambda e: order.append(e.state) for name in ("B", "C", "D")}
    machine = am.Machine(STATES, {"AState": a_state, **handlers})
    with pytest.raises(KeyboardInterrupt):
        machine.add("A")
    assert order == [] and machine.queue_len == 2
    ended = machine.when_queue_ends()
    assert not ended.done()
    assert machine.add("D").executed
    assert order == ["B", "C", "D"]
    assert ended.done()


def test_an_endless_exchange_between_handlers_can_be_interrupted() -> None:
    rounds = 0

    def a_state(e: am.Event) -> None:
        nonlocal rounds
        rounds += 1
        e.remove("A")
        e.add("A")
        if rounds == 50:
            raise KeyboardInterrupt

    machine = am.Machine(STATES, {"AState": a_state})
    with pytest.raises(KeyboardInterrupt):
        machine.add("A")
    assert rounds == 50


def test_one_interrupt_after_another_does_not_block_the_machine() -> None:
    machine = am.Machine(STATES, {"AState": lambda e: e.add("B"), "BState": interrupt, "CState": interrupt})
    for name in ("A", "C"):
        with pytest.raises(KeyboardInterrupt):
            machine.add(name)
    assert machine.add("D").executed


def test_the_result_of_the_interrupted_mutation_settles() -> None:
    results: list[am.Result] = []
    machine = am.Machine(STATES, {"AState": lambda e: results.append(e.add("B")), "BState": interrupt})
    waited = machine.when_queue(3)
    with pytest.raises(KeyboardInterrupt):
        machine.add("A")
    assert results[0].wait(10).canceled
    waited.wait(10)


def test_a_dry_run_that_is_interrupted_leaves_nothing_behind() -> None:
    machine = am.Machine(STATES, {"AEnter": interrupt})
    with pytest.raises(KeyboardInterrupt):
        machine.can_add("A")
    assert machine.queue_len == 0
    assert machine.add("B").executed


def test_other_threads_go_on_with_what_waits() -> None:
    queued, proceed = threading.Event(), threading.Event()

    def a_state(e: am.Event) -> None:
        queued.set()
        assert proceed.wait(10)
        raise KeyboardInterrupt

    machine = am.Machine(STATES, {"AState": a_state})
    caught: list[BaseException] = []

    def work() -> None:
        try:
            machine.add("A")
        except KeyboardInterrupt as error:
            caught.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    assert queued.wait(10)
    result = machine.add("B")
    assert result.queued
    proceed.set()
    worker.join(10)
    assert len(caught) == 1
    machine.add("C")
    assert result.wait(10).executed


def test_a_machine_disposed_before_the_interrupt_is_disposed() -> None:
    def a_state(e: am.Event) -> None:
        e.machine.dispose()
        raise KeyboardInterrupt

    machine = am.Machine(STATES, {"AState": a_state})
    with pytest.raises(KeyboardInterrupt):
        machine.add("A")
    assert machine.is_disposed


def test_an_interrupt_in_what_arrives_at_the_very_end_goes_up_too() -> None:
    class Late(am.Machine[str]):
        """Another thread mutates when the queue has been seen to be empty."""

        def _end_drain(self, *, interrupted: bool = False) -> None:
            if not interrupted:
                other = threading.Thread(target=self.add, args=(["B", "C"],))
                other.start()
                other.join(10)
            super()._end_drain(interrupted=interrupted)

    machine = Late(STATES, {"BState": interrupt})
    with pytest.raises(KeyboardInterrupt):
        # A mistake, so that the drain ends with nothing run.
        machine.add("Zed")
    machine.detach(machine.handlers()[0])
    assert am.Machine.add(machine, "A").executed
