"""The WebSocket of a leg, on the side of the relay that calls: what waits in it counts with what it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from websockets.asyncio.client import ClientConnection

from asyncmachine_relay.holding import Unsent
from asyncmachine_relay.limits import Limits


def made_with(limits: Limits) -> Callable[..., ClientConnection]:
    """What `connect` takes as `create_connection`."""
    return partial(_LegConnection, limits)


class _LegConnection(ClientConnection):
    """As the library's, whose own marks count bytes alone."""

    def __init__(self, limits: Limits, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._limits = limits
        self._waits: Unsent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._waits = Unsent(cast(asyncio.WriteTransport, transport), self._limits)

    def send_data(self) -> None:
        super().send_data()
        self._waits.wrote()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._waits.resumed()
