"""What browser2 does besides its own work: it hands orders on to the leaves, and their answers back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import asyncmachine as am
from asyncmachine.rpc import Backoff, Client, ServerPayload, Transport
from examples.wasm_workflow.links import Metered, attend, following
from examples.wasm_workflow.node import Node
from examples.wasm_workflow.orders import Order, Retry
from examples.wasm_workflow.parent import PATIENCE, Forked, ParentHandlers, fork_all
from examples.wasm_workflow.states import DISPATCHER, LEAVES, Dispatcher, Worker, of
from examples.wasm_workflow.worker import Remote, Send, WorkerHandlers, hand

NEARBY = Backoff(first=0.02, cap=0.2, tries=None, total=None)
"""A leaf that was restarted is connected again as soon as it runs."""


class DispatcherHandlers(WorkerHandlers, ParentHandlers):
    """Handlers of `Dispatcher`. `forward` sends a payload on, with the machine that it came from as its source."""

    def __init__(self, send: Send, forward: Callable[[ServerPayload], object], workers: Mapping[str, Forked]) -> None:
        WorkerHandlers.__init__(self, "browser2", send)
        ParentHandlers.__init__(self, workers)
        self.forward = forward
        self.leaves: dict[str, Remote] = {}
        self.bytes: dict[str, int] = {}

    def ServerPayloadState(self, e: am.Event) -> None:
        """An answer of a leaf. Only here the bytes on the leaf's connection are known, so their count goes along."""
        e.remove(Dispatcher.ServerPayload)
        answer = e.args(ServerPayload)
        self.forward(replace(answer, meta={**answer.meta, "bytes": self.bytes.get(answer.source, 0)}))

    async def follow_leaf(self, dispatcher: am.Machine[Any], leaf: Forked) -> None:
        """Follows a leaf through all its lives, and lets it start and stop with the dispatcher."""

        async def dial() -> Transport:
            return Metered(await leaf.dial(), count)

        def count(size: int) -> None:
            self.bytes[leaf.id] = self.bytes.get(leaf.id, 0) + size

        client = Client(dial, Worker, id=f"bro-{leaf.id}", consumer=dispatcher, backoff=NEARBY)

        @contextmanager
        def linked() -> Iterator[None]:
            mirror = client.netmach
            start = am.pipes.bind_start(dispatcher, mirror)
            self.leaves[leaf.id] = mirror
            with following(mirror, dispatcher, {state: of(leaf.id, state) for state in Worker.names}):
                if Worker.Start in dispatcher and self.boot is not None:
                    mirror.add(Worker.Start, self.boot)
                yield
            del self.leaves[leaf.id]
            start.close()

        await attend(client, linked)


class LeafHandlers:
    """Handlers of what the orchestrator wants of a leaf, bound with the leaf's prefix."""

    def __init__(self, leaf: str, dispatcher: DispatcherHandlers) -> None:
        self.leaf = leaf
        self.dispatcher = dispatcher

    def ReadyState(self, e: am.Event) -> None:
        """It has started."""
        self.dispatcher.workers[self.leaf].patience = PATIENCE

    def WorkState(self, e: am.Event) -> None:
        e.remove(of(self.leaf, "Work"))
        self.hand(e.args(Order), e)

    def RetryState(self, e: am.Event) -> None:
        e.remove(of(self.leaf, "Retry"))
        self.hand(e.args(Retry), e)

    def hand(self, order: Order | Retry, e: am.Event) -> None:
        """Gives the leaf the order. One for a leaf that has just gone is dropped: it comes again when the leaf does."""
        leaf = self.dispatcher.leaves.get(self.leaf)
        if leaf is not None:
            hand(leaf, order, e)


def dispatcher(workers: Mapping[str, Forked], *, backoff: Backoff | None = None) -> tuple[Node, DispatcherHandlers]:
    """The dispatcher with all its handlers. Forks its workers at once."""
    node = Node.create("browser2", DISPATCHER, backoff=backoff)
    handlers = DispatcherHandlers(node.send, node.server.forward, workers)
    node.machine.bind(handlers)
    for leaf in LEAVES:
        node.machine.bind(LeafHandlers(leaf, handlers), id=f"leaf-{leaf}", prefix=of(leaf))
    fork_all(node.machine, workers)
    return node, handlers
