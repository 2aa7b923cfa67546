"""Where an interrupt raises its error, natively: signals are the same in a worker."""

from __future__ import annotations

import json
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from functools import partial
from operator import itemgetter
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine_web.page import interrupts


class Door(am.StatesDef):
    Open = am.state(multi=True)


@pytest.fixture(autouse=True)
def listening() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    interrupts.listen()
    yield
    signal.signal(signal.SIGINT, before)


def interrupt(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)


def where(error: BaseException) -> list[str]:
    """The functions that it came through."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def test_code_of_the_application_fails_at_once() -> None:
    with pytest.raises(am.HandlerDeadline, match="move slow work") as raised:
        interrupt()
    assert "interrupt" in where(raised.value)


def test_so_does_a_library_that_it_is_in() -> None:
    with pytest.raises(am.HandlerDeadline) as raised:
        json.loads("[1]", parse_int=interrupt)
    assert "loads" in where(raised.value)


def interrupting(*names: str) -> Any:
    """The names, with an interrupt before each, in whatever code asks for them: no frame of ours is between."""
    return map(itemgetter(1), zip(iter(partial(signal.raise_signal, signal.SIGINT), 0), names, strict=False))


def test_ours_comes_to_its_end_before_the_application_fails() -> None:
    """The machine is as after any other call."""
    machine = am.Machine(Door)
    ticks = []

    def keep_opening() -> None:
        while True:
            machine.add(interrupting("Open"))
            ticks.append(machine.tick(Door.Open))

    with pytest.raises(am.HandlerDeadline) as raised:
        keep_opening()
    assert where(raised.value)[1:] == ["keep_opening", "resumed"]
    assert ticks == []
    assert machine.tick(Door.Open) == 1
    assert machine.add(Door.Open).executed
    assert sys.gettrace() is None


def advice(error: BaseException) -> str:
    return str(error).partition("; ")[2]


def test_code_that_cannot_await_is_told_to_move() -> None:
    with pytest.raises(am.HandlerDeadline, match="longer than the worker's `patience`; ") as raised:
        interrupt()
    assert advice(raised.value) == interrupts.MOVE


async def test_code_of_a_coroutine_is_told_to_await_more_often() -> None:
    """Also what a coroutine calls, while it is in ours, and in a generator of its own."""

    async def portions() -> AsyncIterator[int]:
        interrupt()
        yield 1

    async def all_of_them() -> None:
        async for _ in portions():
            pass

    async def adds() -> None:
        am.Machine(Door).add(interrupting("Open"))

    async def calls() -> None:
        json.loads("[1]", parse_int=interrupt)

    for slow in (all_of_them, adds, calls):
        with pytest.raises(am.HandlerDeadline) as raised:
            await slow()
        assert advice(raised.value) == interrupts.AWAIT, slow


async def test_a_plain_handler_is_told_to_move_though_a_coroutine_made_the_mutation() -> None:
    machine = am.Machine(Door)
    machine.bind({"OpenState": interrupt})
    machine.add(Door.Open)
    assert isinstance(machine.err, am.HandlerDeadline)
    assert advice(machine.err) == interrupts.MOVE
    machine.dispose()
