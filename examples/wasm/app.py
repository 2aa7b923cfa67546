"""The native process: Foo, served to each tab and following the machine of each, and the relay that serves the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_relay import Bound, Match, Relay, RelayServer, Tunnel
from asyncmachine_web.build import Project, build
from examples.wasm.chat import PATIENT, FooHandlers, Patience, Show
from examples.wasm.states import Bar, Foo

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
        self.machine.dispose()
        self.relay.dispose()
        self._site.cleanup()

    async def follow(self, tunnel: Tunnel) -> None:
        """A tab serves its machine to us: mirror it until the tunnel ends."""
        client = rpc.Client.over(tunnel.transport, Bar, id=tunnel.id)
        ready = client.when_ready()
        with self.known(tunnel.id, client, ready):
            await client.run()
        client.machine.dispose()

    @contextmanager
    def known(self, tab: str, client: rpc.Client, ready: am.Wait) -> Iterator[None]:
        """The tab hears what is said, from when its mirror is live until it goes."""
        ready.then(lambda: self.handlers.tabs.__setitem__(tab, client.netmach))
        try:
            yield
        finally:
            ready.cancel()
            self.handlers.tabs.pop(tab, None)

    async def serve(self, tunnel: Tunnel) -> None:
        """A tab mirrors us."""
        server = rpc.Server(self.machine, name=tunnel.id, push_interval=PUSH_INTERVAL, allow=lambda *_: ALLOWED)
        try:
            await server.serve(tunnel.transport)
        finally:
            server.machine.dispose()
