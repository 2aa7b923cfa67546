"""Handlers that take too long: measured, reported while they run, interrupted at the deadline, and what comes after."""

from __future__ import annotations

import ctypes
import logging
import sys
import threading
import time
from collections.abc import Iterator

import pytest

import asyncmachine as am
from asyncmachine.machine import drain, transition, watchdog
from tests.machine.recording import RawSchema, Recorder

AB: RawSchema = {"A": {}, "B": {}, "C": {}, "ErrHandlerTimeout": {"require": "Exception"}}


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    for module, name in ((transition, "perf_counter"), (watchdog, "perf_counter"), (drain, "monotonic")):
        monkeypatch.setattr(module, name, found)
    return found


def test_the_limits_are_generous() -> None:
    machine = am.Machine(AB)
    assert (machine.handler_timeout, machine.handler_deadline, machine.handler_backoff) == (1.0, 10.0, 3.0)


def test_a_handler_that_takes_too_long_breaks_its_transition(clock: Clock) -> None:
    def b_state(e: am.Event) -> None:
        clock.now += 1.5

    recorder = Recorder()
    machine = am.Machine(AB, tracers=[recorder])
    machine.bind({"BState": b_state}, id="slow")
    assert machine.add(["A", "B", "C"]).canceled
    assert machine.is_("A", "Exception", "ErrHandlerTimeout") and machine.not_("B", "C")
    assert isinstance(machine.err, am.HandlerTimeout)
    assert "BState of slow took 1.500 s, more than 1.0 s; move slow work to an `async def` handler" in str(machine.err)
    assert recorder.ended[0].broken
    assert not machine.backoff, "it came back before the deadline"
    assert machine.add("B").canceled and machine.add("C").executed


def test_a_negotiation_handler_that_takes_too_long_cancels(clock: Clock) -> None:
    def a_enter(e: am.Event) -> bool:
        clock.now += 1.5
        return True

    machine = am.Machine(AB, {"AEnter": a_enter})
    assert machine.add("A").canceled
    assert isinstance(machine.err, am.HandlerTimeout)


def test_each_handler_has_the_whole_time(clock: Clock) -> None:
    def slow(e: am.Event) -> None:
        clock.now += 0.9

    machine = am.Machine(AB, {"AEnter": slow, "AnyEnter": slow, "AState": slow})
    assert machine.add("A").executed


def test_after_a_missed_deadline_mutations_are_refused_for_a_while(clock: Clock) -> None:
    def a_state(e: am.Event) -> None:
        clock.now += 11

    machine = am.Machine(AB, {"AState": a_state})
    assert machine.add("A").canceled
    assert isinstance(machine.err, am.HandlerDeadline)
    assert "more than 10.0 s" in str(machine.err)
    assert machine.is_err(), "the error itself gets through"
    assert machine.backoff is True
    refused = [
        machine.add("B"), machine.remove("B"), machine.set("B"), machine.can_add("B"), machine.add_err(OSError()),
        machine.prepend("add", "B"),
    ]  # fmt: skip
    assert all(result.canceled for result in refused)
    clock.now += 3
    assert machine.add("B").executed
    assert machine.backoff is False


def test_what_was_queued_before_a_missed_deadline_still_runs(clock: Clock) -> None:
    results: list[am.Result] = []

    def a_state(e: am.Event) -> None:
        results.append(e.add("B"))
        clock.now += 11

    machine = am.Machine(AB, {"AState": a_state})
    machine.add("A")
    assert results[0].executed and machine.is_("B")


def test_a_disposed_machine_is_not_backing_off() -> None:
    machine = am.Machine(AB)
    machine.dispose()
    assert not machine.backoff


# While it runs


def busy(machine: am.Machine[str], clock: Clock, seconds: float) -> None:
    """As if a handler of this thread had been running for so long."""
    machine._busy = (clock.now, "AState", threading.get_ident())
    clock.now += seconds


def test_a_stuck_handler_is_reported_once_with_its_stack(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    machine = am.Machine(AB, id="m")
    busy(machine, clock, 1.2)
    with caplog.at_level(logging.WARNING):
        watchdog.look_at(machine)
        watchdog.look_at(machine)
    (record,) = caplog.records
    assert record.getMessage().startswith("m: AState has been running for 1.2 s\n")
    assert "test_a_stuck_handler_is_reported_once_with_its_stack" in record.getMessage()


def test_a_handler_in_time_and_an_idle_machine_are_not_reported(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    machine = am.Machine(AB)
    watchdog.look_at(machine)
    busy(machine, clock, 0.5)
    watchdog.look_at(machine)
    assert caplog.records == []


def test_a_thread_that_is_gone_has_no_stack(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    machine = am.Machine(AB)
    machine._busy = (clock.now, "AState", 0)
    clock.now += 2
    watchdog.look_at(machine)
    assert "has been running for 2.0 s" in caplog.text


def spin() -> None:
    """Keeps the thread busy until it is interrupted, or for twenty seconds."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        pass


def test_at_the_deadline_an_error_is_raised_inside_of_the_handler() -> None:
    machine = am.Machine(
        AB, {"AState": lambda e: spin()}, handler_deadline=0.05, handler_backoff=0.01, handler_timeout=0.02
    )
    assert machine.add("A").canceled
    assert isinstance(machine.err, am.HandlerDeadline)
    assert str(machine.err) == "AState still ran after 0.05 s and was interrupted"
    assert machine.is_("Exception", "ErrHandlerTimeout")


def test_a_handler_may_catch_the_error_and_clean_up() -> None:
    cleaned: list[str] = []

    def a_state(e: am.Event) -> None:
        try:
            spin()
        except am.HandlerDeadline:
            cleaned.append("cleaned")
            raise

    machine = am.Machine(AB, {"AState": a_state}, handler_deadline=0.05)
    machine.add("A")
    assert cleaned == ["cleaned"]
    assert isinstance(machine.err, am.HandlerDeadline)


def test_a_handler_is_interrupted_once(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = am.Machine(AB)
    raised: list[object] = []
    monkeypatch.setattr(ctypes.pythonapi, "PyThreadState_SetAsyncExc", lambda thread, error: raised.append(error))
    busy(machine, clock, 11)
    watchdog.look_at(machine)
    watchdog.look_at(machine)
    assert len(raised) == 1


def test_an_interrupt_that_comes_too_late_is_taken_back(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = am.Machine(AB)
    raised: list[object] = []

    def raise_late(thread: object, error: object) -> None:
        raised.append(error)
        machine._busy = None

    monkeypatch.setattr(ctypes.pythonapi, "PyThreadState_SetAsyncExc", raise_late)
    busy(machine, clock, 11)
    watchdog.look_at(machine)
    assert raised[1] is None


# The thread


@pytest.fixture
def dog() -> Iterator[watchdog.Watchdog]:
    """A watchdog of its own, that has nothing to watch at the end."""
    found = watchdog.Watchdog()
    yield found
    found._machines.clear()
    found._wake.set()
    if found._thread is not None:
        found._thread.join(10)


def test_the_thread_lives_as_long_as_there_are_machines(dog: watchdog.Watchdog) -> None:
    machine = am.Machine(AB, handler_timeout=0.01)
    threads = []
    for watched in (machine, am.Machine(AB)):
        dog.watch(watched)
        threads.append(dog._thread)
    first, again = threads
    assert first is not None and first is again
    assert first.daemon and first.is_alive()
    dog._machines.clear()
    dog._wake.set()
    first.join(10)
    assert not first.is_alive()
    dog.watch(machine)
    assert dog._thread not in (None, first)


def test_where_threads_cannot_start_handlers_are_only_measured(
    dog: watchdog.Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "emscripten")
    dog.watch(am.Machine(AB))
    assert dog._thread is None
