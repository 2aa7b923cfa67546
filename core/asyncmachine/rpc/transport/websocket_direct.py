"""Connections of the `websockets` library that hand messages over where they arrive (`Direct`).

Left alone, the library gives each message to a task that waits for it: a turn of the event loop on each side, and a
task for each answer, which take longer than everything else. This module is imported when the first connection is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, cast

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection, broadcast
from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

from asyncmachine.rpc.transport import FRAME_TOO_LARGE, HIGH_WATER, NORMAL, TEXT_FRAME
from asyncmachine.rpc.transport.direct_inbox import DirectInbox, DirectReading
from asyncmachine.rpc.transport.websocket import WebSocketTransport, closed_by

LOW_WATER: Final = HIGH_WATER // 4
MOST_PARTS: Final = 4096
"""Frames of one message. Empty ones count for nothing where bytes are counted."""

_DATA: Final = frozenset((Opcode.TEXT, Opcode.BINARY, Opcode.CONT))


def transport_of(connection: Connection) -> WebSocketTransport:
    """An open connection as a transport; a `DirectWebSocket` if it is one of these."""
    if not isinstance(connection, Delivering):
        return WebSocketTransport(connection)
    connection.say_goodbye()
    return DirectWebSocket(connection)


class Delivering(Connection):
    """Puts messages into `inbox`, in one go what was read in one. Nothing is read while 1 MiB waits there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.inbox = DirectInbox(self._read)
        self._arrived: list[bytes] = []
        self._parts: list[bytes] = []
        self._held = False
        self._refused: tuple[int, str] | None = None
        self._closing: asyncio.Task[None] | None = None
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._hand_over()
        if self.inbox.size > HIGH_WATER and not self._held and not self.inbox.ended:
            self._held = True
            with suppress(RuntimeError):  # it is closing
                self.transport.pause_reading()

    def process_event(self, event: Frame | Request | Response) -> None:
        if isinstance(event, Frame) and event.opcode in _DATA:
            self._take(event)
        else:
            super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        end = closed_by(self.protocol.close_exc)
        self.inbox.end(end.code, end.reason)

    def _hand_over(self) -> None:
        if self._arrived:
            arrived, self._arrived = self._arrived, []
            self.inbox.arrive(arrived)

    def _take(self, frame: Frame) -> None:
        if self.inbox.ended:
            return
        if frame.opcode is Opcode.TEXT:
            self._refuse(TEXT_FRAME, "the peer sent a text message", "text messages are not taken: send binary ones")
        elif frame.fin and not self._parts:
            self._arrived.append(bytes(frame.data))
        elif len(self._parts) == MOST_PARTS:
            self._refuse(FRAME_TOO_LARGE, *["a message has too many parts"] * 2)
        else:
            self._parts.append(bytes(frame.data))
            if frame.fin:
                self._arrived.append(b"".join(self._parts))
                self._parts.clear()

    def _refuse(self, code: int, here: str, there: str) -> None:
        """What came before is still read."""
        self._refused = code, there
        self._hand_over()
        self.end(code, here)
        self.say_goodbye()

    def say_goodbye(self) -> None:
        """Closes for what was refused; if that came along with the upgrade, only once the upgrade is answered."""
        if self._refused is not None and self._closing is None and self.state is State.OPEN:
            self._closing = self.loop.create_task(self.close(*self._refused))

    def end(self, code: int, reason: str) -> None:
        """Messages that come from now on are dropped, up to the close frame, which has to be read."""
        self.inbox.end(code, reason)
        self._read_on()

    def _read(self, read: Sequence[bytes]) -> None:
        if self.inbox.size <= LOW_WATER:
            self._read_on()

    def _read_on(self) -> None:
        if self._held:
            self._held = False
            with suppress(RuntimeError):  # it is closing
                self.transport.resume_reading()


class DeliveringClient(Delivering, ClientConnection):
    """The calling end."""


class DeliveringServer(Delivering, ServerConnection):
    """The end that is called."""


class DirectWebSocket(DirectReading, WebSocketTransport):
    """One of these as a transport."""

    __slots__ = ("_inbox",)

    def __init__(self, connection: Delivering) -> None:
        super().__init__(connection)
        self._inbox = connection.inbox

    def send_now(self, messages: Sequence[bytes]) -> bool:
        """Sends messages that are not too large, if none of them has to wait. False: nothing was sent."""
        connection = self._connection
        if connection.state is not State.OPEN or connection.transport.get_write_buffer_size() > HIGH_WATER:
            return False
        for message in messages:
            broadcast((connection,), message)
        return True

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Closes it, waiting at most 3 s for the other side's agreement. What it still sends is not read any more."""
        if not self.closed:
            cast(Delivering, self._connection).end(code, reason)
        await super().close(code, reason)
