"""One machine, many threads: reading and waiting while another thread changes it, and who does the work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import asyncmachine as am
from tests.machine.recording import RawSchema

AB: RawSchema = {"A": {"remove": "B"}, "B": {"remove": "A"}, "C": {}, "M": {"multi": True}}


@contextmanager
def in_threads(*bodies: Callable[[], None]) -> Iterator[None]:
    """Runs each body in a thread of its own until it returns; raises the first of their errors."""
    errors: list[BaseException] = []

    def run(body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:  # noqa: BLE001 (raised by the main thread)
            errors.append(error)

    threads = [threading.Thread(target=run, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


def test_handlers_run_on_the_thread_that_found_the_queue_idle() -> None:
    threads: list[str] = []
    inside, queued = threading.Event(), threading.Event()

    def note(e: am.Event) -> None:
        threads.append(f"{e.name} {threading.current_thread().name}")
        if e.name == "AState":
            inside.set()
            assert queued.wait(10)

    machine = am.Machine(AB, {"AState": note, "CState": note})
    worker = threading.Thread(target=machine.add, args=("A",), name="worker")
    worker.start()
    assert inside.wait(10)
    result = machine.add("C")
    assert result.queued, "the caller does not wait for the other thread"
    queued.set()
    assert result.wait(10).executed
    worker.join(10)
    assert threads == ["AState worker", "CState worker"]


def test_what_is_queued_in_the_last_moment_of_a_drain_is_not_left_behind() -> None:
    class Late(am.Tracer):
        """Mutates from another thread after the queue was seen to be empty."""

        def queue_end(self, machine: am.View[str]) -> None:
            if machine.not_("C"):
                other = threading.Thread(target=machine.add, args=("C",))  # type: ignore[attr-defined]
                other.start()
                other.join(10)

    machine = am.Machine(AB, tracers=[Late()])
    machine.add("A")
    assert machine.is_("A", "C") and machine.queue_len == 0


class LateGuard:
    """The lock of a machine; when it is taken the second time, another thread has been faster."""

    def __init__(self, faster: Callable[[], object]) -> None:
        self._lock = threading.Lock()
        self._faster = faster
        self._taken = 0

    def acquire(self) -> None:
        self._taken += 1
        if self._taken == 2:
            other = threading.Thread(target=self._faster)
            other.start()
            other.join(10)
        self._lock.acquire()

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def test_what_arrives_between_the_last_look_and_the_end_is_run() -> None:
    machine = am.Machine(AB)
    machine.add("A")  # so that its plan is known and the lock is taken twice: at the start and at the end
    machine.remove("A")
    late: list[am.Result] = []
    machine._guard = LateGuard(lambda: late.append(machine.add("C")))  # type: ignore[assignment]
    machine.add("A")
    assert late[0].executed and late[0].tick == 5
    assert machine.is_("A", "C") and machine.queue_len == 0


def test_all_threads_can_wait_for_one_state() -> None:
    machine = am.Machine(AB)
    ready = threading.Barrier(9)

    def wait() -> None:
        found = machine.when("A")
        ready.wait(10)
        found.wait(10)

    with in_threads(*[wait] * 8):
        ready.wait(10)
        machine.add("A")


def test_waits_made_while_the_state_changes_are_never_lost() -> None:
    """Each round makes its wait at about the moment the other thread meets it."""
    machine = am.Machine(AB)
    rounds = 300
    turn = threading.Barrier(2)

    def change() -> None:
        for _ in range(rounds):
            turn.wait(10)
            machine.add("C")
            turn.wait(10)
            machine.remove("C")

    def wait() -> None:
        for n in range(rounds):
            turn.wait(10)
            machine.when_time(["C"], [2 * n + 1]).wait(10)
            turn.wait(10)

    with in_threads(change, wait):
        pass
    assert machine.tick("C") == 2 * rounds


def test_reading_never_fails_and_ticks_never_fall() -> None:
    machine = am.Machine(AB, {"AState": lambda e: None})
    stop = threading.Event()

    def read() -> None:
        before = machine.time()
        while not stop.is_set():
            now = machine.time()
            assert all(new >= old for old, new in zip(before, now, strict=True))
            before = now
            assert set(machine.active_states()) <= {"A", "B"}
            for text in (str(machine), machine.string_all(), machine.inspect(["A"])):
                assert text

    with in_threads(read, read):
        for _ in range(1500):
            machine.add("A")
            machine.add("B")
        stop.set()


def test_handlers_and_tracers_may_be_bound_and_taken_away_meanwhile() -> None:
    machine = am.Machine(AB)
    stop = threading.Event()

    def bind() -> None:
        while not stop.is_set():
            bound = machine.bind({"MState": lambda e: None, "AnyEnter": lambda e: None})
            tracer = machine.trace(am.Tracer())
            machine.untrace(tracer)
            machine.detach(bound)

    with in_threads(bind, bind):
        for _ in range(1500):
            assert machine.add("M").executed
        stop.set()
    assert machine.err is None
    assert machine.tick("M") == 2 * 1500 - 1


def test_machines_of_one_schema_may_run_side_by_side() -> None:
    names = [f"S{n}" for n in range(8)]
    schema = am.Schema({name: {"remove": [names[n - 1]], "auto": n == 5} for n, name in enumerate(names)})
    expected = walk(am.Machine(am.Schema(schema)), names)
    times: list[tuple[int, ...]] = []

    def body() -> None:
        times.append(walk(am.Machine(schema), names))

    with in_threads(*[body] * 6):
        pass
    assert times == [expected] * 6


def walk(machine: am.Machine[str], names: list[str]) -> tuple[int, ...]:
    for n in range(400):
        machine.toggle([names[n * 7 % 8], names[n * n % 8]])
    return machine.time()


async def test_a_loop_goes_on_while_another_thread_drains() -> None:
    inside, proceed = threading.Event(), threading.Event()

    def c_state(e: am.Event) -> None:
        inside.set()
        assert proceed.wait(10)

    machine = am.Machine(AB, {"CState": c_state})
    drain = asyncio.create_task(asyncio.to_thread(machine.add, "C"))
    await asyncio.to_thread(inside.wait, 10)
    result = machine.add("A")
    assert result.queued
    proceed.set()
    assert (await result).executed
    await drain


@pytest.mark.parametrize("method", ["add", "remove", "set", "toggle"])
async def test_every_mutation_can_come_from_any_thread(method: str) -> None:
    machine = am.Machine(AB)
    machine.add("C")
    result = await asyncio.to_thread(getattr(machine, method), "C")
    assert (await result).executed
