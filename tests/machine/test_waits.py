"""Waits: when each kind is met, how it ends otherwise, and that awaiters, loops and threads do not hurt each other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import asyncmachine as am
from tests.machine.recording import RawSchema

ABC: RawSchema = {"A": {}, "B": {}, "C": {}}
Make = Callable[[am.Machine[str]], am.Wait]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# States


def test_when_is_met_while_all_its_states_are_active_at_once() -> None:
    machine = am.Machine(ABC)
    both = machine.when("A", "B")
    machine.add("A")
    machine.set("B")
    assert not both.done(), "they were never active together"
    machine.add("A")
    assert both.done()


def test_when_not_is_met_while_all_its_states_are_inactive_at_once() -> None:
    machine = am.Machine(ABC)
    machine.add(["A", "B"])
    neither = machine.when_not("A", "B")
    machine.remove("A")
    assert not neither.done()
    machine.remove("B")
    assert neither.done()


def test_a_wait_that_is_met_already_is_done_at_once() -> None:
    machine = am.Machine(ABC)
    machine.add("A")
    done = [
        machine.when("A"),
        machine.when(),
        machine.when_not("B", "C"),
        machine.when_time(["A"], [1]),
        machine.when_ticks("B", 0),
        machine.when_query(lambda clock: clock["A"] == 1),
        machine.when_queue(2),
        machine.when_queue(am.EXECUTED),
        machine.when_queue_ends(),
    ]
    assert all(wait.done() for wait in done)


def test_a_state_that_only_passes_by_within_a_transition_meets_nothing() -> None:
    machine = am.Machine({"A": {"remove": "B"}, "B": {"auto": True}})
    machine.add("A")
    wait = machine.when("A", "B")
    machine.remove("A")
    assert machine.is_("B") and not wait.done()


def test_unknown_states_are_named() -> None:
    machine = am.Machine(ABC, id="m")
    makes: list[Make] = [
        lambda m: m.when("Zed"),
        lambda m: m.when_not("A", "Zed"),
        lambda m: m.when_time(["Zed"], [1]),
        lambda m: m.when_next_active("Zed"),
        lambda m: m.when_args("Zed"),
    ]
    for make in makes:
        with pytest.raises(am.StateMissing, match="'Zed' is not defined in the schema of 'm'"):
            make(machine)


# Ticks


def test_when_time_is_met_when_each_state_has_reached_its_tick_once() -> None:
    machine = am.Machine(ABC)
    machine.add(["A", "B"])
    wait = machine.when_time(["A", "B"], [5, 2])
    machine.remove(["A", "B"])
    machine.add(["A", "B"])
    assert not wait.done()
    machine.remove("A")
    machine.add("A")
    assert machine.time(["A", "B"]) == (5, 3)
    assert wait.done()


@pytest.mark.parametrize(("names", "ticks"), [([], []), (["A"], [1, 2]), (["A", "B"], [1]), ("A", [1]), ("AB", [1, 2])])
def test_when_time_needs_a_tick_for_each_state(names: Any, ticks: list[int]) -> None:
    with pytest.raises(am.InvalidArgs, match="as many ticks as states"):
        am.Machine(ABC).when_time(names, ticks)


def test_when_ticks_counts_from_now() -> None:
    machine = am.Machine(ABC)
    machine.add("A")
    wait = machine.when_ticks("A", 2)
    machine.remove("A")
    assert not wait.done()
    machine.add("A")
    assert wait.done()


def test_when_next_active_does_not_count_the_present_activation() -> None:
    machine = am.Machine({"A": {}, "M": {"multi": True}})
    for name in ("A", "M"):
        first = machine.when_next_active(name)
        machine.add(name)
        assert first.done()
    again, called_again = machine.when_next_active("A"), machine.when_next_active("M")
    machine.add("A")
    assert not again.done()
    machine.remove("A")
    assert not again.done()
    machine.add("A")
    assert again.done()
    machine.add("M")
    assert called_again.done(), "a Multi state that is called again counts"


# Queries


def test_when_query_is_asked_after_each_change() -> None:
    machine = am.Machine(ABC)
    asked: list[int] = []

    def query(clock: Any) -> bool:
        asked.append(clock["A"])
        return bool(clock["A"] > clock["B"] + 1)

    wait = machine.when_query(query)
    machine.add("B")
    machine.add("B")
    machine.add("A")
    machine.remove("A")
    assert not wait.done()
    machine.add("A")
    assert wait.done()
    machine.remove("A")
    assert asked == [0, 0, 1, 2, 3], "once when it is made and once for each change, until it is met"


async def test_a_query_that_raises_fails_its_wait_and_nothing_else() -> None:
    machine = am.Machine(ABC)
    wait = machine.when_query(lambda clock: clock["A"] > 0 and 1 / 0 > 0)
    other = machine.when_query(lambda clock: clock["A"] > 0)
    assert machine.add("A").executed
    with pytest.raises(am.QueryFailed, match="division by zero") as caught:
        await wait
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert other.done() and machine.err is None
    with pytest.raises(am.QueryFailed):
        await machine.when_query(lambda clock: clock["Zed"] > 0)


# Arguments


def test_when_args_is_met_by_an_activation_with_these_arguments() -> None:
    machine = am.Machine({"A": {"multi": True}, "B": {}})
    wait = machine.when_args("A", id=1)
    anyhow = machine.when_args("A")
    machine.add("B", id=1)
    machine.add("A", id=2)
    assert anyhow.done() and not wait.done()
    machine.add("A", {"id": 1}, more="x")
    assert wait.done()


def test_when_args_is_not_met_by_a_state_that_stays_active() -> None:
    machine = am.Machine(ABC)
    machine.add("A")
    wait = machine.when_args("A", id=1)
    machine.add("A", id=1)
    machine.remove("A", id=1)
    assert not wait.done()


def test_each_wait_for_arguments_has_its_own() -> None:
    machine = am.Machine({"A": {"multi": True}})
    first, second = machine.when_args("A", x=1, y=2), machine.when_args("A", x=1)
    machine.add("A", x=1)
    assert second.done() and not first.done()


def test_arguments_are_matched_after_the_states_own_handlers_and_before_the_next_ones() -> None:
    seen: list[tuple[str, bool]] = []
    machine = am.Machine(ABC)
    wait = machine.when_args("B", id=1)

    def look(e: am.Event) -> None:
        seen.append((e.name, wait.done()))

    machine.bind(dict.fromkeys(("AState", "BState", "CState", "AnyState"), look))
    machine.add(["A", "B", "C"], id=1)
    assert seen == [("AState", False), ("BState", False), ("CState", True), ("AnyState", True)]


def test_arguments_of_a_state_without_handlers_match_too() -> None:
    for handlers in (None, {"AState": lambda e: None, "CEnd": lambda e: None}):
        machine = am.Machine(ABC, handlers)
        machine.add("C")
        wait = machine.when_args("B", id=1)
        machine.set(["A", "B"], id=1)
        assert wait.done()


def test_arguments_of_a_handler_that_raised_do_not_match() -> None:
    def boom(e: am.Event) -> None:
        raise RuntimeError

    machine = am.Machine(ABC, {"AState": boom})
    wait = machine.when_args("A", id=1)
    machine.add("A", id=1)
    assert not wait.done()


def test_typed_arguments_match_as_records() -> None:
    machine = am.Machine(ABC)
    record = am.ErrorArgs(err=OSError())
    wait = machine.when_args("A", record)
    machine.add("A", am.ErrorArgs(err=OSError()))
    assert not wait.done()
    machine.remove("A")
    machine.add("A", record)
    assert wait.done()


@dataclass(frozen=True)
class Order(am.Args, state="Ordered", prefix="waits"):
    item: str
    count: int = 1


@dataclass(frozen=True)
class Elsewhere(am.Args, state="Sent", prefix="waits"):
    item: str


def test_keywords_match_the_fields_of_the_states_record() -> None:
    machine = am.Machine({"Ordered": {"multi": True}, "Sent": {}})
    wait, both = machine.when_args("Ordered", item="tea"), machine.when_args("Ordered", item="tea", count=2)
    for args in (Order("milk"), Elsewhere("tea"), {"item": "milk", Order.key: Order("tea")}):
        machine.add("Ordered", args)
        assert not wait.done()
    machine.add("Ordered", Order("tea"))
    assert wait.done() and not both.done()
    machine.add("Ordered", Order("tea", 2))
    assert both.done()


# The queue


def test_when_queue_is_met_when_that_mutation_has_finished() -> None:
    seen: list[bool] = []
    waits: list[am.Wait] = []

    def a_state(e: am.Event) -> None:
        waits.extend(e.machine.when_queue(tick) for tick in (2, 3, 4))
        waits.append(e.machine.when_queue(e.machine.add("B")))
        e.machine.add("C")
        assert not any(wait.done() for wait in waits), "the mutation with tick 2 is this one"

    def look(e: am.Event) -> None:
        seen.extend(wait.done() for wait in waits)

    machine = am.Machine({**ABC, "B": {"require": "Never"}, "Never": {}}, {"AState": a_state, "CEnter": look})
    machine.add("A")
    assert seen == [True, True, False, True], "a canceled one has finished as well"
    assert all(wait.done() for wait in waits)


def test_when_queue_ends_is_met_when_nothing_is_left_to_run() -> None:
    waits: list[am.Wait] = []
    seen: list[bool] = []

    def a_state(e: am.Event) -> None:
        e.machine.add("B")
        waits.append(e.machine.when_queue_ends())

    machine = am.Machine(ABC, {"AState": a_state, "BState": lambda e: seen.append(waits[0].done())})
    machine.add("A")
    assert seen == [False]
    assert waits[0].done()


def test_when_err_waits_for_exception() -> None:
    machine = am.Machine(ABC)
    wait = machine.when_err()
    assert not wait.done()
    machine.add_err(OSError())
    assert wait.done()


# Other ends

ENDLESS: dict[str, Make] = {
    "when": lambda m: m.when("A"),
    "when_not": lambda m: m.when_not("B"),
    "when_time": lambda m: m.when_time(["A"], [9]),
    "when_query": lambda m: m.when_query(lambda clock: False),
    "when_args": lambda m: m.when_args("A"),
    "when_queue": lambda m: m.when_queue(99),
    "when_err": lambda m: m.when_err(),
}
SCOPED: dict[str, Callable[[am.Machine[str], am.Scope], am.Wait]] = {
    "when": lambda m, s: m.when("A", scope=s),
    "when_not": lambda m, s: m.when_not("B", scope=s),
    "when_time": lambda m, s: m.when_time(["A"], [9], scope=s),
    "when_ticks": lambda m, s: m.when_ticks("A", 9, scope=s),
    "when_next_active": lambda m, s: m.when_next_active("A", scope=s),
    "when_query": lambda m, s: m.when_query(lambda clock: False, scope=s),
    "when_args": lambda m, s: m.when_args("A", scope=s),
    "when_queue": lambda m, s: m.when_queue(99, scope=s),
    "when_queue result": lambda m, s: m.when_queue(am.Result.make_pending(), scope=s),
    "when_err": lambda m, s: m.when_err(scope=s),
}


@pytest.mark.parametrize("make", ENDLESS.values(), ids=ENDLESS)
async def test_disposal_ends_a_wait_with_disposed(make: Make) -> None:
    machine = am.Machine(ABC, id="m")
    machine.add("B")
    wait = make(machine)
    assert not wait.done()
    machine.dispose()
    with pytest.raises(am.Disposed, match="machine 'm' has been disposed"):
        await wait


@pytest.mark.parametrize("make", ENDLESS.values(), ids=ENDLESS)
async def test_a_wait_made_after_disposal_has_ended(make: Make) -> None:
    machine = am.Machine(ABC)
    machine.dispose()
    with pytest.raises(am.Disposed):
        await make(machine)


async def test_when_disposed_is_met_by_disposal() -> None:
    machine = am.Machine(ABC)
    wait, withdrawn = machine.when_disposed(), machine.when_disposed()
    withdrawn.cancel()
    assert not wait.done()
    machine.dispose()
    await wait
    await machine.when_disposed()


@pytest.mark.parametrize("make", SCOPED.values(), ids=SCOPED)
async def test_the_end_of_a_scope_ends_its_waits_at_once(make: Callable[[am.Machine[str], am.Scope], am.Wait]) -> None:
    machine, other = am.Machine(ABC), am.Machine(ABC)
    machine.add("B")
    wait = make(machine, other.scope("C"))
    assert not wait.done()
    other.add("C")
    with pytest.raises(am.ScopeEnded, match="the scope of C ended"):
        await wait


async def test_a_wait_that_is_met_in_the_transition_that_ends_its_scope_is_canceled_by_it() -> None:
    machine = am.Machine(ABC)
    machine.add("A")
    wait = machine.when("B", scope=machine.scope("A"))
    machine.set("B")
    with pytest.raises(am.ScopeEnded):
        await wait


async def test_a_wait_of_an_ended_scope_has_ended() -> None:
    machine = am.Machine(ABC)
    scope = machine.scope("A")
    machine.add("A")
    with pytest.raises(am.ScopeEnded):
        await machine.when("B", scope=scope)
    await machine.when("A", scope=scope)


async def test_a_canceled_wait_tells_its_awaiters() -> None:
    machine = am.Machine(ABC)
    wait = machine.when("A")
    waiting = asyncio.ensure_future(_awaited(wait))
    await turns()
    wait.cancel()
    with pytest.raises(am.WaitCanceled):
        await waiting
    machine.add("A")
    with pytest.raises(am.WaitCanceled):
        await wait


def test_only_the_first_end_counts() -> None:
    machine = am.Machine(ABC)
    wait = machine.when("A")
    machine.add("A")
    wait.cancel()
    wait.wait(1)


async def _awaited(wait: am.Wait) -> None:
    await wait


# Many awaiters


async def test_cancelling_one_awaiter_leaves_the_others() -> None:
    machine = am.Machine(ABC)
    wait = machine.when("A")
    first, second = asyncio.create_task(_awaited(wait)), asyncio.create_task(_awaited(wait))
    await turns()
    first.cancel()
    await turns()
    assert first.cancelled() and not second.done() and not wait.done()
    machine.add("A")
    await second
    await wait


async def test_a_timeout_of_the_caller_only_ends_the_callers_waiting() -> None:
    machine = am.Machine(ABC)
    wait = machine.when("A")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await wait
    machine.add("A")
    await wait


def test_a_wait_can_be_awaited_in_another_loop_and_met_by_another_thread() -> None:
    machine = am.Machine(ABC)
    wait = machine.when("A")
    woke: list[str] = []
    ready = threading.Barrier(4)

    def in_a_loop() -> None:
        async def body() -> None:
            waiting = asyncio.ensure_future(_awaited(wait))
            await turns()
            await asyncio.to_thread(ready.wait, 10)
            await waiting
            woke.append("loop")

        asyncio.run(body())

    def in_a_thread() -> None:
        ready.wait(10)
        wait.wait(10)
        woke.append("thread")

    threads = [threading.Thread(target=target) for target in (in_a_loop, in_a_loop, in_a_thread)]
    for thread in threads:
        thread.start()
    ready.wait(10)
    machine.add("A")
    for thread in threads:
        thread.join(10)
    assert sorted(woke) == ["loop", "loop", "thread"]


def test_an_awaiter_whose_loop_is_gone_is_left_alone() -> None:
    machine = am.Machine(ABC)
    wait = machine.when("A")
    loop = asyncio.new_event_loop()
    task = loop.create_task(_awaited(wait))
    loop.run_until_complete(turns())
    loop.close()
    machine.add("A")
    assert wait.done()
    task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_a_thread_waits_for_so_long_and_no_longer() -> None:
    wait = am.Machine(ABC).when("A")
    with pytest.raises(am.WaitTimeout, match=r"^not met within 0\.01 s: A active$"):
        wait.wait(0.01)
    with pytest.raises(TimeoutError):
        wait.wait(0)


@pytest.mark.parametrize(
    ("wait", "told"),
    [
        (lambda m: m.when("A", "B"), "A and B active"),
        (lambda m: m.when_not("D"), "D inactive"),
        (lambda m: m.when_time(["A", "B"], [1, 3]), "A at tick 1 and B at tick 3"),
        (lambda m: m.when_args("A", x=1, y=2), "A called with these values of x, y"),
        (lambda m: m.when_args("A"), "A called with these values of nothing"),
        (lambda m: m.when_query(never), "the query never"),
        (lambda m: m.when_queue(7), "queue tick 7"),
        (lambda m: m.when_disposed(), "this wait"),
    ],
)
def test_a_wait_that_is_not_met_in_time_says_what_it_waits_for(wait: Make, told: str) -> None:
    machine = am.Machine({**ABC, "D": {}})
    machine.add("D")
    with pytest.raises(am.WaitTimeout) as raised:
        wait(machine).wait(0)
    assert str(raised.value) == f"not met within 0 s: {told}"


def never(_: object) -> bool:
    return False


async def test_blocking_the_thread_of_a_loop_is_refused() -> None:
    machine = am.Machine(ABC)
    with pytest.raises(am.AmError, match="use `await` instead"):
        machine.when("A").wait(1)
    machine.add("A")
    machine.when("A").wait(1)


def test_callbacks_run_once_on_the_thread_that_meets_the_wait() -> None:
    machine = am.Machine(ABC)
    wait = machine.when("A")
    calls: list[str] = []

    def first() -> None:
        calls.append("first")

    def forgotten() -> None:
        calls.append("forgotten")

    wait.then(first)
    wait.then(forgotten)
    wait.forget(forgotten)
    wait.forget(forgotten)
    machine.add("A")
    wait.then(lambda: calls.append("late"))
    assert calls == ["first", "late"]


def test_a_callback_that_raises_is_logged_and_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    machine = am.Machine(ABC)
    wait = machine.when("A")
    calls: list[str] = []
    wait.then(lambda: 1 / 0)
    wait.then(lambda: calls.append("second"))
    assert machine.add("A").executed
    assert calls == ["second"]
    assert "a callback raised" in caplog.text and "ZeroDivisionError" in caplog.text


# Several waits


async def test_wait_all_returns_when_all_are_met() -> None:
    machine = am.Machine(ABC)
    waiting = asyncio.create_task(am.wait_all(machine.when("A"), machine.when("B"), timeout=10))
    await turns()
    machine.add("A")
    await turns()
    assert not waiting.done()
    machine.add("B")
    await waiting
    await am.wait_all()


async def test_wait_all_fails_as_soon_as_one_fails() -> None:
    machine, other = am.Machine(ABC), am.Machine(ABC)
    waiting = asyncio.create_task(am.wait_all(machine.when("A"), other.when("A"), timeout=10))
    await turns()
    other.dispose()
    with pytest.raises(am.Disposed):
        await waiting


async def test_wait_all_tells_how_many_were_not_met_in_time() -> None:
    machine = am.Machine(ABC)
    machine.add("A")
    with pytest.raises(am.WaitTimeout, match=r"2 of 3 waits not met in 0 s: B active; C active$"):
        await am.wait_all(machine.when("A"), machine.when("B"), machine.when("C"), timeout=0)


async def test_wait_any_returns_the_first_that_is_met() -> None:
    machine = am.Machine(ABC)
    a, b = machine.when("A"), machine.when("B")
    waiting = asyncio.create_task(am.wait_any(a, b, timeout=10))
    await turns()
    machine.add("B")
    assert await waiting is b
    machine.add("A")
    assert await am.wait_any(b, a) is b
    assert await am.wait_any(a, b) is a, "of several the first given"


async def test_wait_any_raises_what_the_first_one_failed_with() -> None:
    machine, other = am.Machine(ABC), am.Machine(ABC)
    other.dispose()
    with pytest.raises(am.Disposed):
        await am.wait_any(machine.when("A"), other.when("A"))


async def test_wait_any_has_its_limits() -> None:
    machine = am.Machine(ABC)
    with pytest.raises(am.WaitTimeout, match=r"none of 2 waits met in 0 s: A active; B active$"):
        await am.wait_any(machine.when("A"), machine.when("B"), timeout=0)
    with pytest.raises(am.AmError, match="at least one wait"):
        await am.wait_any()


async def test_cancelling_a_wait_for_several_surfaces_and_leaves_the_waits() -> None:
    machine = am.Machine(ABC)
    a = machine.when("A")
    for wait_for in (am.wait_all(a), am.wait_any(a)):
        waiting = asyncio.ensure_future(wait_for)
        await turns()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert not a.done() and not a._callbacks
    machine.add("A")
    await a


# Memory


def test_ended_waits_are_not_kept() -> None:
    machine = am.Machine(ABC)
    machine.add("B")
    for make in ENDLESS.values():
        make(machine).cancel()
    subs = machine._subscriptions()
    assert not (subs.queries or subs.args or subs.queue or subs.ends or any(subs.states.values()))


def test_a_scope_does_not_keep_waits_that_were_met() -> None:
    machine = am.Machine(ABC)
    scope = machine.scope("C")
    for _ in range(100):
        machine.add("A")
        machine.when("A", scope=scope)
        waiting = machine.when_not("A", scope=scope)
        machine.remove("A")
        assert waiting.done()
    assert not scope._callbacks


async def test_a_cancelled_awaiter_leaves_nothing_behind() -> None:
    wait = am.Machine(ABC).when("A")

    async def awaits() -> None:
        await wait

    for _ in range(100):
        task = asyncio.create_task(awaits())
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not wait._callbacks


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda machine: machine.when(["A", "B"]), r"several one after another: got \['A', 'B'\]"),
        (lambda machine: machine.when_time(["A"], ["1"]), r"ticks are whole numbers, got \['1'\]"),
        (lambda machine: machine.when_queue("1"), "takes a queue tick or a result, got '1'"),
    ],
)
def test_a_wait_for_nothing_that_can_be_is_refused_and_not_filed(
    make: Callable[[am.Machine[Any]], am.Wait], words: str
) -> None:
    machine: am.Machine[Any] = am.Machine(ABC)
    with pytest.raises(am.InvalidArgs, match=words):
        make(machine)
    machine.add(["A", "B"])
    machine.remove("A")
