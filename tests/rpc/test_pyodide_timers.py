"""aRPC on an event loop that is as strict as Pyodide's: a timer for a time that has passed is an error there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple, Unpack

from tests.own_loop import checked
from tests.rpc.behaviour import paired
from tests.rpc.nets import MemoryNet

Ts = TypeVarTuple("Ts")


class StrictLoop(asyncio.SelectorEventLoop):
    """On a machine so slow that its clock goes on by a millisecond between any two looks at it."""

    def __init__(self) -> None:
        self.looks = 0
        super().__init__()

    def time(self) -> float:
        self.looks += 1
        return super().time() + self.looks * 0.001

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if when < self.time():
            raise ValueError("Can't schedule in the past")
        return super().call_at(when, callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if delay < 0:
            raise ValueError("Can't schedule in the past")
        return super().call_at(self.time() + delay, callback, *args, context=context)


def test_a_push_that_is_due_while_its_timer_is_made_is_not_lost() -> None:
    async def body() -> None:
        for interval in range(1, 30):
            async with paired(MemoryNet(), push_interval=interval / 2000) as pair:
                for _ in range(10):
                    pair.source.add("Ask")
                    await asyncio.sleep(0)
                await pair.mirror.when_time(["Ask"], [pair.source.tick("Ask")])
                pair.assert_equal()

    with asyncio.Runner(loop_factory=StrictLoop) as runner:
        runner.run(checked(body(), 30))
