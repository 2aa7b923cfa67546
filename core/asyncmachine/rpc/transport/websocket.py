"""WebSocket on native Python, either end: one binary message is one message of the pipe.

Needs the `websockets` package, which is imported when the first connection is made. Pings of the protocol are off: the
session above has its own, and they pass relays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asyncmachine.machine.names import several
from asyncmachine.rpc.transport import (
    GOING_AWAY,
    LOST,
    MAX_FRAME,
    NORMAL,
    TEXT_FRAME,
    NotOpened,
    Peer,
    Transport,
    TransportClosed,
    in_words,
)
from asyncmachine.rpc.transport.backlog import Backlog
from asyncmachine.rpc.transport.certificates import names_in

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection
    from websockets.asyncio.server import Server, ServerConnection

CONNECT_TIMEOUT = 3.0
"""Seconds for opening a connection, TLS and upgrade included."""

CLOSE_TIMEOUT = 3.0
"""Seconds to wait for the other side's close frame."""

SUBPROTOCOL = "amrpc.v1"
"""What a client may ask for in the upgrade; one that asks for nothing is let in too."""

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
        self.peer = peer or _peer(connection)

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
            raise closed_by(error) from None

    async def recv(self) -> bytes:
        """The next message. A text message closes the connection."""
        from websockets.exceptions import ConnectionClosed

        try:
            message = await self._connection.recv()
        except ConnectionClosed as error:
            raise closed_by(error) from None
        if isinstance(message, str):
            await self.close(TEXT_FRAME, "text messages are not taken: send binary ones")
            raise TransportClosed(TEXT_FRAME, "the peer sent a text message")
        return message

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Closes it, waiting at most 3 s for the other side's agreement."""
        await self._connection.close(code, _short(reason))

    def abort(self) -> None:
        """Drops the connection without a word, and what has not left yet."""
        self._connection.transport.abort()


async def connect(
    url: str,
    *,
    subprotocols: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    timeout: float = CONNECT_TIMEOUT,
    **settings: Any,
) -> WebSocketTransport:
    """Opens a connection to `ws://…` or `wss://…`. Raises `TransportClosed` with the reason when that fails.

    Further settings go to `websockets.asyncio.client.connect`, for instance `ssl` or `origin`. With a
    `create_connection` among them, messages are kept as `max_queue` says; else it is 1 MiB that may wait.
    """
    from websockets.asyncio.client import connect as open_connection
    from websockets.exceptions import InvalidHandshake

    from asyncmachine.rpc.transport.websocket_direct import DeliveringClient, transport_of

    try:
        connection = await open_connection(
            url,
            subprotocols=list(subprotocols) or None,  # type: ignore[arg-type]
            additional_headers=headers,
            open_timeout=timeout,
            proxy=None,
            **{"create_connection": DeliveringClient, **SETTINGS, **settings},
        )
    except (OSError, TimeoutError, InvalidHandshake) as error:
        raise NotOpened(f"{url}: {in_words(error)}") from error
    return transport_of(connection)


class WebSocketListener:
    """Takes WebSocket connections. Made by `listen`."""

    def __init__(self) -> None:
        self.address = ""
        self._backlog = Backlog()
        self._server: Server

    async def accept(self) -> Transport:
        """The next connection. Raises `TransportClosed` once the listener is closed."""
        return await self._backlog.get()

    async def close(self) -> None:
        """Takes no more connections; those that were accepted go on."""
        self._server.close(close_connections=False)
        await self._backlog.end()

    async def _arrived(self, connection: ServerConnection) -> None:
        from asyncmachine.rpc.transport.websocket_direct import transport_of

        turned_away = self._backlog.put(transport_of(connection))
        if turned_away is not None:
            await turned_away.close(GOING_AWAY, "too many connections wait")
        await connection.wait_closed()


async def listen(
    host: str = "127.0.0.1", port: int = 0, *, origins: Sequence[str | None] = (None,), **settings: Any
) -> WebSocketListener:
    """Takes WebSocket connections at an address (port 0: any free one).

    `origins` are those of the pages that are let in; None stands for clients that are no page, the only ones by
    default. Further settings go to `websockets.asyncio.server.serve`, for instance `ssl`; with a `create_connection`
    among them as with `connect`. Raises `OSError` when the address cannot be had.
    """
    from websockets.asyncio.server import serve

    from asyncmachine.rpc.transport.websocket_direct import DeliveringServer

    listener = WebSocketListener()
    given: dict[str, Any] = {
        "open_timeout": CONNECT_TIMEOUT,
        "subprotocols": [SUBPROTOCOL],
        "create_connection": DeliveringServer,
        **SETTINGS,
        **settings,
    }
    given["origins"] = list(several(origins, "origins"))
    given["select_subprotocol"] = _subprotocol
    if given.get("ssl"):
        given.setdefault("ssl_handshake_timeout", CONNECT_TIMEOUT)
    listener._server = server = await serve(listener._arrived, host, port, **given)
    bound = next(iter(server.sockets)).getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    listener.address = f"{'wss' if given.get('ssl') else 'ws'}://{shown}:{bound}/"
    return listener


def _subprotocol(connection: Any, offered: Sequence[str]) -> str | None:
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def closed_by(error: Any) -> TransportClosed:
    """The library's error as ours. Whoever closed first tells the reason."""
    received, sent = error.rcvd, error.sent
    frame = sent if received is None or (sent is not None and not error.rcvd_then_sent) else received
    return TransportClosed(LOST, "connection lost") if frame is None else TransportClosed(frame.code, frame.reason)


def _short(reason: str) -> str:
    """At most 123 bytes of UTF-8, the room a close frame has."""
    return reason.encode(errors="replace")[:123].decode(errors="ignore")


def _peer(connection: Connection) -> Peer:
    names = names_in(connection.transport.get_extra_info("peercert"))
    return Peer("websocket", _address(connection), names[0] if names else "", names=names)


def _address(connection: Connection) -> str:
    remote = connection.remote_address
    return f"{remote[0]}:{remote[1]}" if isinstance(remote, tuple) else str(remote or "")
