"""Mutations that are waited for, or asked before they are made.

The machine's own calls do most of it: `await machine.add(…)` is the final result, `machine.can_add(…)` a dry run. These
are the compositions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from asyncmachine.helpers.results import follow
from asyncmachine.helpers.waiting import deadline
from asyncmachine.machine.api import Api, Origin
from asyncmachine.machine.args import ArgsLike, raw_args
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.result import Outcome, Result

K = TypeVar("K", bound=str)


async def add_sync(
    machine: Api[K],
    states: K | Iterable[K],
    args: ArgsLike = None,
    /,
    *,
    e: Origin = None,
    timeout: float | None = None,
    **kw: Any,
) -> bool:
    """Adds states and waits for the outcome. True if executed. Raises `WaitTimeout` after `timeout` seconds."""
    async with deadline(timeout, f"the adding of {states} was not carried out within {timeout} s"):
        return (await machine.add(states, args, e=e, **kw)).executed


async def remove_sync(
    machine: Api[K],
    states: K | Iterable[K],
    args: ArgsLike = None,
    /,
    *,
    e: Origin = None,
    timeout: float | None = None,
    **kw: Any,
) -> bool:
    """Removes states and waits for the outcome. True if they are gone. Raises `WaitTimeout`."""
    async with deadline(timeout, f"the removal of {states} was not carried out within {timeout} s"):
        return (await machine.remove(states, args, e=e, **kw)).executed


async def add_async(
    machine: Api[K],
    states: K | Iterable[K],
    args: ArgsLike = None,
    /,
    *,
    wait: K,
    e: Origin = None,
    timeout: float | None = None,
    **kw: Any,
) -> bool:
    """Adds states that start something, and waits for the next activation of `wait`, which tells that it is done.

    Any activation counts, also one that somebody else has brought about meanwhile: where several call the same machine,
    wait for arguments that tell them apart (`when_args`). False if the mutation is canceled. Raises `WaitTimeout` after
    `timeout` seconds.
    """
    done = machine.when_next_active(wait)
    try:
        async with deadline(timeout, f"{wait} did not follow the adding of {states} within {timeout} s"):
            if (await machine.add(states, args, e=e, **kw)).canceled:
                return False
            await done
            return True
    finally:
        done.cancel()


async def cant_add(machine: Machine[K], states: K | Iterable[K], args: ArgsLike = None, /, **kw: Any) -> bool:
    """True if adding these states is impossible now. During a drain, waits its turn."""
    return (await machine.can_add(states, args, **kw)).canceled


async def cant_remove(machine: Machine[K], states: K | Iterable[K], args: ArgsLike = None, /, **kw: Any) -> bool:
    """True if removing these states is impossible now. During a drain, waits its turn."""
    return (await machine.can_remove(states, args, **kw)).canceled


def ask_add(
    machine: Machine[K], states: K | Iterable[K], args: ArgsLike = None, /, *, e: Origin = None, **kw: Any
) -> Result:
    """Adds states only if a dry run says that it is possible, so that no canceled transition gets into the history.

    Negotiation handlers run twice. During a drain the result is pending: await it.
    """
    found = raw_args(args, kw)
    return _if_possible(machine.can_add(states, found, e=e), lambda: machine.add(states, found, e=e))


def ask_remove(
    machine: Machine[K], states: K | Iterable[K], args: ArgsLike = None, /, *, e: Origin = None, **kw: Any
) -> Result:
    """Removes states only if a dry run says that it is possible. As `ask_add`."""
    found = raw_args(args, kw)
    return _if_possible(machine.can_remove(states, found, e=e), lambda: machine.remove(states, found, e=e))


def _if_possible(check: Result, mutate: Callable[[], Result]) -> Result:
    if check.done():
        return mutate() if check.executed else Result.refused(check._why)
    answer = Result.make_pending()

    def decide() -> None:
        if check.executed:
            follow(mutate(), answer)
        else:
            answer._settle(Outcome.CANCELED, check._why)

    check.then(decide)
    return answer
