"""A page that waits for somebody: it may be silent meanwhile, and it may leave."""

from __future__ import annotations

import asyncio

from asyncmachine_relay.matchers import Tunnel
from asyncmachine_relay.websocket import WebSocketTransport


def may_idle(tunnel: Tunnel, *, allowed: bool) -> None:
    """Whether the page may be silent for as long as it likes."""
    if isinstance(tunnel.transport, WebSocketTransport):
        tunnel.transport.may_idle(allowed)


async def left(tunnel: Tunnel) -> None:
    """Raises `TransportClosed` once the page has left."""
    if isinstance(tunnel.transport, WebSocketTransport):
        raise await tunnel.transport.ended()
    await asyncio.Event().wait()
