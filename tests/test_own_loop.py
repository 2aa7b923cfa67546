"""The hook that runs coroutine tests: it lets nothing slip."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.own_loop import in_own_loop

kept: list[asyncio.Task[None]] = []
drawn: list[int] = []


async def forever() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise LookupError("lost")


def test_a_task_left_running_is_a_failure() -> None:
    async def body() -> None:
        kept.append(asyncio.create_task(forever(), name="forgotten"))

    with pytest.raises(AssertionError, match="forgotten"):
        in_own_loop(body, None)()


def test_a_task_that_is_ending_gets_a_few_turns() -> None:
    async def body() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel()

    in_own_loop(body, None)()


def test_an_exception_nobody_asked_for_is_a_failure() -> None:
    async def body() -> None:
        task = asyncio.create_task(fail())
        await asyncio.wait([task])

    with pytest.raises(AssertionError, match="LookupError"):
        in_own_loop(body, None)()


def test_a_callback_that_raises_is_a_failure() -> None:
    async def body() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="division by zero"):
        in_own_loop(body, None)()


def test_the_failure_of_the_test_itself_comes_first() -> None:
    async def body() -> None:
        kept.append(asyncio.create_task(forever()))
        await fail()

    with pytest.raises(LookupError):
        in_own_loop(body, None)()


def test_a_hung_test_shows_where_it_waits() -> None:
    with pytest.raises(TimeoutError) as caught:
        in_own_loop(forever, 0.01)()
    cause = caught.value.__cause__
    assert cause is not None
    assert cause.__traceback__ is not None
    frames = [frame.function for frame in inspect.getinnerframes(cause.__traceback__)]
    assert "forever" in frames


async def test_the_loop_is_in_debug_mode() -> None:
    assert asyncio.get_running_loop().get_debug()


@pytest.mark.parametrize("number", [1, 2])
async def test_fixtures_and_parameters_are_handed_in(number: int, request: pytest.FixtureRequest) -> None:
    assert request.node.callspec.params == {"number": number}


@given(st.integers())
async def test_properties_may_be_coroutines(number: int) -> None:
    await asyncio.sleep(0)
    drawn.append(number)


def test_properties_that_are_coroutines_were_run() -> None:
    assert len(drawn) > 1
