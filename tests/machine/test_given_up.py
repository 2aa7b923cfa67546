"""Waits whose awaiters gave up: who holds one may await it again and has missed nothing; nobody else keeps it."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Sized
from contextlib import nullcontext
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.machine.view import View
from asyncmachine.machine.wait import Once, held
from tests.machine.recording import RawSchema
from tests.machine.test_waits import ABC, ENDLESS, SCOPED, Make

KINDS: dict[str, Make] = {**ENDLESS, "when_disposed": lambda m: m.when_disposed()}


async def give_up(wait: am.Wait) -> None:
    """In a task of its own: one that was cancelled and lives on keeps the error, which keeps what it awaited."""
    awaiter = asyncio.ensure_future(_awaited(wait))
    await asyncio.sleep(0)
    awaiter.cancel()
    await asyncio.wait([awaiter])


async def _awaited(wait: am.Wait) -> None:
    await wait


def filed(machine: View[Any]) -> int:
    """How many waits the machine looks at, once what errors and tasks still hold is gone."""
    gc.collect()
    subs, root = machine._subscriptions(), machine._root_scope()
    shelves: list[Sized] = [subs.queries, subs.args, subs.queue, subs.ends, *subs.states.values(), root._waits or {}]
    return sum(map(len, shelves))


@pytest.mark.parametrize("log", [am.LogLevel.NOTHING, am.LogLevel.EVERYTHING], ids=lambda level: level.name)
@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
async def test_a_wait_that_is_nobodys_any_more_is_withdrawn(make: Make, log: am.LogLevel) -> None:
    machine = am.Machine(ABC)
    machine.log.level = log
    machine.add("B")
    for _ in range(3):
        await give_up(make(machine))
        assert filed(machine) == 0


@pytest.mark.parametrize("make", [make for name, make in SCOPED.items() if name != "when_queue result"])
async def test_nor_does_its_scope_keep_it(make: Callable[[am.Machine[str], am.Scope], am.Wait]) -> None:
    machine = am.Machine(ABC)
    machine.add("B")
    scope = machine.scope("C")
    for _ in range(3):
        await give_up(make(machine, scope))
        assert filed(machine) == 0 and not scope._waits


async def test_the_losers_of_wait_any_are_withdrawn() -> None:
    machine = am.Machine({"A": {"multi": True}, "Stop": {}})
    for _ in range(3):
        first = asyncio.ensure_future(am.wait_any(machine.when_next_active("A"), machine.when("Stop")))
        await asyncio.sleep(0)
        machine.add("A")
        await first
        del first
        assert filed(machine) == 0


def test_a_thread_that_gave_up_leaves_nothing_behind() -> None:
    machine = am.Machine(ABC)
    with pytest.raises(am.WaitTimeout):
        machine.when("A").wait(0)
    assert filed(machine) == 0


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
async def test_whoever_holds_it_is_told_of_what_came_after_the_awaiter_gave_up(make: Make) -> None:
    machine = am.Machine(ABC)
    machine.add("B")
    wait = make(machine)
    await give_up(wait)
    machine.dispose()
    assert wait.done()
    with nullcontext() if make is KINDS["when_disposed"] else pytest.raises(am.Disposed):
        await wait


async def test_a_moment_that_nobody_awaited_is_not_missed() -> None:
    machine = am.Machine(ABC)
    waits = [machine.when("A"), machine.when_query(lambda clock: clock["A"] == 1), machine.when_args("A", n=1)]
    for wait in waits:
        await give_up(wait)
    machine.add("A", n=1)
    machine.remove("A")
    assert all(wait.done() for wait in waits)
    for wait in waits:
        await wait
    assert filed(machine) == 0


async def test_it_moves_along_when_the_schema_grows() -> None:
    machine = am.Machine(ABC)
    kept, strict = machine.when("C"), machine.when("B")
    scope = machine.scope("A")
    bound = machine.when("C", scope=scope)
    dropped = machine.when("C")
    for wait in (kept, bound, dropped):
        await give_up(wait)
    del wait
    grown: RawSchema = {"New": {}, **ABC}
    machine.set_schema(grown, ["New", "C", "A", "B", "Exception"])
    machine.add("A")
    with pytest.raises(am.ScopeEnded):
        await asyncio.create_task(_awaited(bound))
    assert filed(machine) == 3
    del dropped
    assert filed(machine) == 2
    machine.add("C")
    assert kept.done() and not strict.done()
    gone = weakref.ref(strict)
    await give_up(strict)
    del strict
    assert gone() is None and filed(machine) == 0


async def test_it_is_met_though_given_up_and_awaited_again_by_several() -> None:
    machine = am.Machine(ABC)
    wait = machine.when("A")
    for _ in range(3):
        await give_up(wait)
        assert [*held(machine._subscriptions().states[0])] == [wait]
    both = asyncio.gather(_awaited(wait), _awaited(wait))
    await asyncio.sleep(0)
    machine.add("A")
    await both


async def test_the_log_tells_of_the_match_only_when_there_is_one() -> None:
    machine = am.Machine(ABC)
    lines: list[str] = []
    machine.log.level = am.LogLevel.OPS
    machine.log.output = lambda level, line: lines.append(line)
    await give_up(machine.when("A"))
    kept = machine.when("A")
    await give_up(kept)
    machine.add("A")
    assert sum("[when:match]" in line for line in lines) == 1


def test_giving_up_and_coming_back_misses_nothing_while_another_thread_drains() -> None:
    machine = am.Machine(ABC)
    rounds = 400
    begun, ended = threading.Barrier(2), threading.Barrier(2)

    def drain() -> None:
        for _ in range(rounds):
            begun.wait(10)
            machine.add("A")
            machine.remove("A")
            ended.wait(10)

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        for _ in range(rounds):
            wait = machine.when("A")
            begun.wait(10)
            while not wait.done():
                callback = Once.done.__get__(wait)
                wait.then(callback)
                wait.forget(callback)
                if not ended.n_waiting:
                    continue
                break
            ended.wait(10)
            assert wait.done()
    finally:
        thread.join()
    gc.collect()
    assert filed(machine) == 0
