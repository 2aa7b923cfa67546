"""Requests: mutations that are tried again while the machine refuses them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar

from asyncmachine.helpers.errors import MutationCanceled
from asyncmachine.helpers.waiting import sleep
from asyncmachine.machine.api import Api, Origin
from asyncmachine.machine.args import ArgsLike
from asyncmachine.machine.errors import Disposed, ScopeEnded
from asyncmachine.machine.mutation import Kind, called_names
from asyncmachine.machine.result import FinalResult, Result
from asyncmachine.machine.scope import Scope
from asyncmachine.machine.settings import patience

K = TypeVar("K", bound=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How often, and how long apart. Times are in seconds.

    The first try is followed by at most `retries` more. The pause is `delay` at first and doubles up to `backoff`; with
    a `backoff` of 0 it stays the same. No try begins later than `max_duration` after the first one.
    """

    retries: int = 10
    delay: float = 0.1
    backoff: float = 5.0
    max_duration: float = 5.0

    def pause(self, tries: int) -> float:
        """Seconds to wait after so many tries."""
        return min(self.delay * 2.0 ** (tries - 1), self.backoff) if self.backoff else self.delay


DEFAULT = Policy()


@dataclass(frozen=True, slots=True)
class MutRequest(Generic[K]):
    """A mutation that can be run, and run again, until it is executed::

    request = MutRequest(machine, "add", ["Connecting"]).clone(retries=3, delay=0.5)
    await request.run()
    """

    machine: Api[K]
    kind: Kind
    states: K | Iterable[K]
    args: ArgsLike = None
    e: Origin = None
    policy: Policy = DEFAULT

    def clone(self, **changes: Any) -> Self:
        """A copy with some fields changed; fields of the policy count as fields."""
        own = {
            name: changes.pop(name) for name in ("machine", "kind", "states", "args", "e", "policy") & changes.keys()
        }
        found = replace(self, **own)
        return replace(found, policy=replace(found.policy, **changes)) if changes else found

    def mutate(self) -> Result:
        """One try."""
        calls = {"add": self.machine.add, "remove": self.machine.remove, "set": self.machine.set}
        return calls[self.kind](self.states, self.args, e=self.e)

    async def run(self, scope: Scope | None = None) -> FinalResult:
        """Tries until the mutation is executed, and returns its result.

        Raises `MutationCanceled` when the policy gives up, `ScopeEnded` when the scope ends, `Disposed` when the
        machine is gone.
        """
        what = f"[{self.kind}] {' '.join(called_names(self.states))} on {self.machine.id!r}"
        return await _tried(self.mutate, self.policy, what, lambda: self.machine.is_disposed, scope)


async def retry(
    mutate: Callable[..., Result], *args: Any, policy: Policy = DEFAULT, scope: Scope | None = None, **kw: Any
) -> FinalResult:
    """Tries a call that returns a result until it is executed.

    ::

        await retry(machine.add, "Connecting")

    Raises `MutationCanceled` when the policy gives up, `ScopeEnded` when the scope ends.
    """
    what = f"{getattr(mutate, '__name__', mutate)} {' '.join(map(str, args))}"
    machine = getattr(mutate, "__self__", None)
    return await _tried(
        lambda: mutate(*args, **kw), policy, what, lambda: getattr(machine, "is_disposed", False), scope
    )


async def _tried(
    mutate: Callable[[], Result], policy: Policy, what: str, gone: Callable[[], bool], scope: Scope | None
) -> FinalResult:
    loop = asyncio.get_running_loop()
    latest = loop.time() + (patience(policy.max_duration) or 0.0)
    tries = 0
    while True:
        tries += 1
        result = await mutate()
        if result.executed:
            return result
        if gone():
            raise Disposed(f"{what}: the machine has been disposed")
        pause = policy.pause(tries)
        if tries > policy.retries or loop.time() + pause > latest:
            raise MutationCanceled(f"{what} was canceled {tries} times")
        if not await sleep(pause, scope):
            raise ScopeEnded(f"{what}: its scope ended after {tries} tries")
