"""Waiting: for the first of some tasks, and for whoever calls a page, which may be silent meanwhile, and may leave."""

from __future__ import annotations

import asyncio
from typing import Any

from asyncmachine_relay.matchers import Tunnel
from asyncmachine_relay.websocket import WebSocketTransport


async def either(*tasks: asyncio.Task[Any]) -> None:
    """Returns once one of them has ended, however: `asyncio.wait` without its ado, once for each tunnel."""
    loop = asyncio.get_running_loop()
    first = loop.create_future()

    def ended(_: object) -> None:
        if not first.done():
            first.set_result(None)

    for task in tasks:
        task.add_done_callback(ended)
    try:
        await first
    finally:
        for task in tasks:
            task.remove_done_callback(ended)


def may_idle(tunnel: Tunnel, *, allowed: bool) -> None:
    """Whether the page may be silent for as long as it likes."""
    if isinstance(tunnel.transport, WebSocketTransport):
        tunnel.transport.may_idle(allowed)


async def left(tunnel: Tunnel) -> None:
    """Raises `TransportClosed` once the page has left."""
    if isinstance(tunnel.transport, WebSocketTransport):
        raise await tunnel.transport.ended()
    await asyncio.Event().wait()
