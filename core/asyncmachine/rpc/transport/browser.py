"""The browser's WebSocket, in a page or a worker: one binary message is one message of the pipe."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from asyncmachine.rpc.transport import (
    FRAME_TOO_LARGE,
    HIGH_WATER,
    LOST,
    MAX_FRAME,
    NORMAL,
    TEXT_FRAME,
    NotOpened,
    Peer,
    TransportClosed,
)
from asyncmachine.rpc.transport.direct_inbox import DirectInbox, DirectReading

CONNECT_TIMEOUT: Final = 3.0
"""Seconds for opening a connection."""

CONGESTION_LOOK: Final = 0.02
"""Seconds between two looks at a full send buffer: a WebSocket does not tell when there is room again."""

REFUSED: Final = 4400
"""Sent in place of close codes that a page may not use (anything but 1000 and 3000 to 4999)."""

_OPEN: Final = 1


class BrowserWebSocket(DirectReading):
    """A `WebSocket` of JavaScript as a transport. Made by `connect`."""

    def __init__(self, socket: Any, url: str) -> None:
        from pyodide.ffi import create_proxy

        self.peer = Peer("websocket", url)
        self._socket = socket
        self._inbox = DirectInbox(lambda read: None)  # a WebSocket cannot be told to read less
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._proxies = [create_proxy(handler) for handler in (self._on_open, self._on_message, self._on_close)]
        socket.binaryType = "arraybuffer"
        socket.onopen, socket.onmessage, socket.onclose = self._proxies

    @property
    def closed(self) -> bool:
        """True once nothing can be sent any more."""
        return self._inbox.ended or self._socket.readyState != _OPEN

    async def send(self, data: bytes) -> None:
        """Sends one message; waits while more than 1 MiB has not left."""
        from pyodide.ffi import to_js

        if len(data) > MAX_FRAME:
            await self.close(FRAME_TOO_LARGE, f"a message of {len(data)} bytes")
        self._check()
        self._socket.send(to_js(data))
        while self._socket.bufferedAmount > HIGH_WATER and not self.closed:  # noqa: ASYNC110 (there is no event for it)
            await asyncio.sleep(CONGESTION_LOOK)

    def send_now(self, messages: Sequence[bytes]) -> bool:
        """Sends messages that are not too large, if none of them has to wait. False: nothing was sent."""
        from pyodide.ffi import to_js

        if self.closed or self._socket.bufferedAmount > HIGH_WATER:
            return False
        for message in messages:
            self._socket.send(to_js(message))
        return True

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Begins the closing handshake and does not wait for the other side's part in it."""
        if not self._inbox.ended:
            permitted = code == NORMAL or 3000 <= code < 5000
            self._socket.close(code if permitted else REFUSED, _short(reason))
            self._end(code, reason)

    async def opened(self, timeout: float) -> None:
        """Waits until it is open. Raises `TransportClosed` if it does not open in time."""
        try:
            async with asyncio.timeout(timeout):
                await self._opened
        except TimeoutError:
            await self.close(reason="took too long to open")
            raise NotOpened(f"{self.peer.address}: no connection within {timeout:g} s") from None
        except asyncio.CancelledError:
            await self.close(reason="given up")
            raise
        # A server that refuses accepts and closes at once: the socket may be closing by now, and the close event with
        # the reason is yet to come. It is for whoever reads next.
        self._inbox.check()

    def _check(self) -> None:
        self._inbox.check()
        if self._socket.readyState != _OPEN:
            raise TransportClosed(LOST, "the socket is closing")

    def _on_open(self, event: Any) -> None:
        self._settle()

    def _on_message(self, event: Any) -> None:
        data = event.data
        if isinstance(data, str):
            self._refuse("text messages are not taken: send binary ones")
        elif data.byteLength > MAX_FRAME:
            self._refuse(f"a message of {data.byteLength} bytes")
        else:
            self._inbox.arrive([data.to_bytes()])

    def _on_close(self, event: Any) -> None:
        self._end(event.code, event.reason)

    def _refuse(self, reason: str) -> None:
        self._socket.close(REFUSED, _short(reason))
        self._end(TEXT_FRAME if "text" in reason else FRAME_TOO_LARGE, reason)

    def _end(self, code: int, reason: str) -> None:
        if self._inbox.end(code, reason):
            self._socket.onopen = self._socket.onmessage = self._socket.onclose = None
            # One of them may be running now, and must outlive its call.
            for proxy in self._proxies:
                asyncio.get_running_loop().call_soon(proxy.destroy)
            self._settle()

    def _settle(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)


async def connect(url: str, *, subprotocols: Sequence[str] = (), timeout: float = CONNECT_TIMEOUT) -> BrowserWebSocket:
    """Opens a connection to `ws://…` or `wss://…`. Raises `TransportClosed` when that fails.

    A server that refuses has to accept first and close with a code then: a page cannot see more of a refusal than 1006.
    """
    from js import WebSocket
    from pyodide.ffi import to_js

    socket = BrowserWebSocket(WebSocket.new(url, to_js(list(subprotocols))), url)
    await socket.opened(timeout)
    return socket


def _short(reason: str) -> str:
    """At most 123 bytes of UTF-8, the room a close frame has."""
    return reason.encode(errors="replace")[:123].decode(errors="ignore")
