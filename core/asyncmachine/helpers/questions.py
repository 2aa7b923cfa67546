"""Questions: a mutation that carries the place for its answer.

::

    peers = await ask(machine, "GetPeers", limit=3)

    async def GetPeersState(self, e: am.Event) -> None:
        answer(e, await self.fetch_peers(e.raw_args["limit"]))

For local machines: a future cannot travel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asyncmachine.helpers.errors import MutationCanceled
from asyncmachine.machine.api import Origin
from asyncmachine.machine.args import Args, ArgsLike, raw_args
from asyncmachine.machine.errors import AmError, Disposed, InvalidArgs
from asyncmachine.machine.event import Event
from asyncmachine.machine.machine import Machine


@dataclass(frozen=True)
class Reply(Args, state="Reply", prefix="am"):
    """Where the answer goes. The first one counts; one that comes after the caller has given up is dropped."""

    future: asyncio.Future[Any]

    def set(self, value: object) -> None:
        """Answers, from any thread."""
        self._settle(lambda: self.future.set_result(value))

    def fail(self, error: BaseException) -> None:
        """Answers with an error, raised where the question was asked."""
        self._settle(lambda: self.future.set_exception(error))

    def _settle(self, settle: Callable[[], None]) -> None:
        def once() -> None:
            if not self.future.done():
                settle()

        loop = self.future.get_loop()
        if asyncio._get_running_loop() is loop:
            once()
        elif not loop.is_closed():
            loop.call_soon_threadsafe(once)


def ask(
    machine: Machine[Any], state: str, args: ArgsLike = None, /, *, e: Origin = None, **kw: Any
) -> asyncio.Future[Any]:
    """Adds a state with these arguments and a `Reply`. The future gets what the state's handler answers.

    It raises `MutationCanceled` if the machine refuses the question or its handler raises, and `Disposed` if the
    machine goes before it has answered. Cancelling the future withdraws nothing but the interest. Raises `InvalidArgs`
    for a mirror of a machine elsewhere.
    """
    if not isinstance(machine, Machine):
        raise InvalidArgs(
            f"{machine.id!r} is no machine of this process, and the place for an answer to {state} cannot travel: "
            "add a state there, and wait here for the state or the payload that answers"
        )
    reply = Reply(asyncio.get_running_loop().create_future())
    result = machine.add(state, {**raw_args(args, kw), Reply.key: reply}, e=e)
    gone = machine.when_disposed()

    def decided() -> None:
        if result.canceled:
            reply.fail(MutationCanceled(f"machine {machine.id!r} does not answer {state}: the mutation was canceled"))

    def disposed() -> None:
        reply.fail(Disposed(f"machine {machine.id!r} was disposed before it has answered {state}"))

    result.then(decided)
    gone.then(disposed)
    reply.future.add_done_callback(lambda _: gone.forget(disposed))
    return reply.future


def answer(e: Event, value: object) -> None:
    """Answers the question that an event carries. Raises `InvalidArgs` if it carries none."""
    e.args(Reply).set(value)


def fail(e: Event, error: AmError | Exception) -> None:
    """Answers the question that an event carries with an error. Raises `InvalidArgs` if it carries none."""
    e.args(Reply).fail(error)
