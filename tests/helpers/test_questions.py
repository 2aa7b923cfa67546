import asyncio
import gc
import threading
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.helpers.errors import MutationCanceled
from asyncmachine.helpers.questions import Reply, answer, ask, fail


class Store(am.StatesDef):
    Start = am.state()
    Get = am.state(multi=True, require=Start)


def store(handler: Any, *, started: bool = True) -> am.Machine[Store]:
    machine = am.Machine(Store)
    machine.bind({"GetState": handler})
    if started:
        machine.add(Store.Start)
    return machine


async def test_a_handler_answers_at_once() -> None:
    machine = store(lambda e: answer(e, e.raw_args["n"] * 2))
    assert await ask(machine, Store.Get, n=21) == 42


async def test_a_handler_answers_later() -> None:
    async def later(e: am.Event) -> None:
        await asyncio.sleep(0)
        answer(e, "late")

    assert await ask(store(later), Store.Get) == "late"


async def test_questions_do_not_mix() -> None:
    machine = store(lambda e: answer(e, e.raw_args["n"]))
    assert await asyncio.gather(*(ask(machine, Store.Get, {"n": n}) for n in range(5))) == list(range(5))


async def test_the_first_answer_counts_and_a_late_one_is_dropped() -> None:
    kept: list[am.Event] = []

    def twice(e: am.Event) -> None:
        kept.append(e)
        answer(e, 1)
        answer(e, 2)

    machine = store(twice)
    assert await ask(machine, Store.Get) == 1
    given_up = ask(store(kept.append), Store.Get)
    given_up.cancel()
    answer(kept[-1], 3)
    fail(kept[-1], ValueError())


async def test_an_answer_may_be_an_error() -> None:
    with pytest.raises(ValueError, match="no such thing"):
        await ask(store(lambda e: fail(e, ValueError("no such thing"))), Store.Get)


async def test_a_question_that_is_refused() -> None:
    with pytest.raises(MutationCanceled, match="does not answer Get"):
        await ask(store(lambda e: answer(e, 1), started=False), Store.Get)


async def test_a_question_whose_handler_breaks() -> None:
    def broken(e: am.Event) -> None:
        raise OSError("gone")

    machine = store(broken)
    with pytest.raises(MutationCanceled):
        await ask(machine, Store.Get)
    assert str(machine.err) == "gone"


async def test_a_machine_that_goes_before_it_has_answered() -> None:
    machine = store(lambda e: None)
    question = ask(machine, Store.Get)
    machine.dispose()
    with pytest.raises(am.Disposed, match="before it has answered Get"):
        await question


async def test_an_answer_from_another_thread() -> None:
    def elsewhere(e: am.Event) -> None:
        threading.Thread(target=answer, args=(e, threading.get_ident())).start()

    assert await ask(store(elsewhere), Store.Get) == threading.get_ident()


async def test_typed_questions_carry_their_record_and_origin() -> None:
    seen: list[Any] = []

    def handler(e: am.Event) -> None:
        seen.append((e.tx.source, set(e.raw_args) - {Reply.key}))
        answer(e, None)

    source = am.MutationSource("other", "tx1")
    await ask(store(handler), Store.Get, am.ErrorArgs(OSError()), e=source)
    assert seen == [(source, {am.ErrorArgs.key})]


async def test_answered_questions_leave_nothing_on_the_machine() -> None:
    machine = store(lambda e: answer(e, 1))
    for _ in range(3):
        await ask(machine, Store.Get)
    await asyncio.sleep(0)
    gc.collect()
    assert not machine._root_scope()._waits


def test_an_event_without_a_question() -> None:
    machine = am.Machine(Store)
    machine.bind({"StartState": lambda e: answer(e, 1)})
    machine.add(Store.Start)
    assert isinstance(machine.err, am.InvalidArgs)


def test_an_answer_to_a_loop_that_is_gone() -> None:
    kept: list[am.Event] = []

    async def give_up() -> None:
        ask(store(kept.append), Store.Get)

    asyncio.run(give_up())
    answer(kept[0], 1)
