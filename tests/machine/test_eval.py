"""Evaluations: functions that run between transitions, whoever drains, and what happens when their turn never comes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import asyncmachine as am
from tests.machine.recording import RawSchema, Recorder

AB: RawSchema = {"A": {}, "B": {}}


@contextmanager
def busy(machine: am.Machine[str]) -> Iterator[Callable[[], None]]:
    """Another thread is inside of a handler until the block calls what it gets, or ends."""
    inside, proceed = threading.Event(), threading.Event()

    def a_state(e: am.Event) -> None:
        inside.set()
        assert proceed.wait(20)

    bound = machine.bind({"AState": a_state})
    worker = threading.Thread(target=machine.add, args=("A",))
    worker.start()
    assert inside.wait(10)

    def end() -> None:
        proceed.set()
        worker.join(10)

    try:
        yield end
    finally:
        end()
        machine.detach(bound)


def test_an_idle_machine_evaluates_at_once() -> None:
    recorder = Recorder()
    machine = am.Machine(AB, tracers=[recorder])
    machine.add("A")
    assert machine.eval(lambda: machine.is_("A")) is True
    assert machine.queue_tick == 2, "it takes no queue tick"
    assert len(recorder.ended) == 1, "and is no transition"


def test_what_the_function_raises_is_raised() -> None:
    machine = am.Machine(AB)
    with pytest.raises(ZeroDivisionError):
        machine.eval(lambda: 1 / 0)
    assert machine.err is None
    assert machine.add("A").executed


def test_an_interrupt_goes_up_and_leaves_the_machine_working() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    machine = am.Machine(AB)
    with pytest.raises(KeyboardInterrupt):
        machine.eval(interrupt)
    assert machine.add("A").executed


def test_mutations_of_the_function_run_after_it() -> None:
    machine = am.Machine(AB)

    def body() -> tuple[bool, bool]:
        return machine.add("A").queued, machine.is_("A")

    assert machine.eval(body) == (True, False)
    assert machine.is_("A")


def test_an_evaluation_goes_before_what_waits() -> None:
    order: list[str] = []
    machine = am.Machine(AB, {"BState": lambda e: order.append("B")})
    with busy(machine) as end:
        machine.add("B")
        evaluating = threading.Thread(target=lambda: machine.eval(lambda: order.append("eval")))
        evaluating.start()
        while machine.queue_len < 2:
            pass
        end()
        evaluating.join(10)
    assert order == ["eval", "B"]


def test_inside_of_a_handler_it_would_wait_for_itself() -> None:
    machine = am.Machine(AB, {"AState": lambda e: e.machine.eval(lambda: None)})
    assert machine.add("A").canceled
    assert isinstance(machine.err, am.HandlerError)
    assert "would wait for itself" in str(machine.err)


def test_inside_of_an_evaluation_too() -> None:
    machine = am.Machine(AB)
    with pytest.raises(am.HandlerError):
        machine.eval(lambda: machine.eval(lambda: None))
    assert machine.eval(lambda: 1) == 1


def test_a_turn_that_does_not_come_in_time_never_comes() -> None:
    ran: list[str] = []
    machine = am.Machine(AB, eval_timeout=0.01)
    with busy(machine), pytest.raises(am.WaitTimeout, match=r"did not come to this evaluation within 0\.01 s"):
        machine.eval(lambda: ran.append("eval"))
    assert ran == [] and machine.queue_len == 0


def test_a_function_that_has_begun_in_time_is_waited_for() -> None:
    machine = am.Machine(AB, eval_timeout=0.01)
    begun, proceed = threading.Event(), threading.Event()
    values: list[int] = []

    def slow() -> int:
        begun.set()
        assert proceed.wait(10)
        return 7

    with busy(machine) as end:
        machine.eval_timeout = 20
        asking = threading.Thread(target=lambda: values.append(machine.eval(slow)))
        asking.start()
        while not machine._queue:
            pass
        threading.Thread(target=end).start()
        assert begun.wait(10)
        proceed.set()
        asking.join(10)
    assert values == [7]


def test_a_machine_that_is_gone_says_so() -> None:
    machine = am.Machine(AB)
    machine.dispose()
    with pytest.raises(am.Disposed):
        machine.eval(lambda: None)


def test_a_machine_that_goes_meanwhile_says_so() -> None:
    machine = am.Machine(AB, eval_timeout=20)
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            machine.eval(lambda: None)
        except am.Disposed as error:
            errors.append(error)

    with busy(machine) as end:
        asking = threading.Thread(target=ask)
        asking.start()
        while not machine._queue:
            pass
        machine.dispose()
        end()
        asking.join(10)
    assert len(errors) == 1


def test_two_threads_that_evaluate_and_mutate_do_not_take_each_other_for_themselves() -> None:
    machine = am.Machine(AB)
    stop = threading.Event()

    def toggle() -> None:
        while not stop.is_set():
            machine.toggle("A")

    worker = threading.Thread(target=toggle)
    worker.start()
    try:
        machine.eval_timeout = 20
        for n in range(2000):
            assert machine.eval(lambda n=n: n) == n  # type: ignore[misc]
    finally:
        stop.set()
        worker.join(10)


# From a loop


async def test_a_coroutine_waits_its_turn_without_blocking() -> None:
    machine = am.Machine(AB)
    assert await machine.eval_async(lambda: 1) == 1
    with busy(machine) as end:
        asking = asyncio.ensure_future(machine.eval_async(lambda: machine.is_("A")))
        await asyncio.sleep(0)
        assert not asking.done()
        await asyncio.to_thread(end)
        assert await asking is True
    with pytest.raises(ZeroDivisionError):
        await machine.eval_async(lambda: 1 / 0)


async def test_an_evaluation_whose_caller_was_cancelled_does_not_run() -> None:
    ran: list[str] = []
    machine = am.Machine(AB)
    with busy(machine) as end:
        asking = asyncio.ensure_future(machine.eval_async(lambda: ran.append("eval")))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.to_thread(end)
    assert ran == []


async def test_blocking_the_loop_for_another_threads_drain_is_refused_and_nothing_runs() -> None:
    ran: list[str] = []
    machine = am.Machine(AB)
    with busy(machine) as end:
        with pytest.raises(am.AmError, match="use `await` instead"):
            machine.eval(lambda: ran.append("eval"))
        await asyncio.to_thread(end)
    assert ran == []
