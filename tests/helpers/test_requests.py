"""Requests that are tried again: how often, how long apart, and how they end."""

import asyncio
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.helpers.errors import MutationCanceled
from asyncmachine.helpers.requests import MutRequest, Policy, retry
from tests.virtual_time import in_virtual_time


class Guard:
    """Lets `A` in at the given try, and notes when it was asked."""

    def __init__(self, succeeds_at: int = 1_000) -> None:
        self.succeeds_at = succeeds_at
        self.asked: list[float] = []

    def AEnter(self, e: am.Event) -> bool:
        self.asked.append(round(asyncio.get_running_loop().time(), 6))
        return len(self.asked) >= self.succeeds_at

    AExit = AEnter


def guarded(succeeds_at: int = 1_000) -> tuple[am.Machine[str], Guard]:
    guard = Guard(succeeds_at)
    return am.Machine({"A": {}, "B": {}, "Go": {}}, guard, id="m"), guard


@in_virtual_time
async def test_pauses_double() -> None:
    machine, guard = guarded(5)
    result = await MutRequest(machine, "add", "A").run()
    assert result.executed
    assert guard.asked == [0, 0.1, 0.3, 0.7, 1.5]


@in_virtual_time
async def test_by_default_it_gives_up_after_five_seconds() -> None:
    machine, guard = guarded()
    with pytest.raises(MutationCanceled, match=r"\[add\] A on 'm' was canceled 6 times"):
        await MutRequest(machine, "add", ["A"]).run()
    assert guard.asked == [0, 0.1, 0.3, 0.7, 1.5, 3.1]


@in_virtual_time
async def test_retries_are_counted_without_the_first_try() -> None:
    machine, guard = guarded()
    with pytest.raises(MutationCanceled):
        await MutRequest(machine, "add", "A").clone(retries=2).run()
    assert len(guard.asked) == 3


@in_virtual_time
async def test_pauses_stop_growing_or_never_grow() -> None:
    machine, guard = guarded(5)
    await MutRequest(machine, "add", "A").clone(delay=1, backoff=2, max_duration=60).run()
    assert guard.asked == [0, 1, 3, 5, 7]
    machine, guard = guarded(4)
    start = asyncio.get_running_loop().time()
    await MutRequest(machine, "add", "A").clone(delay=1, backoff=0, max_duration=60).run()
    assert [at - start for at in guard.asked] == [0, 1, 2, 3]


@in_virtual_time
async def test_all_kinds() -> None:
    machine, guard = guarded(2)
    assert (await MutRequest(machine, "add", "A", {"n": 1}).run()).executed
    guard.asked.clear()
    assert (await MutRequest(machine, "remove", "A").run()).executed
    guard.asked.clear()
    assert (await MutRequest(machine, "set", ["A", "B"]).run()).executed
    assert len(guard.asked) == 2


async def test_a_request_is_made_with_its_arguments_and_origin() -> None:
    machine, seen = am.Machine({"A": {}}), list[Any]()
    machine.bind({"AState": lambda e: seen.append((e.raw_args, e.tx.source))})
    source = am.MutationSource("other", "tx1")
    await MutRequest(machine, "add", "A", {"n": 1}, source).run()
    assert seen == [({"n": 1}, source)]


async def test_a_queued_request_is_waited_for() -> None:
    machine = am.Machine({"A": {}, "Go": {}})
    tasks = []

    @machine.on.state("Go")
    def go(e: am.Event) -> None:
        tasks.append(asyncio.ensure_future(MutRequest(machine, "add", "A").run()))

    machine.add("Go")
    assert (await tasks[0]).executed


@in_virtual_time
async def test_it_ends_with_its_scope_and_with_the_machine() -> None:
    machine, _ = guarded()
    loop = asyncio.get_running_loop()
    loop.call_later(0.5, machine.add, "Go")
    with pytest.raises(am.ScopeEnded, match="3 tries"):
        await MutRequest(machine, "add", "A").run(machine.scope("Go"))
    assert loop.time() == 0.5
    loop.call_later(0.25, machine.dispose)
    with pytest.raises(am.Disposed):
        await MutRequest(machine, "add", "A").run()
    assert loop.time() < 1


def test_a_clone_changes_what_it_is_told() -> None:
    machine = am.Machine({"A": {}, "B": {}})
    request = MutRequest(machine, "add", "A")
    other = request.clone(states="B", retries=1, delay=2)
    assert (other.states, other.policy) == ("B", Policy(retries=1, delay=2))
    assert request.policy == Policy() and request.clone() == request
    with pytest.raises(TypeError):
        request.clone(tries=3)


@in_virtual_time
async def test_any_call_can_be_tried_again() -> None:
    machine, guard = guarded(3)
    assert (await retry(machine.add, "A")).executed
    assert guard.asked == [0, 0.1, 0.3]
    guard.succeeds_at = 1_000
    with pytest.raises(MutationCanceled, match="remove A was canceled 2 times"):
        await retry(machine.remove, "A", policy=Policy(retries=1))
    asyncio.get_running_loop().call_later(0.25, machine.dispose)
    with pytest.raises(am.Disposed):
        await retry(machine.remove, "A")
