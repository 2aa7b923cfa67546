"""What browser1 does besides its own work: it forks the dispatcher, and takes the figures that the page shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import asyncmachine as am
from asyncmachine.rpc import Backoff, Client, Dial, ServerPayload
from examples.wasm_workflow.figures import FIGURES
from examples.wasm_workflow.node import Node
from examples.wasm_workflow.orders import Child
from examples.wasm_workflow.parent import PATIENCE, Forked, ParentHandlers, fork_all
from examples.wasm_workflow.states import Orchestrator, Page, of
from examples.wasm_workflow.worker import Send, WorkerHandlers

Show = Callable[[dict[str, Any]], object]


class PageHandlers(WorkerHandlers, ParentHandlers):
    """Handlers of `Page`. `show` gets the figures."""

    def __init__(self, send: Send, workers: Mapping[str, Forked], show: Show) -> None:
        WorkerHandlers.__init__(self, "browser1", send)
        ParentHandlers.__init__(self, workers)
        self.show = show

    def ServerPayloadEnter(self, e: am.Event) -> bool:
        payload = e.args_or_none(ServerPayload)
        return payload is not None and payload.name == FIGURES

    def ServerPayloadState(self, e: am.Event) -> None:
        e.remove(Page.ServerPayload)
        self.show(e.args(ServerPayload).data)

    def IdsTakenState(self, e: am.Event) -> None:
        for worker in self.workers.values():
            worker.terminate()

    def IdsTakenEnd(self, e: am.Event) -> None:
        self.missed.clear()
        for worker in self.workers:
            e.add(Page.ForkWorker, Child(worker))


def page_node(
    workers: Mapping[str, Forked], dial: Dial, show: Show, *, backoff: Backoff | None = None
) -> tuple[Node, Client]:
    """The page's machine with all its handlers, and the client of the orchestrator. Forks its workers at once."""
    node = Node.create("browser1", Page, backoff=backoff)
    node.machine.bind(PageHandlers(node.send, workers, show))
    client = Client(dial, Orchestrator, id="page", consumer=node.machine, backoff=backoff)
    am.pipes.bind_ready(client.machine, node.machine, Page.Linked)
    for name, worker in workers.items():
        client.netmach.bind({f"{of(name, 'Ready')}State": lambda e, worker=worker: settle(worker)})
    fork_all(node.machine, workers)
    return node, client


def settle(worker: Forked) -> None:
    """Its node has started."""
    worker.patience = PATIENCE
