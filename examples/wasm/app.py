"""The native process: Foo, served to each tab and following the machine of each, and the relay that serves the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.sessions import Sessions
from asyncmachine_relay import Bound, Match, Relay, RelayServer, Tunnel
from asyncmachine_web.build import Project, build
from examples.wasm.chat import PATIENT, FooHandlers, Patience, Show
from examples.wasm.seat import KEPT, Seat
from examples.wasm.states import Foo

ROOT = Path(__file__).parents[2]
PROJECT = Project(ROOT, ("examples/__init__.py", "examples/wasm"), "examples/wasm/page")
PUSH_INTERVAL = 0.001
ALLOWED = rpc.Grants(mutate=(Foo.Msg,))
"""What a tab may do here."""


class App:
    """Serves the chat at `address` as long as it is entered."""

    def __init__(self, bound: Bound, show: Show, patience: Patience = PATIENT) -> None:
        self.handlers = FooHandlers(show, patience)
        self.machine = am.Machine(Foo, self.handlers, id="server-foo")
        self._seats: dict[str, Seat] = {}
        self._sessions = Sessions(KEPT)
        self._site = TemporaryDirectory(prefix="chat-")
        build(PROJECT, Path(self._site.name) / "site")
        self.relay = Relay(
            [Path(self._site.name) / "site"],
            listen=[Match(r"browser-bar-\w+", target="bar", serve=self.follow)],
            dial=[Match(r"browser-foo-\w+", target="foo", serve=self.serve)],
            csp={"/": "pyscript"},
        )
        self.server = RelayServer(self.relay, bound)

    @property
    def address(self) -> str:
        """The one to open."""
        return f"{self.server.origin}/"

    async def __aenter__(self) -> Self:
        await self.server.start()
        self.machine.add([Foo.Start, Foo.Ready])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop()
        for tab in [*self._seats]:
            self._leave(tab)
        self._sessions.clear()
        self.machine.dispose()
        self.relay.dispose()
        self._site.cleanup()

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[None]:
        """The relay is gone: its listener and all tunnels are closed, and opened again at the end."""
        await self.server.stop()
        yield
        await self.server.start()

    async def follow(self, tunnel: Tunnel) -> None:
        """A tab serves its machine to us: mirror it in its seat, which is kept for it while it has no tunnel."""
        if tunnel.id not in self._seats:
            seat = self._seats[tunnel.id] = Seat(tunnel.id, lambda: self._leave(tunnel.id))
            seat.client.when_ready().then(lambda: self.handlers.tabs.setdefault(tunnel.id, seat))
        await self._seats[tunnel.id].sit(tunnel.transport)

    def _leave(self, tab: str) -> None:
        self.handlers.tabs.pop(tab, None)
        self._seats.pop(tab).leave()

    async def serve(self, tunnel: Tunnel) -> None:
        """A tab mirrors us. Its session goes on after a cut, and with it what the tab was about to say."""
        server = rpc.Server(
            self.machine, name=tunnel.id, push_interval=PUSH_INTERVAL, allow=lambda *_: ALLOWED, sessions=self._sessions
        )
        try:
            await server.serve(tunnel.transport)
        finally:
            server.machine.dispose()
