"""Results: what is known at once, what is awaited, and that a pending one cannot be mistaken for an answer."""

from __future__ import annotations

import asyncio
import threading

import pytest

import asyncmachine as am
from asyncmachine import CANCELED, EXECUTED, Outcome, Result


def test_a_finished_mutation_answers_at_once() -> None:
    machine = am.Machine({"A": {}, "B": {"require": "A"}})
    canceled, executed = machine.add("B"), machine.add("A")
    assert canceled == CANCELED and executed is EXECUTED
    assert not canceled and executed
    assert (canceled.canceled, canceled.executed, canceled.queued, canceled.pending) == (True, False, False, False)
    assert (executed.canceled, executed.executed, executed.queued, executed.pending) == (False, True, False, False)
    assert canceled.done() and executed.done()
    assert executed.outcome == "executed" and executed.tick == 0
    assert executed.wait() == executed


async def test_a_finished_result_can_be_awaited() -> None:
    assert await EXECUTED == EXECUTED
    assert await CANCELED == CANCELED


def test_a_queued_result_is_not_true_and_knows_its_tick() -> None:
    result = Result(Outcome.QUEUED, 7)
    assert not result and result.queued and not result.done()
    assert result.tick == 7
    assert repr(result) == "<Result queued at 7>"
    result._settle(Outcome.EXECUTED)
    assert result and result.executed and result.done()
    assert result.tick == 7, "where it ran stays known"
    assert repr(result) == "<Result executed>"


def test_a_pending_result_refuses_to_be_a_bool() -> None:
    result = Result.make_pending()
    assert result.pending and not result.done()
    with pytest.raises(am.PendingResult, match="use `await result` first"):
        bool(result)
    result._settle(Outcome.CANCELED)
    assert not result


@pytest.mark.parametrize("outcome", [Outcome.EXECUTED, Outcome.CANCELED])
async def test_awaiting_gives_the_final_result(outcome: Outcome) -> None:
    result = Result.make_pending()

    async def await_it() -> am.FinalResult:
        return await result

    first, second = asyncio.create_task(await_it()), asyncio.create_task(await_it())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    assert not result.done(), "who stops waiting does not stop the mutation"
    result._settle(outcome)
    assert (await second).outcome == outcome
    assert (await result) is (await second)


async def test_a_failed_call_raises_where_it_is_awaited() -> None:
    result = Result.make_pending()
    result._fail(am.Disposed("the other side is gone"))
    assert result.canceled and result.done() and not result
    for _ in range(2):
        with pytest.raises(am.Disposed, match="the other side is gone"):
            await result
    with pytest.raises(am.Disposed):
        result.wait()


def test_only_the_first_end_counts() -> None:
    result = Result.make_pending()
    result._settle(Outcome.EXECUTED)
    result._settle(Outcome.CANCELED)
    result._fail(am.Disposed())
    assert result.wait() == EXECUTED
    EXECUTED._settle(Outcome.CANCELED)
    EXECUTED._fail(am.Disposed())
    assert EXECUTED.executed


def test_a_thread_waits_for_a_result() -> None:
    result = Result.make_pending()
    with pytest.raises(am.WaitTimeout):
        result.wait(0)
    seen: list[am.FinalResult] = []
    waiting = threading.Thread(target=lambda: seen.append(result.wait(10)))
    waiting.start()
    result._settle(Outcome.EXECUTED)
    waiting.join(10)
    assert seen == [EXECUTED]


def test_callbacks_are_called_when_it_is_final() -> None:
    calls: list[str] = []
    EXECUTED.then(lambda: calls.append("at once"))
    result = Result.make_pending()
    result.then(lambda: calls.append("later"))
    assert calls == ["at once"]
    result._settle(Outcome.EXECUTED)
    result.then(lambda: calls.append("late"))
    assert calls == ["at once", "later", "late"]


def test_results_are_compared_by_what_is_known_of_them() -> None:
    assert Result(Outcome.QUEUED, 3) == Result(Outcome.QUEUED, 3)
    assert Result(Outcome.QUEUED, 3) != Result(Outcome.QUEUED, 4)
    assert Result(Outcome.EXECUTED) == EXECUTED != CANCELED
    assert EXECUTED != "executed"


async def test_what_an_await_gives_is_not_awaited_again() -> None:
    """JavaScript adopts whatever has an `await` until nothing has: a result that awaits to a result would never end."""
    final = await am.Machine({"A": {}}).add("A")
    assert final.executed and final == am.EXECUTED
    assert not hasattr(final, "__await__")
