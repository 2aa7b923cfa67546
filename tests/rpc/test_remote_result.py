"""Failures that nobody awaits are told to somebody else, at once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from asyncmachine import AmError, Outcome
from asyncmachine.rpc.errors import NotConnected
from asyncmachine.rpc.remote_result import RemoteResult


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """What is told must not depend on when garbage is collected."""
    gc.disable()
    yield
    gc.enable()


def failing(heard: list[AmError]) -> RemoteResult:
    """A result that has failed, by an error that was raised where the result is known."""
    result = RemoteResult(heard.append, asyncio.get_running_loop())
    try:
        raise NotConnected("not sent")
    except NotConnected as error:
        result._fail(error)
    return result


async def turn() -> None:
    await asyncio.sleep(0)


async def test_a_failure_that_is_let_go_is_told() -> None:
    told: list[AmError] = []
    failing(told)
    await turn()
    assert [str(error) for error in told] == ["not sent"]


async def test_one_that_is_kept_is_not_told_yet() -> None:
    told: list[AmError] = []
    kept = failing(told)
    await turn()
    assert told == []
    del kept
    await turn()
    assert len(told) == 1


async def test_one_that_was_awaited_is_not_told() -> None:
    told: list[AmError] = []
    result = failing(told)
    with pytest.raises(NotConnected):
        await result
    del result
    await turn()
    assert told == []


@pytest.mark.parametrize("outcome", [Outcome.EXECUTED, Outcome.CANCELED])
async def test_outcomes_are_no_failures(outcome: Outcome) -> None:
    told: list[AmError] = []
    RemoteResult(told.append, asyncio.get_running_loop())._settle(outcome)
    RemoteResult(told.append, None)
    await turn()
    assert told == []


async def test_it_is_told_on_the_loop_wherever_it_is_let_go() -> None:
    told: list[AmError] = []
    kept = [failing(told)]
    await asyncio.to_thread(kept.clear)
    await turn()
    assert len(told) == 1
