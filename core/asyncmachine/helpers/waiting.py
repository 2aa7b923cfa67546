"""Waiting for several things, for a time, or for anything unless the machine errs.

Time-outs are a hundred times longer while `AM_DEBUG` is set. To run a blocking function meanwhile, take
`asyncio.to_thread`; to wait with a limit of your own, `asyncio.timeout`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any, TypeVar

from asyncmachine.helpers.errors import MachineErred
from asyncmachine.machine.api import Api
from asyncmachine.machine.errors import StateMissing, WaitTimeout
from asyncmachine.machine.scope import Scope
from asyncmachine.machine.settings import patience
from asyncmachine.machine.wait import Wait, wait_any

K = TypeVar("K", bound=str)


async def sleep(duration: float, scope: Scope | None = None) -> bool:
    """Waits for `duration` seconds. False, at once, if the scope ends first."""
    if scope is None:
        await asyncio.sleep(duration)
        return True
    async with scope:
        await asyncio.sleep(duration)
        return True
    return False


async def interval(
    function: Callable[[], object | Awaitable[object]],
    *,
    every: float,
    length: float = math.inf,
    scope: Scope | None = None,
) -> bool:
    """Calls a function every so many seconds. True when `length` seconds are over.

    False when the function has returned False, or the scope has ended. The first call comes after `every` seconds. A
    function (or a loop) that is late misses calls, they do not pile up. A coroutine function is cancelled with the
    scope.
    """
    if every <= 0:
        raise ValueError(f"an interval takes more than no time, got every={every}")
    if scope is not None:
        async with scope:
            return await interval(function, every=every, length=length)
        return False
    loop = asyncio.get_running_loop()
    due = start = loop.time()
    end = start + length
    while (due := due + every * max(1, math.ceil((loop.time() - due) / every))) <= end:
        await asyncio.sleep(due - loop.time())
        outcome = function()
        if isawaitable(outcome):
            outcome = await outcome
        if outcome is False:
            return False
    await asyncio.sleep(end - loop.time())
    return True


async def all_or_err(machine: Api[Any], *waits: Wait, timeout: float | None = None) -> None:
    """`am.wait_all` that raises `MachineErred` as soon as the machine is in `Exception`, or if it is already."""
    erred = machine.when_err()
    try:
        async with deadline(timeout, f"{len(waits)} waits were not all met within {timeout} s"):
            await _unless(erred, machine, waits)
    finally:
        erred.cancel()


async def any_or_err(machine: Api[Any], *waits: Wait, timeout: float | None = None) -> Wait:
    """`am.wait_any` that raises `MachineErred` as soon as the machine is in `Exception`, or if it is already."""
    erred = machine.when_err()
    try:
        async with deadline(timeout, f"none of {len(waits)} waits was met within {timeout} s"):
            first = await wait_any(erred, *waits)
    finally:
        erred.cancel()
    if first is erred:
        raise MachineErred(machine)
    return first


async def _unless(erred: Wait, machine: Api[Any], waits: Iterable[Wait]) -> None:
    for wait in waits:
        if await wait_any(erred, wait) is erred:
            raise MachineErred(machine)
    if erred.done():
        raise MachineErred(machine)


@asynccontextmanager
async def deadline(timeout: float | None, message: str) -> AsyncIterator[None]:
    """Raises `WaitTimeout` with this message if the block takes longer than `timeout` seconds (None: no limit)."""
    limit = asyncio.timeout(patience(timeout))
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise WaitTimeout(message) from None


def group_when(machines: Iterable[Api[K]], *names: K, scope: Scope | None = None) -> list[Wait]:
    """One wait for each machine, met when these states are active there.

    Raises `StateMissing`, and waits for nothing, if one of the machines lacks a state.
    """
    machines = list(machines)
    for machine in machines:
        missing = [name for name in names if not machine.has(name)]
        if missing and not machine.is_disposed:
            raise StateMissing(missing, machine.id, machine.names)
    return [machine.when(*names, scope=scope) for machine in machines]
