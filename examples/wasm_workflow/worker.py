"""What a node does: it starts when the orchestrator is there, works on orders, and sends its answers back."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

import asyncmachine as am
from asyncmachine.states import DisposedHandlers
from examples.wasm_workflow.dag import CORRUPTED
from examples.wasm_workflow.draws import Draw, draw
from examples.wasm_workflow.orders import Answer, Boot, Order, Retry
from examples.wasm_workflow.run import Attempt
from examples.wasm_workflow.states import Worker
from examples.wasm_workflow.work import work


class Send(Protocol):
    """Sends an answer to whoever gave the order; it is kept until it arrives."""

    def __call__(self, answer: Answer, e: am.Event) -> Awaitable[None]: ...


class WorkerHandlers(DisposedHandlers):
    """Handlers of `Worker`. `node` is the machine's name, which goes into its results."""

    def __init__(self, node: str, send: Send) -> None:
        super().__init__()
        self.node = node
        self.send = send
        self.boot: Boot | None = None
        self.order: Order | None = None

    def StartEnter(self, e: am.Event) -> bool:
        return e.args_or_none(Boot) is not None

    def StartState(self, e: am.Event) -> None:
        self.boot = e.args(Boot)
        e.add(Worker.Ready)

    def WorkingEnter(self, e: am.Event) -> bool:
        return e.args_or_none(Order) is not None

    async def WorkingState(self, e: am.Event) -> None:
        self.order = e.args(Order)
        await self.attempt(self.order, self.order.attempt, e)

    def RetryingEnter(self, e: am.Event) -> bool:
        return e.args_or_none(Retry) is not None and self.order is not None

    async def RetryingState(self, e: am.Event) -> None:
        assert self.order is not None
        await self.attempt(self.order, e.args(Retry).attempt, e)

    def CompletedEnter(self, e: am.Event) -> bool:
        answer = e.args_or_none(Answer)
        return answer is not None and answer.result != b""

    async def CompletedState(self, e: am.Event) -> None:
        await self.send(e.args(Answer), e)

    def FailedEnter(self, e: am.Event) -> bool:
        answer = e.args_or_none(Answer)
        return answer is not None and answer.result == b""

    async def FailedState(self, e: am.Event) -> None:
        await self.send(e.args(Answer), e)

    async def attempt(self, order: Order, attempt: Attempt, e: am.Event) -> None:
        """Does the work. Whether it goes well was decided by the seed. Cancelled when the state ends."""
        assert self.boot is not None
        result = await work(order.payload, self.node, self.boot.hash_iterations)
        match draw(self.boot.seed, self.boot.success_rate, self.node, attempt):
            case Draw.GOOD:
                e.add(Worker.Completed, Answer(attempt, result))
            case Draw.CORRUPT:
                e.add(Worker.Completed, Answer(attempt, CORRUPTED))
            case Draw.FAILED:
                e.add(Worker.Failed, Answer(attempt))


class Remote(Protocol):
    """A machine at the other end of a connection. Its results are pending; one that fails becomes an error there."""

    def add(self, states: Any, args: Any = None, /, *, e: am.Event | None = None) -> am.Result: ...
    def remove(self, states: Any, args: Any = None, /, *, e: am.Event | None = None) -> am.Result: ...


def hand(worker: Remote, order: Order | Retry, e: am.Event) -> None:
    """Gives a worker an order. What it may still be working on ends before."""
    worker.remove([Worker.Working, Worker.Retrying], e=e)
    worker.add(order.state, order, e=e)
