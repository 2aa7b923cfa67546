"""Waiting for several things, for a time, and unless the machine errs."""

import asyncio

import pytest

import asyncmachine as am
from asyncmachine.helpers.errors import MachineErred
from asyncmachine.helpers.groups import MachGroup
from asyncmachine.helpers.waiting import all_or_err, any_or_err, deadline, group_when, interval, sleep
from tests.virtual_time import in_virtual_time


def machine(id: str = "m") -> am.Machine[str]:
    return am.Machine({"A": {}, "B": {}, "C": {}}, id=id)


def now() -> float:
    return asyncio.get_running_loop().time()


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@in_virtual_time
async def test_sleeping_without_a_scope() -> None:
    assert await sleep(5)
    assert now() == 5


@in_virtual_time
async def test_sleeping_ends_with_the_scope() -> None:
    mach = machine()
    mach.add("A")
    scope = mach.scope("A")
    asyncio.get_running_loop().call_later(2, mach.remove, "A")
    assert not await sleep(5, scope)
    assert now() == 2
    assert not await sleep(5, scope), "the scope is over"
    assert now() == 2
    assert await sleep(5, mach.scope("A"))


async def test_an_outside_cancel_is_not_taken_for_the_end_of_the_scope() -> None:
    mach = machine()
    task = asyncio.create_task(sleep(60, mach.scope("A")))
    await turns(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@in_virtual_time
async def test_an_interval_calls_until_its_time_is_over() -> None:
    calls: list[float] = []
    assert await interval(lambda: calls.append(now()), every=2, length=7)
    assert calls == [2, 4, 6]
    assert now() == 7


@in_virtual_time
async def test_an_interval_is_stopped_by_its_function() -> None:
    calls: list[float] = []

    def twice() -> bool:
        calls.append(now())
        return len(calls) < 2

    assert not await interval(twice, every=2, length=20)
    assert calls == [2, 4] and now() == 4


@in_virtual_time
async def test_an_interval_awaits_its_function_and_does_not_catch_up() -> None:
    calls: list[float] = []

    async def slow() -> None:
        calls.append(now())
        await asyncio.sleep(5)

    assert await interval(slow, every=2, length=13)
    assert calls == [2, 8]


@in_virtual_time
async def test_an_interval_ends_with_its_scope_and_so_does_its_coroutine() -> None:
    mach, calls = machine(), list[str]()

    async def slow() -> None:
        calls.append("begun")
        await asyncio.sleep(10)
        calls.append("ended")

    asyncio.get_running_loop().call_later(3, mach.add, "A")
    assert not await interval(slow, every=1, scope=mach.scope("A"))
    assert calls == ["begun"] and now() == 3


async def test_all_are_met() -> None:
    mach = machine()
    task = asyncio.create_task(all_or_err(mach, mach.when("A"), mach.when("B")))
    await turns()
    mach.add("B")
    await turns()
    assert not task.done()
    mach.add("A")
    await task


@pytest.mark.parametrize("wait", [all_or_err, any_or_err])
async def test_an_error_ends_the_waiting(wait: type) -> None:
    mach, error = machine(), OSError("no route")
    waits = [mach.when("A"), mach.when("B")]
    task = asyncio.create_task(wait(mach, *waits))
    await turns()
    mach.add_err(error)
    with pytest.raises(MachineErred, match="'m' is in Exception") as told:
        await task
    assert told.value.__cause__ is error
    assert not any(each.done() for each in waits)


@pytest.mark.parametrize("wait", [all_or_err, any_or_err])
async def test_an_error_that_was_there_before_counts_even_if_all_are_met(wait: type) -> None:
    mach = machine()
    mach.add("A")
    mach.add_err(OSError("no route"))
    with pytest.raises(MachineErred):
        await wait(mach, mach.when("A"))
    with pytest.raises(MachineErred):
        await wait(mach)


async def test_the_first_one_is_returned() -> None:
    mach = machine()
    first, second = mach.when("A"), mach.when("B")
    task = asyncio.create_task(any_or_err(mach, first, second))
    await turns()
    mach.add("B")
    assert await task is second


@in_virtual_time
async def test_time_outs_are_told_and_forgotten() -> None:
    mach = machine()
    first, second, third = mach.when("A"), mach.when("B"), mach.when("A")
    with pytest.raises(am.WaitTimeout, match="2 waits were not all met within 3 s"):
        await all_or_err(mach, first, second, timeout=3)
    assert now() == 3
    with pytest.raises(am.WaitTimeout, match="none of 1 waits"):
        await any_or_err(mach, third, timeout=3)
    assert now() == 6
    assert mach._subs is not None
    assert sum(map(len, mach._subs.states.values())) == 3, "the waits for an error are withdrawn, the given ones stay"


@in_virtual_time
async def test_whoever_debugs_gets_a_hundred_times_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AM_TEST_RUNNER", raising=False)
    monkeypatch.setenv("AM_DEBUG", "1")
    mach = machine()
    for at, wait in enumerate((all_or_err(mach, mach.when("A"), timeout=1), am.wait_any(mach.when("A"), timeout=1)), 1):
        with pytest.raises(am.WaitTimeout):
            await wait
        assert now() == at * 100
    with pytest.raises(am.WaitTimeout):
        await am.wait_all(mach.when("A"), timeout=1)
    assert now() == 300


async def test_a_time_out_of_somebody_else_passes_through() -> None:
    with pytest.raises(TimeoutError) as told:
        async with deadline(60, "not this one"):
            raise TimeoutError("another one")
    assert str(told.value) == "another one"


async def test_disposal_is_told() -> None:
    mach = machine()
    task = asyncio.create_task(all_or_err(mach, mach.when("A")))
    await turns()
    mach.dispose()
    with pytest.raises(am.Disposed):
        await task


async def test_several_machines() -> None:
    group = MachGroup([machine("a"), machine("b")])
    task = asyncio.create_task(am.wait_all(*group.when("A", "B")))
    group[0].add(["A", "B"])
    group[1].add("A")
    await turns()
    assert not task.done()
    assert group.is_("A") and not group.is_("B") and not group.not_("B") and group.count("B") == 1
    group[1].add("B")
    await task
    assert group.is_("A", "B") and group.not_("C")


def test_a_state_that_one_machine_lacks() -> None:
    first, second = machine("a"), am.Machine({"A": {}}, id="b")
    with pytest.raises(am.StateMissing, match="'b'"):
        group_when([first, second], "B")
    assert first._subs is None


async def test_waits_of_a_group_keep_to_a_scope() -> None:
    mach = machine()
    (wait,) = group_when([mach], "A", scope=mach.scope("B"))
    mach.add("B")
    with pytest.raises(am.ScopeEnded):
        await wait


async def test_an_interval_takes_time() -> None:
    with pytest.raises(ValueError, match="every=0"):
        await interval(list, every=0)
