"""A worker's machine and the server that exposes it: what page, dispatcher and leaves have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncmachine as am
from asyncmachine.rpc import Backoff, Server
from examples.wasm_workflow.orders import RESULT, Answer, to_meta
from examples.wasm_workflow.states import Worker

PUSH_INTERVAL = 0.001
"""Seconds between two updates of who follows the node: at once, more or less."""


@dataclass(frozen=True)
class Node:
    """`machine` has no handlers yet. Its `RpcReady` says that a client of `server` is there."""

    machine: am.Machine[Any]
    server: Server

    @classmethod
    def create(cls, id: str, schema: Any = Worker, *, backoff: Backoff | None = None) -> Node:
        """A node of this name. `backoff` is that of a server which is listened for through a relay."""
        machine: am.Machine[Any] = am.Machine(schema, id=id)
        server = Server(machine, name=id, push_interval=PUSH_INTERVAL, backoff=backoff)
        am.pipes.bind_ready(server.machine, machine, Worker.RpcReady)
        return cls(machine, server)

    async def send(self, answer: Answer, e: am.Event) -> None:
        """Sends an answer; returns when it has been taken."""
        await self.server.send_payload(RESULT, answer.result, e, meta=to_meta(answer.attempt))

    def dispose(self) -> None:
        """Ends machine and server."""
        self.server.machine.dispose()
        self.machine.dispose()
