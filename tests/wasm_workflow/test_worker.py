import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncmachine as am
from examples.wasm_workflow import dag
from examples.wasm_workflow.draws import Draw, draw
from examples.wasm_workflow.orders import Answer, Boot, Order, Retry
from examples.wasm_workflow.run import Attempt
from examples.wasm_workflow.states import Worker
from examples.wasm_workflow.worker import WorkerHandlers

SEED = 7
"""In round 1 browser1 fails twice and then corrupts; in round 2 it fails and then is good (see test_draws)."""


class Node:
    """A worker with what it sent."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Answer] = asyncio.Queue()
        self.machine = am.Machine(Worker, WorkerHandlers("browser1", self.send), id="browser1")

    async def send(self, answer: Answer, e: am.Event) -> None:
        await self.sent.put(answer)


@asynccontextmanager
async def started(iterations: int = 1) -> AsyncIterator[Node]:
    node = Node()
    node.machine.add(Worker.RpcReady)
    node.machine.add(Worker.Start, Boot("t", "s", SEED, 5, iterations))
    yield node
    node.machine.dispose()


def order(round_: int, number: int) -> Order:
    return Order(b"wasm-workflow-1", Attempt("r", round_, number))


async def test_a_node_is_ready_when_it_has_its_boot() -> None:
    node = Node()
    assert node.machine.add(Worker.Start, Boot("t", "s", SEED, 5, 1)).canceled, "nobody is connected"
    node.machine.add(Worker.RpcReady)
    assert node.machine.add(Worker.Start).canceled
    assert node.machine.add(Worker.Start, Boot("t", "s", SEED, 5, 1)).executed
    assert Worker.Ready in node.machine
    node.machine.dispose()


async def test_each_draw_has_its_answer() -> None:
    wanted = {
        Draw.FAILED: Answer(Attempt("r", 1, 1)),
        Draw.CORRUPT: Answer(Attempt("r", 1, 3), dag.CORRUPTED),
        Draw.GOOD: Answer(Attempt("r", 2, 2), dag.digest(b"wasm-workflow-1", "browser1")),
    }
    async with started() as node:
        for drawn, answer in wanted.items():
            assert draw(SEED, 5, "browser1", answer.attempt) is drawn
            node.machine.add(Worker.Working, order(answer.attempt.round, answer.attempt.number))
            assert await node.sent.get() == answer
            assert node.machine.switch(Worker.Work) == ("Completed" if answer.result else "Failed")


async def test_a_retry_works_on_the_payload_that_is_there() -> None:
    async with started() as node:
        assert node.machine.add(Worker.Retrying, Retry(Attempt("r", 2, 2))).canceled, "there is none"
        node.machine.add(Worker.Working, order(2, 1))
        assert (await node.sent.get()).result == b""
        assert node.machine.add(Worker.Retrying, Retry(Attempt("r", 2, 2))).executed
        assert await node.sent.get() == Answer(Attempt("r", 2, 2), dag.digest(b"wasm-workflow-1", "browser1"))


async def test_work_ends_with_the_connection() -> None:
    async with started(10_000_000) as node:
        node.machine.add(Worker.Working, order(1, 1))
        await asyncio.sleep(0)
        node.machine.remove(Worker.RpcReady)
        assert node.machine.active_states() == ()
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1, "the burning was cancelled"


async def test_an_error_ends_the_work_and_an_order_ends_the_error() -> None:
    async with started(10_000_000) as node:
        node.machine.add(Worker.Working, order(1, 1))
        node.machine.add_err(RuntimeError("overheated"))
        assert node.machine.switch(Worker.Work) is None
        node.machine.add(Worker.Working, order(1, 2))
        assert not node.machine.is_err()


async def test_what_is_incomplete_is_refused() -> None:
    async with started() as node:
        assert node.machine.add(Worker.Working).canceled
        assert node.machine.add(Worker.Completed).canceled
        assert node.machine.add(Worker.Completed, Answer(Attempt("r", 1, 1))).canceled, "no result"
        assert node.machine.add(Worker.Failed, Answer(Attempt("r", 1, 1), b"x")).canceled, "a result"
