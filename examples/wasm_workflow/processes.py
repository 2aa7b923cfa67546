"""The workflow without a browser and without a relay: five native processes, joined by TCP.

::

    python -m examples.wasm_workflow.processes

    orchestrator ◀── browser1 ──forks──▶ browser2 ──forks──▶ browser3, browser4
         ▲───────────────────────────────────┘

The machines and their handlers are those of the browser. Only who carries their messages is another: where a page
listens through the relay, a process calls the orchestrator at the address that stands for its name.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from time import monotonic
from typing import Self

import asyncmachine as am
from asyncmachine.rpc import Listener, Transport, TransportClosed, dial, listen
from asyncmachine.rpc.states import Listening, ServerStates
from examples.wasm_workflow import dag, settings
from examples.wasm_workflow.dispatcher import dispatcher
from examples.wasm_workflow.figures import Story
from examples.wasm_workflow.network import Network
from examples.wasm_workflow.node import Node
from examples.wasm_workflow.orchestrator import OrchestratorHandlers, orchestrator
from examples.wasm_workflow.page_node import page_node
from examples.wasm_workflow.process import Fork, until_orphaned
from examples.wasm_workflow.settings import QUICK_ITERATIONS, Settings
from examples.wasm_workflow.states import LEAVES, Orchestrator
from examples.wasm_workflow.story import Event
from examples.wasm_workflow.worker import WorkerHandlers

ANY_PORT = "tcp://127.0.0.1:0"

Serve = Callable[[str, Transport], Awaitable[None]]


class Processes:
    """The orchestrator's process, which forks the others as long as it is entered. `listener` hears the story."""

    def __init__(self, chosen: Settings, listener: Callable[[Event], object] = lambda _: None) -> None:
        self.settings = chosen
        self.story = Story(monotonic)
        self.handlers = OrchestratorHandlers(chosen, self._tell, self.cut)
        self.machine = orchestrator(self.handlers)
        self.network = Network(self.machine, self.handlers, self.story)
        self.browser1: Fork
        self.listener = listener
        self._open: set[Transport] = set()
        self._is_cut = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        addresses = []
        # The dispatcher's process is forked by browser1's, which hands its address on.
        for name, serve in (
            ("browser1", self.network.follow_worker),
            ("page", self.network.serve_page),
            ("browser2", self.network.follow_worker),
        ):
            listener = await listen(ANY_PORT)()
            self._stack.push_async_callback(listener.close)
            addresses.append(listener.address)
            group.create_task(self._accept(listener, name, serve))
        self.machine.add(Orchestrator.Start)
        self.browser1 = Fork("browser1", addresses)
        self.browser1.restart()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.browser1.terminate()
        await self.browser1.ended()
        await self._stack.aclose()
        self.machine.dispose()

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[None]:
        """Ends every connection, and lets none be made until its end."""
        self._is_cut = True
        await asyncio.gather(*(transport.close(1001, "the network is cut") for transport in self._open))
        try:
            yield
        finally:
            self._is_cut = False

    async def _accept(self, listener: Listener, name: str, serve: Serve) -> None:
        """Serves whoever comes for this name, one after another: there is one process of each."""
        with suppress(TransportClosed):
            while True:
                transport = await listener.accept()
                if self._is_cut:
                    await transport.close(1001, "the network is cut")
                    continue
                self._open.add(transport)
                await serve(name, transport)
                self._open.discard(transport)

    def _tell(self, event: Event) -> None:
        self.story.tell(event)
        self.listener(event)


async def run(chosen: Settings, say: Callable[[str], object] = print) -> Mapping[str, bytes]:
    """One run. Returns the results of the final nodes. Raises what the workflow gave up with."""
    async with Processes(chosen, lambda event: say(event.tell())) as processes:
        machine = processes.machine
        await am.wait_any(machine.when(Orchestrator.WorkDelivered), machine.when_err())
        processes.listener = lambda _: None  # what follows is the end of the others
        if machine.err is not None and Orchestrator.WorkDelivered not in machine:
            raise machine.err
        return {node: processes.handlers.run.results[node] for node in dag.FINAL}


# The other four


async def browser1(own: str, page: str, below: str) -> None:
    """What the page does in a browser, but nobody looks."""
    workers = {"browser2": Fork("browser2", [below])}
    node, client = page_node(workers, dial(page), lambda figures: None)
    node.server.listen(dial(own))
    client.start()
    await until_orphaned()


async def browser2(own: str) -> None:
    """The dispatcher."""
    leaves = {leaf: Fork(leaf) for leaf in LEAVES}
    node, handlers = dispatcher(leaves)
    node.server.listen(dial(own))
    following = [asyncio.create_task(handlers.follow_leaf(node.machine, leaf)) for leaf in leaves.values()]
    await until_orphaned()
    for task in following:
        task.cancel()


async def leaf(id: str) -> None:
    """browser3 or browser4."""
    node = Node.create(id)
    node.machine.bind(WorkerHandlers(id, node.send))
    bound: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    node.server.machine.bind({"RpcReadyState": lambda e: bound.set_result(e.args(Listening).address)})
    node.server.serve_at(ANY_PORT)
    await node.server.machine.when(ServerStates.RpcReady)
    await until_orphaned(await bound)


ROLES: Mapping[str, Callable[..., Awaitable[None]]] = {
    "browser1": browser1,
    "browser2": browser2,
    **{name: partial(leaf, name) for name in LEAVES},
}


def main(argv: Sequence[str] = sys.argv[1:], environ: Mapping[str, str] = os.environ) -> int:
    """Returns the exit code: 0 if both digests are as expected."""
    if argv and argv[0] in ROLES:
        asyncio.run(play(*argv))
        return 0
    chosen = settings.read(["--hash-iterations", str(QUICK_ITERATIONS), *argv], environ)
    results = asyncio.run(run(chosen))
    for node, result in results.items():
        print(f"{node} {result.hex()} {'as expected' if result == dag.EXPECTED[node] else 'NOT as expected'}")
    return 1 if dag.wrong(results) else 0


async def play(role: str, *addresses: str) -> None:
    """Is one of the forked processes."""
    await ROLES[role](*addresses)


if __name__ == "__main__":
    sys.exit(main())
