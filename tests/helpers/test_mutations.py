"""Mutations that are waited for, and those that are asked before they are made."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.helpers.errors import MutationCanceled
from asyncmachine.helpers.mutations import add_async, add_sync, ask_add, ask_remove, cant_add, cant_remove, remove_sync
from asyncmachine.helpers.results import executed, follow
from tests.virtual_time import in_virtual_time


class Door(am.StatesDef):
    Start = am.state()
    Open = am.state(require=Start, remove="Closed")
    Closed = am.state(remove=Open)
    Locked = am.state(require=Closed)
    Bell = am.state(multi=True)


class Vetoes:
    """Refuses what it is told to, and counts how often it is asked."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.asked = 0

    def _answer(self, name: str) -> bool:
        self.asked += 1
        return name not in self.names

    def OpenEnter(self, e: am.Event) -> bool:
        return self._answer("enter")

    def OpenExit(self, e: am.Event) -> bool:
        return self._answer("exit")


class Ends(am.Tracer):
    """Transitions that were no dry runs."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def transition_end(self, tx: am.Transition) -> None:
        if not tx.is_check:
            self.seen.append(f"{tx.mutation!r}{'' if tx.accepted else ' canceled'}")


def door(*vetoes: str, started: bool = True) -> tuple[am.Machine[Door], Ends]:
    machine, ends = am.Machine(Door, Vetoes(*vetoes)), Ends()
    if started:
        machine.add(Door.Start)
    machine.trace(ends)
    return machine, ends


def in_handler(machine: am.Machine[Door], body: Callable[[], Any]) -> list[Any]:
    """What `body` returns when a handler of the machine calls it."""
    found: list[Any] = []

    @machine.on.state(Door.Bell)
    def ring(e: am.Event) -> None:
        found.append(body())

    machine.add(Door.Bell)
    return found


async def test_adding_and_removing_tell_whether_it_was_done() -> None:
    machine, _ = door(started=False)
    assert not await add_sync(machine, Door.Open)
    assert await add_sync(machine, Door.Start, n=1)
    assert await add_sync(machine, [Door.Open])
    assert await remove_sync(machine, Door.Open)
    assert machine.not_(Door.Open)


async def test_a_removal_that_was_queued_and_vetoed_is_no_success() -> None:
    machine, _ = door("exit")
    machine.add(Door.Open)
    (task,) = in_handler(machine, lambda: asyncio.ensure_future(remove_sync(machine, Door.Open)))
    assert await task is False
    assert machine.is_(Door.Open)


async def test_what_was_queued_is_waited_for() -> None:
    machine, _ = door()
    (task,) = in_handler(machine, lambda: asyncio.ensure_future(add_sync(machine, Door.Open)))
    assert await task is True


class Remote(am.Machine[Door]):
    """A machine whose answers never come."""

    def add(self, *_: Any, **__: Any) -> am.Result:
        return am.Result.make_pending()

    remove = add


@in_virtual_time
async def test_a_machine_that_never_gets_to_it() -> None:
    machine = Remote(Door)
    calls = [
        add_sync(machine, Door.Open, timeout=3),
        add_async(machine, Door.Open, wait=Door.Closed, timeout=3),
        remove_sync(machine, Door.Open, timeout=3),
    ]
    for call in calls:
        with pytest.raises(am.WaitTimeout, match=r"Open .* 3 s"):
            await call
    assert asyncio.get_running_loop().time() == 9


async def test_adding_waits_for_the_state_that_tells_the_end() -> None:
    machine, _ = door()
    machine.add(Door.Closed)
    task = asyncio.create_task(add_async(machine, Door.Open, wait=Door.Closed))
    await asyncio.sleep(0)
    assert machine.is_(Door.Open) and not task.done()
    machine.add(Door.Closed)
    assert await task is True


async def test_the_activation_that_is_there_already_does_not_count() -> None:
    machine, _ = door()
    machine.add(Door.Bell)
    task = asyncio.create_task(add_async(machine, Door.Start, wait=Door.Bell))
    await asyncio.sleep(0)
    assert not task.done()
    machine.add(Door.Bell)
    assert await task is True


async def test_what_is_canceled_is_not_waited_for() -> None:
    machine, _ = door("enter")
    assert await add_async(machine, Door.Open, wait=Door.Closed) is False
    (task,) = in_handler(machine, lambda: asyncio.ensure_future(add_async(machine, Door.Open, wait=Door.Closed)))
    assert await task is False
    assert machine._subs is not None and not any(machine._subs.states.values()), "no wait is left behind"


async def test_whether_it_is_possible() -> None:
    machine, ends = door("exit")
    assert not await cant_add(machine, Door.Open)
    assert await cant_add(machine, Door.Locked)
    machine.add(Door.Open)
    assert await cant_remove(machine, Door.Open)
    assert not await cant_remove(machine, Door.Bell)
    assert ends.seen == ["[add] Open"]


async def test_whether_it_is_possible_during_a_drain() -> None:
    machine, _ = door("enter")
    (both,) = in_handler(
        machine,
        lambda: [
            asyncio.ensure_future(cant_add(machine, Door.Open)),
            asyncio.ensure_future(cant_remove(machine, Door.Bell)),
        ],
    )
    assert await asyncio.gather(*both) == [True, False]


@pytest.mark.parametrize("ask", [cant_add, cant_remove])
async def test_a_machine_that_refuses_the_question_answers_it(ask: Any) -> None:
    machine, _ = door()
    (task,) = in_handler(machine, lambda: asyncio.ensure_future(ask(machine, Door.Start)))
    assert await task is False
    machine.dispose()
    assert await ask(machine, Door.Start) is True


def test_what_is_impossible_leaves_no_canceled_transition() -> None:
    machine, ends = door("enter")
    assert ask_add(machine, Door.Open).canceled
    assert ask_add(machine, Door.Closed, n=1).executed
    assert ask_remove(machine, Door.Closed).executed
    assert ends.seen == ["[add] Closed", "[remove] Closed"]


def test_a_removal_that_is_vetoed_is_not_made() -> None:
    machine, ends = door("exit")
    machine.add(Door.Open)
    assert ask_remove(machine, Door.Open).canceled
    assert ends.seen == ["[add] Open"]


async def test_asking_inside_of_a_handler() -> None:
    machine, ends = door("enter")
    both = lambda: [ask_add(machine, Door.Open), ask_add(machine, Door.Closed)]  # noqa: E731
    ((refused, made),) = in_handler(machine, both)
    assert (await refused).canceled and (await made).executed
    assert ends.seen == ["[add] Bell", "[add] Closed"]


def test_arguments_and_origin_reach_both_the_question_and_the_mutation() -> None:
    machine, _ = door()
    seen: list[Any] = []
    machine.bind({"ClosedEnter": lambda e: seen.append((e.is_check, e.raw_args, e.tx.source))})
    source = am.MutationSource("other", "tx1")
    ask_add(machine, Door.Closed, {"n": 1}, e=source, k=2)
    assert seen == [(check, {"n": 1, "k": 2}, source) for check in (True, False)]


def test_a_result_that_must_not_be_canceled() -> None:
    assert executed(am.EXECUTED) is am.EXECUTED
    with pytest.raises(MutationCanceled, match="opening was canceled"):
        executed(am.CANCELED, "opening")


async def test_an_answer_follows_a_result_also_into_failure() -> None:
    result, answer = am.Result.make_pending(), am.Result.make_pending()
    follow(result, answer)
    result._fail(am.AmError("lost"))
    with pytest.raises(am.AmError, match="lost"):
        await answer
    settled = am.Result.make_pending()
    follow(am.EXECUTED, settled)
    assert settled.executed
