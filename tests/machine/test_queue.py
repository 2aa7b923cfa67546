"""The queue: who runs when, what is skipped, what is refused, and that no thread's mutation is ever lost."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable

import pytest

import asyncmachine as am
from tests.machine.recording import RawSchema, Recorder, logging_handlers

Nested = Callable[[am.Event], am.Result]


def inside(schema: RawSchema, *nested: Nested) -> tuple[am.Machine[str], list[am.Result], Recorder]:
    """A machine whose first `AState` makes these mutations, what they returned, and what ran."""
    results: list[am.Result] = []

    def a_state(e: am.Event) -> None:
        if not results:
            for mutate in nested:
                result = mutate(e)
                # What it was when the handler got it; a queued one settles later.
                results.append(am.Result(result.outcome, result.tick))

    recorder = Recorder()
    machine = am.Machine(schema, {"AState": a_state}, tracers=[recorder])
    machine.add("A")
    return machine, results, recorder


def ran(recorder: Recorder) -> list[str]:
    """The transitions that ended, as texts, without the first one."""
    return [f"{tx.kind} {' '.join(tx.called)}" for tx in recorder.ended][1:]


def ticks(results: list[am.Result]) -> list[int]:
    """Queue ticks, with 0 for executed and 1 for canceled."""
    return [1 if result.canceled else result.tick for result in results]


ABCD: RawSchema = {"A": {}, "B": {}, "C": {}, "D": {}}


# Queue ticks and order


def test_queue_ticks_count_mutations_from_two_on() -> None:
    machine = am.Machine(ABCD)
    assert machine.queue_tick == 1
    assert machine.add("A").executed
    assert machine.queue_tick == 2
    machine.can_add("B")
    assert machine.queue_tick == 2, "a dry run does not count"


def test_a_canceled_mutation_takes_its_queue_tick() -> None:
    machine = am.Machine({"A": {"require": ["B"]}, "B": {}})
    assert machine.add("A").canceled
    assert machine.queue_tick == 2


def test_a_mutation_from_a_handler_waits_its_turn() -> None:
    order: list[str] = []

    def a_state(e: am.Event) -> None:
        result = e.machine.add("B")
        order.append(f"A {result.outcome} {result.tick} {e.machine.queue_len}")

    machine = am.Machine(ABCD, {"AState": a_state, "BState": lambda e: order.append("B")})
    assert machine.add("A").executed, "the outer call returns when all has run"
    assert order == ["A queued 3 1", "B"]
    assert machine.is_("A", "B")
    assert machine.queue_len == 0


def test_what_a_handler_queues_runs_in_the_order_of_its_calls() -> None:
    _, results, recorder = inside(
        ABCD,
        lambda e: e.add("B"),
        lambda e: e.machine.set(["C", "A"]),
        lambda e: e.machine.toggle("D"),
        lambda e: e.remove("A"),
    )
    assert ticks(results) == [3, 4, 5, 6]
    assert ran(recorder) == ["add B", "set C A", "add D", "remove A"]
    assert [tx.queue_tick for tx in recorder.ended] == [2, 3, 4, 5, 6]


def test_a_toggle_is_decided_when_it_is_called() -> None:
    machine, _, recorder = inside(ABCD, lambda e: e.add("B"), lambda e: e.machine.toggle("B"))
    assert ran(recorder) == ["add B"], "B was inactive, so the toggle was an add, and that was queued already"
    assert machine.is_("B")


def test_the_auto_mutation_goes_before_everything_that_waits() -> None:
    schema: RawSchema = {**ABCD, "Auto": {"auto": True}}
    _, _, recorder = inside(schema, lambda e: e.add("B"))
    assert ran(recorder) == ["add Auto", "add B"]


def test_an_error_of_a_handler_goes_before_everything_that_waits() -> None:
    def a_state(e: am.Event) -> None:
        e.add("B")
        raise RuntimeError

    recorder = Recorder()
    machine = am.Machine(ABCD, {"AState": a_state}, tracers=[recorder])
    machine.add("A")
    assert ran(recorder) == ["add Exception", "add B"]


def test_a_nested_dry_run_goes_before_everything_that_waits() -> None:
    _, results, recorder = inside(ABCD, lambda e: e.add("B"), lambda e: e.machine.can_add("C"))
    assert [(result.outcome, result.tick) for result in results] == [("queued", 3), ("queued", 0)]
    assert ran(recorder) == ["add C", "add B"]
    assert [tx.is_check for tx in recorder.ended] == [False, True, False]


async def test_the_answer_of_a_nested_dry_run_is_awaited() -> None:
    answers: list[am.Result] = []

    def a_state(e: am.Event) -> None:
        answers.append(e.machine.can_add("B"))
        answers.append(e.machine.can_add("C"))

    am.Machine({**ABCD, "B": {"require": ["C"]}}, {"AState": a_state}).add("A")
    assert [(await answer).outcome for answer in answers] == ["canceled", "executed"]


async def test_a_queued_result_settles_when_its_mutation_has_run() -> None:
    results: list[am.Result] = []

    def a_state(e: am.Event) -> None:
        results.extend([e.add("B"), e.add("C")])
        assert all(result.queued and not result.done() for result in results)

    machine = am.Machine({**ABCD, "C": {"require": ["D"]}}, {"AState": a_state})
    machine.add("A")
    assert [result.outcome for result in results] == ["executed", "canceled"]
    assert (await results[0]).executed and (await results[1]).canceled


def test_a_call_returns_the_outcome_of_its_own_mutation() -> None:
    machine = am.Machine({**ABCD, "B": {"require": ["C"]}}, {"AState": lambda e: e.add("B")})
    assert machine.add("A").executed
    machine = am.Machine({**ABCD, "A": {"multi": True}}, {"AEnter": lambda e: bool(e.add("B")) or False})
    assert machine.add("A").canceled
    assert machine.is_("B")


def test_a_mutation_queued_while_negotiating_runs_even_after_a_veto() -> None:
    machine = am.Machine(ABCD, {"BEnter": lambda e: e.add("C").tick == 4})
    machine.set("A")
    assert machine.set("B").executed
    assert machine.is_("B", "C")


def test_an_exception_in_a_queued_mutation_keeps_the_following_ones_in_order() -> None:
    order: list[str] = []

    def b_state(e: am.Event) -> None:
        order.append("B")
        raise RuntimeError("boom")

    def a_state(e: am.Event) -> None:
        for name in ("B", "C", "D"):
            e.add(name)

    machine = am.Machine(
        ABCD,
        {
            "AState": a_state,
            "BState": b_state,
            "ExceptionState": lambda e: order.append("Exception"),
            "CState": lambda e: order.append("C"),
            "DState": lambda e: order.append("D"),
        },
    )
    machine.add("A")
    assert order == ["B", "Exception", "C", "D"]
    assert machine.is_("A", "C", "D", "Exception") and machine.not_("B")


# Duplicates


MULTI: RawSchema = {**ABCD, "B": {"multi": True}}


def test_a_mutation_that_waits_already_is_not_queued_again() -> None:
    _, results, _ = inside(
        MULTI,
        lambda e: e.add("B"),
        lambda e: e.add("B"),
        lambda e: e.add("C", x=1),
        lambda e: e.add("C"),
        lambda e: e.add("C"),
        lambda e: e.add(["C", "D"]),
        lambda e: e.add(["D", "C"]),
        lambda e: e.machine.set("C"),
        lambda e: e.remove("D"),
    )
    assert ticks(results) == [3, 4, 5, 6, 0, 7, 0, 8, 9]
    assert [result.outcome for result in results if result.tick == 0] == ["executed", "executed"]


@pytest.mark.parametrize(
    ("mutations", "expected"),
    [
        ("add B, remove B, add B", [3, 4, 5]),
        ("remove A, add A, remove A", [3, 4, 5]),
        ("add B, remove C, add B", [3, 4, 0]),
        ("add B, set A, add B", [3, 4, 5]),
        ("add B, set B, add B", [3, 4, 0]),
        ("remove A, set A, remove A", [3, 4, 5]),
        ("remove A, set B, remove A", [3, 4, 0]),
        ("set B, add C, set B", [3, 4, 5]),
        ("set B, set B", [3, 0]),
        ("add B, add B C, add B", [3, 4, 0]),
    ],
)
def test_a_duplicate_is_queued_when_something_undoes_it_in_between(mutations: str, expected: list[int]) -> None:
    def nested(call: str) -> Nested:
        kind, _, states = call.partition(" ")
        return lambda e: getattr(e.machine, kind)(states.split())

    _, results, _ = inside(ABCD, *(nested(call) for call in mutations.split(", ")))
    assert ticks(results) == expected


def test_add_remove_add_leaves_the_state_active() -> None:
    machine, _, _ = inside(ABCD, lambda e: e.add("B"), lambda e: e.remove("B"), lambda e: e.add("B"))
    assert machine.tick("B") == 3


def test_a_dry_run_is_no_duplicate_of_a_mutation() -> None:
    machine, results, _ = inside(ABCD, lambda e: e.machine.can_add("B"), lambda e: e.add("B"))
    assert results[1].tick == 3
    assert machine.is_("B")


# Removals that change nothing


def test_a_nested_removal_of_what_is_inactive_is_skipped() -> None:
    machine, results, recorder = inside(ABCD, lambda e: e.remove("B"), lambda e: e.remove(["B", "C"]))
    assert [result.outcome for result in results] == ["executed", "executed"]
    assert ran(recorder) == []
    assert machine.queue_tick == 2


def test_a_nested_removal_is_queued_behind_others() -> None:
    _, results, recorder = inside(ABCD, lambda e: e.add("B"), lambda e: e.remove("B"))
    assert ticks(results) == [3, 4]
    assert ran(recorder) == ["add B", "remove B"]


def test_outside_of_a_transition_an_empty_removal_runs() -> None:
    calls: list[str] = []
    machine = am.Machine(ABCD, logging_handlers("ABCD", calls))
    assert machine.remove("A").executed
    assert calls == ["AnyEnter", "AnyState"]
    assert machine.queue_tick == 2


def test_mutations_of_no_states_are_legal() -> None:
    machine = am.Machine(ABCD)
    machine.add(["A", "B"])
    assert machine.add([]).executed and machine.remove([]).executed
    assert str(machine) == "(A:1 B:1)"
    assert machine.set([]).executed
    assert machine.active_states() == ()


# Limits


def test_a_full_queue_cancels() -> None:
    results: list[am.Result] = []

    def a_state(e: am.Event) -> None:
        results.extend([e.add("B"), e.add("C"), e.add("D"), e.machine.set("D"), e.remove("A")])

    machine = am.Machine(ABCD, {"AState": a_state}, queue_limit=2)
    assert machine.queue_limit == 2
    machine.add("A")
    assert [result.outcome for result in results] == ["executed", "executed", "canceled", "canceled", "canceled"]
    assert machine.not_("D")


def test_an_error_gets_into_a_full_queue() -> None:
    results: list[am.Result] = []
    error = RuntimeError("late")

    def a_state(e: am.Event) -> None:
        results.extend([e.add("B"), e.add("C"), e.machine.add_err(error)])

    machine = am.Machine(ABCD, {"AState": a_state}, queue_limit=2)
    machine.add("A")
    assert [result.outcome for result in results] == ["executed", "executed", "executed"]
    assert machine.is_err() and machine.err is error


def test_the_removal_of_an_error_gets_into_a_full_queue() -> None:
    results: list[am.Result] = []

    def a_state(e: am.Event) -> None:
        results.extend([e.add("B"), e.add("C"), e.machine.add_err(RuntimeError()), e.remove("Exception")])

    machine = am.Machine(ABCD, queue_limit=2)
    machine.add("Exception")
    machine.bind({"AState": a_state})
    machine.add("A")
    assert [result.outcome for result in results] == ["executed", "executed", "canceled", "executed"]
    assert not machine.is_err()


# Mistakes of the caller


@pytest.mark.parametrize("with_handlers", [False, True])
@pytest.mark.parametrize(
    ("mutate", "error", "message"),
    [
        (lambda m: m.add("Zed"), am.StateMissing, "state 'Zed' is not defined in the schema of 'm'"),
        (lambda m: m.add(["A", "Zed", "Yak"]), am.StateMissing, "'Zed' (did you mean 'Zet'?), 'Yak' are not defined"),
        (lambda m: m.can_remove("Zed"), am.StateMissing, "'Zed'"),
        (lambda m: m.toggle("Zed"), am.StateMissing, "'Zed'"),
        (lambda m: m.add(3), am.InvalidArgs, "states are a name or an iterable of names, got int"),
        (lambda m: m.add(["A", 3]), am.InvalidArgs, "a state is named by a text, got 3"),
        (lambda m: m.add("A", 3), am.InvalidArgs, "arguments are a mapping, an Args record or a list of records"),
        (lambda m: m.add("A", [3]), am.InvalidArgs, "a list of arguments holds Args records, got int"),
        (lambda m: m.can_add("A", 3), am.InvalidArgs, "arguments are a mapping"),
    ],
)
def test_a_mistake_raises_and_changes_nothing(
    mutate: Callable[[am.Machine[str]], object], error: type[am.AmError], message: str, with_handlers: bool
) -> None:
    machine = am.Machine({"A": {}, "Zet": {}} if "Zet" in message else {"A": {}}, id="m")
    if with_handlers:
        machine.bind({"AState": lambda e: None})
    with pytest.raises(error) as caught:
        mutate(machine)
    assert message in str(caught.value)
    assert (machine.queue_tick, machine.queue_len, str(machine)) == (1, 0, "()")
    assert machine.add("A").executed, "the queue is not stuck"
    assert machine.queue_tick == 2


def test_a_mistake_inside_of_a_handler_is_an_error_of_the_handler() -> None:
    machine = am.Machine(ABCD, {"AState": lambda e: e.add("Zed")})
    assert machine.add("A").canceled
    assert isinstance(machine.err, am.StateMissing)
    assert machine.is_err()


def test_states_may_come_from_a_generator() -> None:
    machine = am.Machine(ABCD)
    machine.add(name for name in ("B", "A", "B"))
    assert machine.active_states() == ("B", "A")


# Several callers at once


async def test_a_hundred_concurrent_adds_give_one_activation() -> None:
    calls: list[str] = []
    machine = am.Machine(ABCD, {"BState": lambda e: calls.append("B")})

    async def add() -> am.FinalResult:
        await asyncio.sleep(0)
        return await machine.add("B")

    results = await asyncio.gather(*(add() for _ in range(100)))
    assert all(result.executed for result in results)
    assert calls == ["B"] and machine.tick("B") == 1


async def test_cancelling_the_awaiting_task_leaves_the_queue_running() -> None:
    inside_b, proceed = threading.Event(), threading.Event()

    def b_state(e: am.Event) -> None:
        inside_b.set()
        assert proceed.wait(10)

    machine = am.Machine(ABCD, {"BState": b_state})
    drainer = threading.Thread(target=machine.add, args=("B",))
    drainer.start()
    assert inside_b.wait(10)

    async def add_c() -> am.FinalResult:
        return await machine.add("C")

    waiting = asyncio.create_task(add_c())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    proceed.set()
    drainer.join(10)
    assert machine.is_("B", "C"), "the mutation was made, only the waiting was called off"
    assert machine.add("D").executed


def test_an_outside_mutation_never_overtakes_one_that_a_handler_queued_before_it() -> None:
    recorder = Recorder()

    def a_state(e: am.Event) -> None:
        e.add("B")
        other = threading.Thread(target=e.machine.add, args=("C",))
        other.start()
        other.join(10)
        e.add("D")

    machine = am.Machine(ABCD, {"AState": a_state}, tracers=[recorder])
    machine.add("A")
    assert ran(recorder) == ["add B", "add C", "add D"]


def test_eight_threads_lose_nothing() -> None:
    """Every mutation is executed once and in its thread's order, every waiter wakes, transitions never overlap."""
    threads, each = 8, 250
    seen: list[tuple[int, int]] = []
    running = [0]
    overlaps: list[int] = []
    late: list[object] = []

    def hit_state(e: am.Event) -> None:
        running[0] += 1
        if running[0] != 1:
            overlaps.append(running[0])
        seen.append((e.raw_args["thread"], e.raw_args["n"]))
        running[0] -= 1

    machine = am.Machine({"Hit": {"multi": True}, "Flag": {}}, {"HitState": hit_state})

    def work(thread: int) -> None:
        try:
            for n in range(each):
                result = machine.add("Hit", thread=thread, n=n).wait(30)
                assert result.executed
                machine.when_ticks("Hit", 0).wait(30)
                if n % 25 == 0:
                    machine.toggle("Flag")
        except Exception as error:  # noqa: BLE001 (reported by the main thread)
            late.append(error)

    workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not late and not overlaps
    assert Counter(seen) == Counter((thread, n) for thread in range(threads) for n in range(each))
    for thread in range(threads):
        assert [n for who, n in seen if who == thread] == list(range(each))
    assert machine.tick("Hit") == 2 * threads * each - 1
    assert machine.queue_len == 0 and machine.transition is None


def test_a_thread_wakes_for_each_of_the_others_activations() -> None:
    """Two threads pass a ball: a lost wake-up would end this in the time-out."""
    machine = am.Machine({"Ping": {"remove": ["Pong"]}, "Pong": {"remove": ["Ping"]}})
    rounds = 500

    def pong() -> None:
        for n in range(rounds):
            machine.when_time(["Ping"], [2 * n + 1]).wait(30)
            machine.add("Pong")

    other = threading.Thread(target=pong)
    other.start()
    for n in range(rounds):
        machine.add("Ping")
        machine.when_time(["Pong"], [2 * n + 1]).wait(30)
    other.join(30)
    assert machine.time(["Ping", "Pong"]) == (2 * rounds, 2 * rounds - 1)
