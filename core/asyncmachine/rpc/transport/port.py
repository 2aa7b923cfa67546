"""MessagePort: the pipe between a page and its workers.

A port has neither a close event nor flow control, so this transport has messages of its own beside those it carries.
They begin with the byte C1, which no msgpack message begins with::

    C1 00                      beat: this side lives
    C1 01  u16 code  reason    this side closes (reason: UTF-8)
    C1 02  u32 bytes           credit: this side has read so much, as much again may be sent

Each side may have 1 MiB on its way before it has to wait for credit. It beats every 10 s in which it sent nothing
else, and takes the other side for dead after ten of its own beats without a word: beats are counted and not seconds,
so that a page whose timers are throttled is as patient as it is slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from asyncmachine.rpc.transport import (
    FRAME_TOO_LARGE,
    HIGH_WATER,
    LOST,
    MAX_FRAME,
    NORMAL,
    TEXT_FRAME,
    Peer,
)
from asyncmachine.rpc.transport.direct_inbox import DirectInbox, DirectReading
from asyncmachine.rpc.transport.inbox import wake

CONTROL: Final = 0xC1
BEAT, CLOSE, CREDIT = 0, 1, 2

BEAT_INTERVAL: Final = 10.0
"""Seconds of silence after which a beat is sent."""

SILENT_BEATS: Final = 10
"""Own beats without hearing anything after which the other side is dead."""

CREDIT_STEP: Final = HIGH_WATER // 4
"""Bytes that are read before credit is given."""

TRANSFER_FROM: Final = 4096
"""Bytes from which on a buffer is handed over; smaller ones are copied faster."""


class Wire(Protocol):
    """A port, as far as this transport needs it."""

    def listen(self, arrived: Callable[[bytes | None], None]) -> None:
        """Calls `arrived` for each message; None stands for one that is no Uint8Array."""

    def post(self, message: bytes) -> None:
        """Sends a message; never waits."""

    def close(self) -> None:
        """Lets the port go."""


class JsPort:
    """A MessagePort of JavaScript."""

    def __init__(self, port: Any) -> None:
        self._port = port
        self._proxy: Any = None

    def listen(self, arrived: Callable[[bytes | None], None]) -> None:
        from js import Uint8Array
        from pyodide.ffi import create_proxy

        def message(event: Any) -> None:
            data = event.data
            known = hasattr(data, "constructor") and data.constructor == Uint8Array
            arrived(data.to_bytes() if known else None)

        self._proxy = create_proxy(message)
        self._port.onmessage = self._proxy

    def post(self, message: bytes) -> None:
        from pyodide.ffi import to_js

        array = to_js(message)
        if len(message) < TRANSFER_FROM:
            self._port.postMessage(array)
        else:
            self._port.postMessage(array, to_js([array.buffer]))

    def close(self) -> None:
        self._port.onmessage = None
        self._port.close()
        # The close may come from the message handler itself, which must outlive its call.
        asyncio.get_running_loop().call_soon(self._proxy.destroy)


class PortTransport(DirectReading):
    """One end of a message channel. `port` is a MessagePort of JavaScript, or another `Wire`. Needs a running loop."""

    def __init__(self, port: Any, address: str = "") -> None:
        self.peer = Peer("port", address)
        self._wire: Wire = JsPort(port) if hasattr(port, "postMessage") else port
        self._inbox = DirectInbox(self._note_read)
        self._credit = HIGH_WATER
        self._read = 0
        self._writer: asyncio.Future[None] | None = None
        self._spoken = False
        self._silent = 0
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(BEAT_INTERVAL, self._beat)
        self._wire.listen(self._arrived)

    @property
    def closed(self) -> bool:
        """True once nothing can be sent any more."""
        return self._inbox.ended

    async def send(self, data: bytes) -> None:
        """Posts the message; waits before while 1 MiB is on its way."""
        if len(data) > MAX_FRAME:
            await self.close(FRAME_TOO_LARGE, f"a message of {len(data)} bytes")
        if data[:1] == b"\xc1":
            raise ValueError("a message cannot begin with the byte C1, which marks the transport's own ones")
        while self._credit <= 0 and not self.closed:
            self._writer = self._loop.create_future()
            await self._writer
        self._inbox.check()
        self._credit -= len(data)
        self._post(data)

    def send_now(self, messages: Sequence[bytes]) -> bool:
        """Posts messages that are not too large, if none of them has to wait. False: nothing was sent."""
        if self.closed or self._credit <= 0:
            return False
        for message in messages:
            self._credit -= len(message)
            self._post(message)
        return True

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Tells the other side, and lets the port go."""
        if not self.closed:
            self._post(bytes((CONTROL, CLOSE)) + code.to_bytes(2, "big") + reason.encode(errors="replace")[:512])
            self._end(code, reason)

    def lost(self, reason: str = "the other side is gone") -> None:
        """Ends it without a word: whoever was there has been terminated."""
        self._end(LOST, reason)

    def _note_read(self, messages: Sequence[bytes]) -> None:
        self._read += sum(map(len, messages))
        if self._read >= CREDIT_STEP and not self.closed:
            self._post(bytes((CONTROL, CREDIT)) + self._read.to_bytes(4, "big"))
            self._read = 0

    def _post(self, message: bytes) -> None:
        self._spoken = True
        self._wire.post(message)

    def _arrived(self, message: bytes | None) -> None:
        self._silent = 0
        if message is None:
            self._refuse(TEXT_FRAME, "only byte arrays are taken")
        elif len(message) > MAX_FRAME:
            self._refuse(FRAME_TOO_LARGE, f"a message of {len(message)} bytes")
        elif message[:1] == b"\xc1":
            self._told(message)
        else:
            self._inbox.arrive([message])

    def _told(self, message: bytes) -> None:
        kind, content = message[1:2], message[2:]
        if kind == bytes((CLOSE,)) and len(content) >= 2:
            self._end(int.from_bytes(content[:2], "big"), content[2:].decode(errors="replace"))
        elif kind == bytes((CREDIT,)) and len(content) == 4:
            self._credit += int.from_bytes(content, "big")
            wake(self._writer)
        elif kind != bytes((BEAT,)):
            self._refuse(TEXT_FRAME, "a control message that is not known")

    def _refuse(self, code: int, reason: str) -> None:
        if not self.closed:
            self._post(bytes((CONTROL, CLOSE)) + code.to_bytes(2, "big") + reason.encode())
            self._end(code, reason)

    def _beat(self) -> None:
        self._silent += 1
        if self._silent > SILENT_BEATS:
            self.lost("the other side is silent")
            return
        if not self._spoken:
            self._post(bytes((CONTROL, BEAT)))
        self._spoken = False
        self._timer = self._loop.call_later(BEAT_INTERVAL, self._beat)

    def _end(self, code: int, reason: str) -> None:
        if self._inbox.end(code, reason):
            self._timer.cancel()
            wake(self._writer)
            self._wire.close()
