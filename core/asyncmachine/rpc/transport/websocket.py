"""WebSocket on native Python, either end: one binary message is one message of the pipe.

Needs the `websockets` package, which is imported when the first connection is made. Pings of the protocol are off: the
session above has its own, and they pass relays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asyncmachine.rpc.transport import (
    LOST,
    MAX_FRAME,
    NORMAL,
    TEXT_FRAME,
    Peer,
    TransportClosed,
)

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection

CONNECT_TIMEOUT = 3.0
"""Seconds for opening a connection, TLS and upgrade included."""

CLOSE_TIMEOUT = 3.0
"""Seconds to wait for the other side's close frame."""

SETTINGS: Mapping[str, Any] = {
    "compression": None,
    "max_size": MAX_FRAME,
    "ping_interval": None,
    "close_timeout": CLOSE_TIMEOUT,
}
"""How connections of both ends are made; for `websockets.asyncio.server.serve` too."""


class WebSocketTransport:
    """A connection of the `websockets` library as a transport."""

    __slots__ = ("_connection", "peer")

    def __init__(self, connection: Connection, peer: Peer | None = None) -> None:
        self._connection = connection
        self.peer = peer or Peer("websocket", _address(connection))

    @property
    def closed(self) -> bool:
        """True once nothing can be sent any more."""
        from websockets.protocol import State

        return self._connection.state is not State.OPEN

    async def send(self, data: bytes) -> None:
        """Sends one message; waits while the socket's buffer is full."""
        from websockets.exceptions import ConnectionClosed

        try:
            await self._connection.send(data)
        except ConnectionClosed as error:
            raise _closed(error) from None

    async def recv(self) -> bytes:
        """The next message. A text message closes the connection."""
        from websockets.exceptions import ConnectionClosed

        try:
            message = await self._connection.recv()
        except ConnectionClosed as error:
            raise _closed(error) from None
        if isinstance(message, str):
            await self.close(TEXT_FRAME, "text messages are not taken: send binary ones")
            raise TransportClosed(TEXT_FRAME, "the peer sent a text message")
        return message

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Closes it, waiting at most 3 s for the other side's agreement."""
        await self._connection.close(code, _short(reason))


async def connect(
    url: str,
    *,
    subprotocols: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    timeout: float = CONNECT_TIMEOUT,
    **settings: Any,
) -> WebSocketTransport:
    """Opens a connection to `ws://…` or `wss://…`. Raises `TransportClosed` with the reason when that fails.

    Further settings go to `websockets.asyncio.client.connect`, for instance `ssl` or `origin`.
    """
    from websockets.asyncio.client import connect as open_connection
    from websockets.exceptions import InvalidHandshake

    try:
        connection = await open_connection(
            url,
            subprotocols=list(subprotocols) or None,  # type: ignore[arg-type]
            additional_headers=headers,
            open_timeout=timeout,
            proxy=None,
            **{**SETTINGS, **settings},
        )
    except (OSError, TimeoutError, InvalidHandshake) as error:
        raise TransportClosed(LOST, f"{url}: {str(error) or type(error).__name__}") from error
    return WebSocketTransport(connection)


def _closed(error: Any) -> TransportClosed:
    """Whoever closed first tells the reason."""
    received, sent = error.rcvd, error.sent
    frame = sent if received is None or (sent is not None and not error.rcvd_then_sent) else received
    return TransportClosed(LOST, "connection lost") if frame is None else TransportClosed(frame.code, frame.reason)


def _short(reason: str) -> str:
    """At most 123 bytes of UTF-8, the room a close frame has."""
    return reason.encode()[:123].decode(errors="ignore")


def _address(connection: Connection) -> str:
    remote = connection.remote_address
    return f"{remote[0]}:{remote[1]}" if isinstance(remote, tuple) else str(remote or "")
