"""The server's machine, and the relay that serves the page and carries its tunnel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_relay import Match, Relay, Tunnel

from .states import Guests, Name


class GuestHandlers:
    """What signing means."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def SignEnter(self, e: am.Event) -> bool:
        name = e.args_or_none(Name)
        return name is not None and 0 < len(name.text.strip()) <= 40

    def SignState(self, e: am.Event) -> None:
        e.remove(Guests.Sign)
        self.names.append(e.args(Name).text.strip())
        e.add(Guests.Signed)

    def newest(self, count: int) -> list[dict[str, object]]:
        """The last who signed, the newest first; `id` tells those of one name apart."""
        rows: list[dict[str, object]] = [{"id": number, "name": name} for number, name in enumerate(self.names)]
        return rows[::-1][:count]


class Backend:
    """Serves the page in `site`, and the machine to each page that dials. `settings` are further ones of the relay."""

    def __init__(self, site: Path, **settings: Any) -> None:
        self.handlers = GuestHandlers()
        self.machine = am.Machine(Guests, self.handlers, id="guests")
        self.machine.add(Guests.Open)
        self.relay = Relay([site], dial=[Match(r"page-\w+", target="guests", serve=self.serve)], **settings)

    async def serve(self, tunnel: Tunnel) -> None:
        allowed = rpc.Grants(mutate=(Guests.Sign,))
        server = rpc.Server(self.machine, name=tunnel.id, push_interval=0.03, allow=lambda *_: allowed)

        def tell() -> None:
            """All that is shown, so that a page which comes again shows the same."""
            server.send_payload("names", self.handlers.newest(20))

        told = self.machine.bind({"SignedState": lambda _: tell()})
        tell()
        try:
            await server.serve(tunnel.transport)
        finally:
            self.machine.detach(told)
            server.machine.dispose()
