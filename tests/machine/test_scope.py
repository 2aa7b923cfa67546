"""Scopes: lifetimes of states, and the tasks, blocks and callbacks that are bound to them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

import asyncmachine as am
from asyncmachine.machine import view
from tests.machine.recording import RawSchema

AB: RawSchema = {"A": {}, "B": {}, "M": {"multi": True}}


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# Lifetimes


def test_a_scope_ends_when_its_state_next_changes() -> None:
    machine = am.Machine(AB)
    machine.add("A")
    scope = machine.scope("A")
    assert (scope.state, scope.tick, scope.expired) == ("A", 1, False)
    machine.add(["A", "B"])
    assert not scope.expired
    machine.remove("A")
    assert scope.expired


def test_a_scope_of_an_inactive_state_lives_until_it_activates() -> None:
    machine = am.Machine(AB)
    scope = machine.scope("A")
    machine.add("B")
    assert not scope.expired
    machine.add("A")
    assert scope.expired


def test_a_multi_state_called_again_begins_a_new_scope() -> None:
    machine = am.Machine(AB)
    machine.add("M")
    first = machine.scope("M")
    machine.add("M")
    assert first.expired
    assert machine.scope("M").tick == 3


def test_all_who_ask_share_the_scope_of_an_activation() -> None:
    machine = am.Machine(AB)
    first = machine.scope("A")
    assert machine.scope("A") is first
    machine.add("A")
    assert machine.scope("A") is not first


def test_a_canceled_mutation_and_a_dry_run_end_no_scope() -> None:
    machine = am.Machine(AB, {"AExit": lambda e: False})
    machine.add("A")
    scope = machine.scope("A")
    machine.remove("A")
    machine.can_add("A")
    assert not scope.expired


def test_scopes_end_before_final_handlers_and_those_made_in_them_last() -> None:
    seen: list[bool] = []
    scopes: list[am.Scope] = []

    def b_enter(e: am.Event) -> None:
        scopes.append(e.machine.scope("B"))

    def b_state(e: am.Event) -> None:
        seen.append(scopes[0].expired)
        scopes.append(e.machine.scope("B"))

    machine = am.Machine(AB, {"BEnter": b_enter, "BState": b_state})
    machine.add("B")
    assert seen == [True]
    assert not scopes[1].expired


def test_a_state_that_is_taken_back_ends_the_scope_of_its_short_life() -> None:
    scopes: list[am.Scope] = []

    def a_state(e: am.Event) -> None:
        scopes.append(e.scope)
        raise RuntimeError

    am.Machine(AB, {"AState": a_state}).add("A")
    assert scopes[0].expired


def test_unknown_states_are_named() -> None:
    with pytest.raises(am.StateMissing, match="'Zed'"):
        am.Machine(AB).scope("Zed")


def test_disposal_ends_all_scopes() -> None:
    machine = am.Machine(AB)
    scope = machine.scope("A")
    machine.dispose()
    assert scope.expired
    assert machine.scope("A").expired and machine.scope("Zed").expired


def test_texts() -> None:
    machine = am.Machine(AB)
    machine.add("A")
    scope = machine.scope("A")
    assert repr(scope) == "<Scope A:1>"
    machine.remove("A")
    assert repr(scope) == "<Scope A:1 ended>"
    assert repr(am.Scope()) == "<Scope free:0>"


def test_a_scope_made_while_another_thread_changes_the_state_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = am.Machine(AB)
    made: list[am.Scope] = []

    def slowly(name: str, tick: int) -> am.Scope:
        scope = am.Scope(name, tick)
        if not made:
            made.append(scope)
            other = threading.Thread(target=machine.add, args=("A",))
            other.start()
            other.join(10)
        return scope

    monkeypatch.setattr(view, "Scope", slowly)
    assert machine.scope("A").expired, "the state has changed since its tick was read"
    assert machine.scope("A").tick == 1 and not machine.scope("A").expired


def test_a_scope_made_after_the_tick_and_before_the_end_of_the_old_one_stays() -> None:
    machine = am.Machine(AB)
    machine.add("A")
    scope = machine.scope("A")
    machine._end_scopes([machine.index("A")])
    assert not scope.expired and machine.scope("A") is scope


# Of an event


def test_the_scope_of_an_event_is_that_of_its_handlers_activation() -> None:
    events: list[am.Event] = []
    machine = am.Machine(AB, {"AState": events.append})
    machine.add("A")
    (event,) = events
    first = event.scope
    assert (first.state, first.tick, first.expired) == ("A", 1, False)
    assert event.scope is first is machine.scope("A")
    machine.remove("A")
    machine.add("A")
    assert first.expired
    assert event.scope.expired, "the later activation belongs to another event"
    assert not events[1].scope.expired


def test_the_scope_of_a_global_handler_is_the_machines_life() -> None:
    scopes: list[am.Scope] = []
    machine = am.Machine(AB, {"AnyState": lambda e: scopes.append(e.scope), "AnyEnter": lambda e: None})
    machine.add("A")
    machine.set("B")
    assert scopes[0] is scopes[1] and not scopes[0].expired
    machine.dispose()
    assert scopes[0].expired


# Callbacks


def test_callbacks_run_at_the_end_or_at_once() -> None:
    machine = am.Machine(AB)
    scope = machine.scope("A")
    calls: list[str] = []

    def forgotten() -> None:
        calls.append("forgotten")

    scope.on_end(lambda: calls.append("early"))
    scope.on_end(forgotten)
    scope.forget(forgotten)
    assert calls == []
    machine.add("A")
    scope.on_end(lambda: calls.append("late"))
    scope.end()
    assert calls == ["early", "late"]


def test_a_callback_that_raises_stops_neither_the_others_nor_the_transition(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []
    machine = am.Machine(AB, {"AState": lambda e: calls.append("AState")})
    machine.scope("A").on_end(lambda: 1 / 0)
    machine.scope("A").on_end(lambda: calls.append("second"))
    machine.scope("B").on_end(lambda: calls.append("B"))
    assert machine.add(["A", "B"]).executed
    assert calls == ["second", "B", "AState"]
    assert "ZeroDivisionError" in caplog.text


async def test_the_end_of_a_scope_is_awaited() -> None:
    machine = am.Machine(AB)
    scope = machine.scope("A")
    first = asyncio.create_task(scope.wait())
    second = asyncio.ensure_future(_until(scope))
    await turns()
    assert not first.done() and not second.done()
    machine.add("A")
    await first
    await second
    await scope


async def _until(scope: am.Scope) -> None:
    await scope


# Tasks


async def test_tasks_are_cancelled_at_the_end() -> None:
    machine = am.Machine(AB)
    machine.add("A")
    task = machine.scope("A").create_task(asyncio.sleep(3600), name="sleeper")
    assert task is not None and task.get_name() == "sleeper"
    await turns()
    machine.remove("A")
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_that_returns_in_time_keeps_its_value() -> None:
    scope = am.Scope()

    async def work() -> int:
        return 42

    task = scope.create_task(work())
    assert task is not None
    assert await task == 42
    scope.end()


async def test_an_ended_scope_starts_nothing() -> None:
    scope = am.Scope()
    scope.end()
    assert scope.create_task(asyncio.sleep(0)) is None


async def test_a_running_task_can_be_adopted() -> None:
    scope, ended = am.Scope(), am.Scope()
    ended.end()
    tasks = [asyncio.create_task(asyncio.sleep(3600)) for _ in range(2)]
    scope.adopt(tasks[0])
    ended.adopt(tasks[1])
    await turns()
    assert not tasks[0].done() and tasks[1].cancelled()
    scope.end()
    await turns()
    assert tasks[0].cancelled()


async def test_another_thread_may_end_a_scope_with_tasks() -> None:
    scope = am.Scope()
    task = scope.create_task(asyncio.sleep(3600))
    assert task is not None
    await asyncio.to_thread(scope.end)
    with pytest.raises(asyncio.CancelledError):
        await task


def test_tasks_of_a_closed_loop_are_left_alone() -> None:
    scope = am.Scope()

    async def body() -> None:
        task = scope.create_task(asyncio.sleep(3600))
        assert task is not None
        task.cancel()
        await turns()
        scope.adopt(task)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(body())
    loop.close()
    scope.end()
    assert scope.expired


# Blocks


async def in_block(scope: am.Scope, log: list[str]) -> None:
    async with scope:
        log.append("in")
        await asyncio.sleep(3600)
        log.append("never")
    log.append("out")
    await asyncio.sleep(0)
    log.append("after")


async def test_a_block_is_left_quietly_at_the_end() -> None:
    machine = am.Machine(AB)
    machine.add("A")
    log: list[str] = []
    task = asyncio.create_task(in_block(machine.scope("A"), log))
    await turns()
    machine.remove("A")
    await task
    assert log == ["in", "out", "after"]


async def test_a_block_of_an_ended_scope_reaches_its_first_await() -> None:
    scope = am.Scope()
    scope.end()
    log: list[str] = []
    await in_block(scope, log)
    assert log == ["in", "out", "after"]


async def test_a_block_that_ends_before_the_scope_is_not_disturbed() -> None:
    scope = am.Scope()
    async with scope as entered:
        assert entered is scope
        await turns()
    scope.end()
    await turns()


async def test_a_block_may_end_its_own_scope() -> None:
    machine = am.Machine(AB)
    machine.add("A")
    log: list[str] = []
    async with machine.scope("A"):
        machine.remove("A")
        log.append("up to the next await")
        await asyncio.sleep(3600)
        log.append("never")
    async with machine.scope("B"):
        machine.add("B")
        log.append("no await left")
    await turns()
    assert log == ["up to the next await", "no await left"]


async def test_an_error_of_a_block_goes_up() -> None:
    with pytest.raises(ZeroDivisionError):
        async with am.Scope():
            raise ZeroDivisionError


async def test_an_outside_cancel_goes_up() -> None:
    log: list[str] = []
    task = asyncio.create_task(in_block(am.Scope(), log))
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["in"]


async def test_an_outside_cancel_goes_up_though_the_scope_ends_with_it() -> None:
    for order in (0, 1):
        scope = am.Scope()
        log: list[str] = []
        task = asyncio.create_task(in_block(scope, log))
        await turns()
        cancels: list[Callable[[], object]] = [task.cancel, scope.end]
        cancels[order]()
        cancels[1 - order]()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == ["in"]


async def test_blocks_nest() -> None:
    outer, inner = am.Scope(), am.Scope()
    log: list[str] = []

    async def body() -> None:
        async with outer:
            async with inner:
                log.append("inner")
                await asyncio.sleep(3600)
            log.append("outer")
            await asyncio.sleep(3600)
        log.append("out")

    task = asyncio.create_task(body())
    await turns()
    inner.end()
    await turns()
    assert log == ["inner", "outer"]
    outer.end()
    await task
    assert log == ["inner", "outer", "out"]


async def test_one_task_may_enter_a_scope_twice() -> None:
    scope = am.Scope()
    log: list[str] = []

    async def body() -> None:
        async with scope:
            async with scope:
                await asyncio.sleep(3600)
            log.append("left the inner one")
            await asyncio.sleep(3600)
        log.append("left both")

    task = asyncio.create_task(body())
    await turns()
    scope.end()
    await task
    assert log[-1] == "left both"


async def test_a_block_in_the_cleanup_of_a_cancelled_task_is_left_quietly_too() -> None:
    scope = am.Scope()
    log: list[str] = []

    async def body() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            async with scope:
                await asyncio.sleep(3600)
            log.append("cleaned up")
            raise

    task = asyncio.create_task(body())
    await turns()
    task.cancel()
    await turns()
    scope.end()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["cleaned up"]


async def test_a_scope_ended_by_another_thread_cancels_nothing_after_the_block() -> None:
    scope = am.Scope()
    async with scope:
        # The loop's thread stands still here, so the news of the end cannot reach the block in time.
        other = threading.Thread(target=scope.end)
        other.start()
        other.join(10)
    await turns()
    assert scope.expired


async def test_a_scope_ended_by_another_thread_ends_the_block() -> None:
    machine = am.Machine(AB)
    log: list[str] = []
    task = asyncio.create_task(in_block(machine.scope("A"), log))
    await turns()
    await asyncio.to_thread(machine.add, "A")
    await task
    assert log == ["in", "out", "after"]
