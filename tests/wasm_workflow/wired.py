"""The workflow in one process over real aRPC: five machines, joined by memory instead of a browser and a relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncmachine as am
from asyncmachine.rpc import Backoff, Transport, TransportClosed
from asyncmachine.rpc.transport.memory import MemoryTransport, pair
from examples.wasm_workflow.dispatcher import dispatcher
from examples.wasm_workflow.figures import Story
from examples.wasm_workflow.network import Network
from examples.wasm_workflow.node import Node
from examples.wasm_workflow.orchestrator import OrchestratorHandlers, orchestrator
from examples.wasm_workflow.page_node import page_node
from examples.wasm_workflow.settings import Settings
from examples.wasm_workflow.states import Orchestrator
from examples.wasm_workflow.worker import WorkerHandlers

QUICK = Backoff(first=0.001, cap=0.001, tries=None, total=None)


class WorkerStates(am.StatesDef):
    """As those of a web worker."""

    Starting = am.state(remove=("Ready", "Dead"))
    Ready = am.state(remove=(Starting, "Dead"))
    Dead = am.state(remove=(Starting, Ready))


class Thread:
    """Stands for a web worker: its main is a task, and nothing of it is left when it is terminated."""

    def __init__(self, id: str, main: Callable[[Thread], Coroutine[Any, Any, None]]) -> None:
        self.id = id
        self.patience = 0.0
        self.machine = am.Machine(WorkerStates, id=f"worker-{id}")
        self.starts = 0
        self._main = main
        self._task: asyncio.Task[None] | None = None
        self._port = pair()

    def restart(self) -> None:
        self.terminate()
        self.starts += 1
        self.machine.add(WorkerStates.Starting)
        self._port = pair()
        self._task = asyncio.get_running_loop().create_task(self._main(self), name=self.id)
        self.machine.add(WorkerStates.Ready)

    def terminate(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
            self._port[0].cut()
            self.machine.add(WorkerStates.Dead)

    async def dial(self) -> Transport:
        """The parent's end."""
        await self.machine.when(WorkerStates.Ready)
        return self._port[0]

    @property
    def port(self) -> MemoryTransport:
        """The worker's end."""
        return self._port[1]


class Wired:
    """All of it. `tunnels` are the connections that a relay would carry, by what they are for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tunnels: dict[str, MemoryTransport] = {}
        self.relay_up = True
        self.tasks: set[asyncio.Task[None]] = set()
        self.shown: list[dict[str, Any]] = []
        self.leaves = {leaf: Thread(leaf, run_leaf) for leaf in ("browser3", "browser4")}
        self.browser2 = Thread("browser2", self.run_dispatcher)

    async def __aenter__(self) -> Self:
        self.start_orchestrator()
        self.page, self.client = page_node({"browser2": self.browser2}, self.dial, self.shown.append, backoff=QUICK)
        self.page.server.listen(lambda: self.tunnel("browser1", self.network.follow_worker))
        self.client.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.page.machine.dispose()  # or it would start its worker again
        self.browser2.terminate()
        await self.client.stop()
        await self.page.server.stop()
        while self.tasks:
            await asyncio.wait(self.tasks)
        self.client.machine.dispose()
        self.page.dispose()
        self.machine.dispose()

    def start_orchestrator(self) -> None:
        """What the native process does; done again, it is another process."""
        self.story = Story(asyncio.get_running_loop().time)
        self.handlers = OrchestratorHandlers(self.settings, self.story.tell, self.cut)
        self.machine = orchestrator(self.handlers)
        self.network = Network(self.machine, self.handlers, self.story)
        self.machine.add(Orchestrator.Start)

    @property
    def mirror(self) -> Any:
        """The orchestrator as the page sees it."""
        return self.client.netmach

    def sentences(self) -> list[str]:
        return [line.text for line in self.story.lines]

    # The relay

    async def tunnel(self, name: str, serve: Callable[[str, Transport], Coroutine[Any, Any, None]]) -> Transport:
        if not self.relay_up:
            raise TransportClosed(1006, "refused")
        near, far = pair()
        self.tunnels[name] = near
        self.spawn(serve(name, far))
        return near

    async def dial(self) -> Transport:
        return await self.tunnel("page", self.network.serve_page)

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[None]:
        self.relay_up = False
        for transport in self.tunnels.values():
            transport.cut()
        yield
        self.relay_up = True

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    # Web workers

    async def run_dispatcher(self, thread: Thread) -> None:
        node, handlers = dispatcher(self.leaves, backoff=QUICK)
        following = [self.spawn(handlers.follow_leaf(node.machine, leaf)) for leaf in self.leaves.values()]
        node.server.listen(lambda: self.tunnel("browser2", self.network.follow_worker))
        try:
            await asyncio.Event().wait()
        finally:
            # Whoever terminates a worker terminates those below it; none of them says goodbye.
            node.machine.dispose()
            node.server.machine.dispose()
            if "browser2" in self.tunnels:
                self.tunnels["browser2"].cut()
            for leaf in self.leaves.values():
                leaf.terminate()
            for task in following:
                task.cancel()


async def run_leaf(thread: Thread) -> None:
    node = Node.create(thread.id)
    node.machine.bind(WorkerHandlers(thread.id, node.send))
    try:
        await node.server.serve(thread.port)
    finally:
        node.dispose()
