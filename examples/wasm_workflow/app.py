"""The native process: the orchestrator, and the relay that serves the page and carries its tunnels."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from asyncmachine import AmError
from asyncmachine_relay import Bound, Match, Relay, RelayServer, Tunnel
from asyncmachine_web.build import pack, static_folder
from examples.wasm_workflow.figures import Story
from examples.wasm_workflow.network import Network
from examples.wasm_workflow.orchestrator import OrchestratorHandlers, orchestrator
from examples.wasm_workflow.recording import Recording
from examples.wasm_workflow.settings import Settings
from examples.wasm_workflow.states import Orchestrator
from examples.wasm_workflow.story import Event

PAGE = Path(__file__).parent / "page"
ROOT = Path(__file__).parents[2]

SOURCES = ("examples/__init__.py", "examples/wasm_workflow")
"""The Python that the page and its workers load, from the root of the project."""

TARGET = "orchestrator"


class NotSetUp(AmError):
    """A part of the page has not been installed."""


class App:
    """Serves the workflow at `address` as long as it is entered. `listener`, if there is one, hears the story too."""

    def __init__(self, settings: Settings, bound: Bound) -> None:
        self.settings = settings
        self.listener: Callable[[Event], object] | None = None
        self.story = Story(time.monotonic)
        self.handlers = OrchestratorHandlers(settings, self._tell, self.cut)
        self.machine = orchestrator(self.handlers)
        self.network = Network(self.machine, self.handlers, self.story)
        self._recording = None if settings.dbg is None else Recording(settings.dbg, self.machine)
        self._ending = False
        self._sources = TemporaryDirectory(prefix="wasm-workflow-")
        self.relay = Relay(
            [PAGE, self._sources.name, static_folder()],
            listen=[Match(r"browser[12]", target=TARGET, serve=self._worker)],
            dial=[Match(r"browser1", target=TARGET, serve=self._page)],
            csp={"/": "pyscript", "/worker.mjs": "strict"},
            recorder=None if self._recording is None else self._recording.recorder,
        )
        self._server = RelayServer(self.relay, bound)

    @property
    def address(self) -> str:
        """The one to open: its Origin is the one that is let in."""
        return f"{self._server.origin}/{'' if self._recording is None else '?dbg=1'}"

    async def __aenter__(self) -> Self:
        check_setup(static_folder())
        pack(ROOT, SOURCES, Path(self._sources.name) / "workflow.zip")
        if self._recording is not None:
            await self._recording.__aenter__()
        await self._server.start()
        self.machine.add(Orchestrator.Start)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        await self._server.stop()
        if self._recording is not None:
            await self._recording.__aexit__()
        self.machine.dispose()
        self.relay.dispose()
        self._sources.cleanup()

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[None]:
        """Closes the listener and every tunnel; opens the listener again at the end."""
        await self._server.stop()
        try:
            yield
        finally:
            if not self._ending:
                await self._server.start()

    async def _worker(self, tunnel: Tunnel) -> None:
        await self.network.follow_worker(tunnel.id, tunnel.transport)

    async def _page(self, tunnel: Tunnel) -> None:
        await self.network.serve_page(tunnel.id, tunnel.transport)

    def _tell(self, event: Event) -> None:
        self.story.tell(event)
        if self.listener is not None:
            self.listener(event)


def check_setup(static: Path) -> None:
    """Raises `NotSetUp` when what the page loads is not there."""
    for part in ("vendor/pyodide/pyodide.mjs", "vendor/pyscript/core.js", "vendor/wheels/pyodide-lock.json"):
        if not (static / part).is_file():
            raise NotSetUp(f"{part} is missing: run `make setup` first")
