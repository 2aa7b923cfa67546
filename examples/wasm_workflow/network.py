"""The orchestrator's ends of the network: clients of the two workers that have a tunnel, and servers for pages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import asyncmachine as am
from asyncmachine.rpc import Client, Grants, Server, Transport
from asyncmachine.rpc.states import ServerStates
from examples.wasm_workflow.figures import FIGURES, Story, pack
from examples.wasm_workflow.links import Metered, attend, following
from examples.wasm_workflow.orchestrator import OrchestratorHandlers
from examples.wasm_workflow.orders import Child
from examples.wasm_workflow.states import CONTROLS, DISPATCHER, LEAVES, PIPED, Orchestrator, Page, of

PUSH_INTERVAL = 0.03
"""Seconds between two updates of a page, which is as often as an eye can see."""

FIGURES_INTERVAL = 0.1
"""Seconds between two looks at the figures."""

SCHEMAS: Mapping[str, Any] = {"browser1": Page, "browser2": DISPATCHER}
"""The workers with a tunnel."""


class Network:
    """What the matchers of the relay serve."""

    def __init__(self, machine: am.Machine[Orchestrator], handlers: OrchestratorHandlers, story: Story) -> None:
        self.machine = machine
        self.handlers = handlers
        self.story = story

    async def follow_worker(self, node: str, transport: Transport) -> None:
        """Follows a worker and what it sees, until the transport ends."""
        machine, metered = self.machine, Metered(transport, partial(self.handlers.gauges.carried, node))
        client = Client.over(metered, SCHEMAS[node], id=f"srv-{node}", consumer=machine)

        @contextmanager
        def linked() -> Iterator[None]:
            machine.add(of(node, "Conn"))
            self.handlers.remotes[node] = client.netmach
            with following(client.netmach, machine, copies(node)):
                machine.add(Orchestrator.BrowserConn, Child(node))
                yield
            del self.handlers.remotes[node]
            machine.remove(of(node, "Conn"))

        with following(client.machine, machine, {"Exception": Orchestrator.ErrRpc}):
            await attend(client, linked)

    async def serve_page(self, id: str, transport: Transport) -> None:
        """Shows a page the machine and the figures, and lets it use the controls, until the transport ends."""
        allowed = Grants(mutate=tuple(CONTROLS))
        server = Server(self.machine, name=id, push_interval=PUSH_INTERVAL, allow=lambda *_: allowed)
        feed = asyncio.create_task(self.feed(server), name=f"figures for {id}")
        try:
            await server.serve(transport)
        finally:
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)
            await server.stop()
            server.machine.dispose()

    async def feed(self, server: Server) -> None:
        """Sends the figures when they have changed, and not before the page has taken the last ones."""
        await server.machine.when(ServerStates.Ready)
        last: dict[str, Any] = {}
        told = 0
        while True:
            lines = self.story.since(told)
            now = pack(self.handlers.run, self.handlers.settings, self.handlers.gauges, lines)
            if lines or now != last:
                await server.send_payload(FIGURES, now)
                last = {**now, "lines": []}
                told = lines[-1].number + 1 if lines else told
            await asyncio.sleep(FIGURES_INTERVAL)


def copies(node: str) -> dict[str, str]:
    """Which states of a worker the orchestrator follows, those that the dispatcher has of its leaves among them."""
    found = {state: of(node, state) for state in PIPED} | {"Exception": f"Err{of(node)}"}
    if node == "browser2":
        for leaf in LEAVES:
            found |= {of(leaf, state): of(leaf, state) for state in PIPED}
            found[of(leaf, "Exception")] = f"Err{of(leaf)}"
    return found
