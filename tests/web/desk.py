"""Native machines for pages to dial, through the relay of a test or a bench."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_relay import Tunnel


def serve_desk(states: type[rpc.StateSource], *handlers: object) -> Callable[[Tunnel], Coroutine[Any, Any, None]]:
    """For a `Match`: each page that dials has a machine of its own."""

    async def serve(tunnel: Tunnel) -> None:
        desk = am.Machine(states, *handlers, id="desk")
        server = rpc.Server(desk, "desk", push_interval=0.001)
        await server.serve(tunnel.transport)
        server.machine.dispose()
        desk.dispose()

    return serve
