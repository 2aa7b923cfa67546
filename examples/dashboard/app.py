"""The native process: the queue, a sampler for the chart, and the relay that serves the page."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from asyncmachine import rpc
from asyncmachine_relay import Bound, Match, Relay, RelayServer, Tunnel
from asyncmachine_web.build import Project, build
from examples.dashboard.jobs import QueueHandlers, queue
from examples.dashboard.states import Queue

ROOT = Path(__file__).parents[2]
PROJECT = Project(ROOT, ("examples/__init__.py", "examples/dashboard"), "examples/dashboard/page")
PUSH_INTERVAL = 0.03
SAMPLES = 120
"""Points of the chart, one a second."""

ALLOWED = rpc.Grants(mutate=(Queue.AddJob, Queue.Paused, Queue.Clear))
"""What a page may do."""


class App:
    """Serves the dashboard at `address` as long as it is entered. `site` is where the built page lies."""

    def __init__(self, bound: Bound, handlers: QueueHandlers | None = None, site: Path | None = None) -> None:
        self.handlers = handlers or QueueHandlers()
        self.machine = queue(self.handlers)
        self.samples: deque[dict[str, Any]] = deque(maxlen=SAMPLES)
        self.servers: set[rpc.Server] = set()
        self.handlers.listeners.append(lambda job: self.send("jobs", job.row()))
        self._made = TemporaryDirectory(prefix="dashboard-")
        site = site or Path(self._made.name) / "site"
        build(PROJECT, site)
        self.relay = Relay([site], dial=[Match(r"page-\w+", target="queue", serve=self.serve)], csp={"/": "pyscript"})
        self.server = RelayServer(self.relay, bound)

    @property
    def address(self) -> str:
        """The one to open."""
        return f"{self.server.origin}/"

    async def __aenter__(self) -> Self:
        await self.server.start()
        self._sampler = asyncio.create_task(self.sample())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sampler.cancel()
        await asyncio.gather(self._sampler, return_exceptions=True)
        await self.server.stop()
        self.machine.dispose()
        self.relay.dispose()
        self._made.cleanup()

    async def serve(self, tunnel: Tunnel) -> None:
        """Shows the queue to one page: first all that is known, then what changes."""
        server = rpc.Server(self.machine, name=tunnel.id, push_interval=PUSH_INTERVAL, allow=lambda *_: ALLOWED)
        server.send_payload("jobs", [job.row() for job in self.handlers.jobs])
        server.send_payload("load", list(self.samples))
        self.servers.add(server)
        try:
            await server.serve(tunnel.transport)
        finally:
            self.servers.discard(server)
            server.machine.dispose()

    def send(self, name: str, row: dict[str, Any]) -> None:
        """To every page."""
        for server in self.servers:
            server.send_payload(name, row)

    async def sample(self) -> None:
        """Once a second, how much waits and how much has ended since."""
        before = 0
        while True:
            await asyncio.sleep(1)
            ended = (self.machine.tick(Queue.Ended) + 1) // 2
            row = {"id": int(time.time()), "waiting": len(self.handlers.waiting), "ended": ended - before}
            before = ended
            self.samples.append(row)
            self.send("load", row)
