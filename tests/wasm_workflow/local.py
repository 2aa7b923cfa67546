"""The workflow without any network: the machines of the nodes stand right behind the orchestrator's handlers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncmachine as am
from asyncmachine.rpc.states import ServerPayload
from examples.wasm_workflow.dag import NODES
from examples.wasm_workflow.orchestrator import OrchestratorHandlers, orchestrator
from examples.wasm_workflow.orders import RESULT, Answer, to_meta
from examples.wasm_workflow.settings import Settings
from examples.wasm_workflow.states import LEAVES, PIPED, Orchestrator, Worker, of
from examples.wasm_workflow.story import Event
from examples.wasm_workflow.worker import WorkerHandlers, hand


class Dispatching:
    """Stands for browser2 and its leaves, as the orchestrator sees them."""

    def __init__(self, nodes: dict[str, am.Machine[Worker]]) -> None:
        self.nodes = nodes

    def add(self, states: Any, args: Any = None, /, *, e: am.Event | None = None) -> am.Result:
        if states == "KillWorker":
            self.nodes[args.id].remove(Worker.RpcReady)
            return am.EXECUTED
        for leaf in LEAVES:
            if states in (of(leaf, "Work"), of(leaf, "Retry")):
                assert e is not None
                hand(self.nodes[leaf], args, e)
                return am.EXECUTED
        return self.nodes["browser2"].add(states, args, e=e)

    def remove(self, states: Any, args: Any = None, /, *, e: am.Event | None = None) -> am.Result:
        return self.nodes["browser2"].remove(states, args, e=e)


class Local:
    """Five machines in one process. `told` is the story so far; while `holding`, answers are kept in `held`."""

    def __init__(self, settings: Settings) -> None:
        self.told: list[Event] = []
        self.cuts: list[str] = []
        self.held: list[tuple[str, Answer]] = []
        self.holding = False
        self.handlers = OrchestratorHandlers(settings, self.told.append, self.cut)
        self.machine = orchestrator(self.handlers)
        self.nodes = {node: self.node(node) for node in NODES}
        self.handlers.remotes = {"browser1": self.nodes["browser1"], "browser2": Dispatching(self.nodes)}

    def node(self, node: str) -> am.Machine[Worker]:
        async def send(answer: Answer, e: am.Event) -> None:
            if self.holding:
                self.held.append((node, answer))
            else:
                self.answer(node, answer)

        machine = am.Machine(Worker, WorkerHandlers(node, send), id=node)
        am.pipes.bind_many(machine, self.machine, {state: of(node, state) for state in PIPED})
        return machine

    def answer(self, node: str, answer: Answer) -> am.Result:
        payload = ServerPayload(RESULT, answer.result, source=node, meta=to_meta(answer.attempt))
        return self.machine.add(Orchestrator.ServerPayload, payload)

    def connect(self, *nodes: str) -> None:
        """Connects workers, all of them unless some are named."""
        for node in nodes or NODES:
            if node not in LEAVES:
                self.machine.add(of(node, "Conn"))
            self.nodes[node].add(Worker.RpcReady)
            self.nodes[node].add(Worker.Start, self.handlers.boot)

    def lose(self, node: str) -> None:
        """Takes a worker away, as when its connection ends."""
        self.nodes[node].remove(Worker.RpcReady)

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[None]:
        self.cuts.append("cut")
        yield
        self.cuts.append("mended")

    def sentences(self) -> list[str]:
        return [event.tell() for event in self.told]

    async def __aenter__(self) -> Self:
        self.machine.add(Orchestrator.Start)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.machine.dispose()
        for node in self.nodes.values():
            node.dispose()
