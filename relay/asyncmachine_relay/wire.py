"""uvicorn's protocols with the deadlines and manners that a public door needs.

Left alone, uvicorn has no deadline for a request that arrives byte by byte, closes sockets so fast that a page never
reads why, waits for ever to flush to a peer that reads nothing, and lets the WebSocket library log headers, tokens
among them. Each method here mends one of these and leaves everything else to its base class. The versions are pinned in
`constraints.txt`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import struct
from asyncio.transports import BaseTransport
from collections.abc import Callable, Sequence
from typing import Any, cast

import h11
import uvicorn
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Close, Frame, Opcode

from asyncmachine.rpc.transport import FRAME_TOO_LARGE, GOING_AWAY, LOST, NORMAL, TEXT_FRAME
from asyncmachine_relay.addresses import Network
from asyncmachine_relay.forwarding import is_trusted
from asyncmachine_relay.heads import StrictConnection
from asyncmachine_relay.holding import JOINED, Unsent
from asyncmachine_relay.limits import Limits, Sockets, TokenBucket
from asyncmachine_relay.policy import Reason, Refused
from asyncmachine_relay.websocket import WIRE

_BINARY = 0x82
_SHORT, _LONG = struct.Struct("!BBH"), struct.Struct("!BBQ")
_HEAD = re.compile(rb"GET [\x21-\x7e]+ HTTP/1\.1\r\n(?:[!#-'*+.0-9A-Z^-z|~-]+:[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n")
"""The whole head of a GET, and nothing after it."""
_WANTS_UPGRADE = re.compile(rb"(?i)\r\nupgrade:[\t ]*websocket[\t ]*\r\n")
_MAY_UPGRADE = re.compile(rb"(?i)\r\nconnection:[\t ]*(?:keep-alive,[\t ]*)?upgrade[\t ]*\r\n")

logger = logging.getLogger("asyncmachine.relay.wire")
# Below WARNING the base classes log addresses with their queries, and the library below them logs headers.
logger.setLevel(logging.WARNING)


def _is_an_error(record: logging.LogRecord) -> bool:
    """They call it an error of the application that its task is cancelled, as it is when the relay is in a hurry."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)


logger.addFilter(_is_an_error)


class WireConfig(uvicorn.Config):
    """uvicorn's settings for these protocols. Proxy headers are not believed, signals and logging are the caller's."""

    def __init__(self, app: Any, limits: Limits, proxies: Sequence[Network] = ()) -> None:
        super().__init__(
            app,
            http=HttpProtocol,
            ws=TunnelProtocol,
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=limits.head,
            ws_max_size=limits.frame,
            ws_ping_interval=limits.ping,
            ws_ping_timeout=limits.pong,
            # A kilobyte can inflate to a megabyte; aRPC compresses what is worth it, after the limits.
            ws_per_message_deflate=False,
        )
        self.limits = limits
        self.sockets = Sockets(limits, lambda address: is_trusted(address, proxies))


class HttpProtocol(H11Protocol):
    """HTTP with a deadline for the head of each request, which has one meaning."""

    config: WireConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = StrictConnection(h11.SERVER, self.config.limits.head)
        self.logger = self.access_logger = logger
        self.access_log = False
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._upgraded = False
        self._begun = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.config.sockets.enter(transport, self.client[0] if self.client else ""):
            self._expect_head()
        else:
            transport.abort()  # without a word, which would cost more than the caller spent

    def data_received(self, data: bytes) -> None:
        begun, self._begun = self._begun, True
        if not begun and self._is_upgrade(data):
            self._upgrade(data)
            return
        super().data_received(data)
        if self._upgraded:
            return
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.response_complete:
            # The first byte starts the time for a further request; the bytes after it do not prolong it.
            if self._deadline is None and not self.transport.is_closing():
                self._expect_head()
        else:
            self._head_is_here()

    def _is_upgrade(self, data: bytes) -> bool:
        """Whether this is the whole head of an upgrade, as pages send it: then one parser is enough.

        The base class reads it, writes it anew for the WebSocket's protocol, and that reads it again. Whatever looks
        different takes that way.
        """
        return (
            len(data) <= self.config.limits.head
            and data.startswith(b"GET ")
            and _WANTS_UPGRADE.search(data) is not None
            and _MAY_UPGRADE.search(data) is not None
            and _HEAD.fullmatch(data) is not None
        )

    def _upgrade(self, head: bytes) -> None:
        self._head_is_here()
        self._upgraded = True
        self.connections.discard(self)
        protocol = TunnelProtocol(self.config, self.server_state, self.app_state)
        protocol.connection_made(self.transport)
        protocol.data_received(head)
        self.transport.set_protocol(protocol)

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._head_is_here()
        self._upgraded = True
        super().handle_websocket_upgrade(event)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.config.limits.congested, self.transport.abort)

    def resume_writing(self) -> None:
        self._flows_again()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.config.sockets.leave(self.transport)
        self._head_is_here()
        self._flows_again()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(self.config.limits.upgrade, self.transport.abort)

    def _flows_again(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _head_is_here(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class TunnelProtocol(WebSocketsSansIOProtocol):
    """A WebSocket whose every end is one that the peer can read, and that does end.

    It is a `websocket.Wire` too: once attached, messages pass without the application's queue and tasks.
    """

    config: WireConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = logger
        self.conn.logger = logger
        self.conn.debug = False
        self._last_call: asyncio.TimerHandle | None = None
        self._unsent = 0
        self._waits: Unsent
        self._others: TokenBucket | None = None
        self._heard = False
        self._arrived: Callable[[bytes], None] | None = None
        self._room: Callable[[], None] | None = None

    # What a `Wire` does

    def attach(self, arrived: Callable[[bytes], None], room: Callable[[], None]) -> None:
        self._arrived, self._room = arrived, room
        self.hold(on=False)  # what came before stopped the reading; from now on `arrived` decides
        later = []
        while not self.queue.empty():
            message = self.queue.get_nowait()
            if message["type"] == "websocket.receive":
                arrived(message["bytes"] or b"")
            else:
                later.append(message)
        for message in later:
            self.queue.put_nowait(message)

    def write(self, data: bytes) -> bool:
        if self.close_sent or self.transport.is_closing():
            raise ConnectionResetError("the WebSocket has ended")
        if not self.writable.is_set():
            return False
        size = len(data)
        if size < 126:
            head = bytes((_BINARY, size))
        elif size < 1 << 16:
            head = _SHORT.pack(_BINARY, 126, size)
        else:
            head = _LONG.pack(_BINARY, 127, size)
        if size <= JOINED:
            self.transport.write(head + data)
        else:
            self.transport.writelines((head, data))
        self._waits.wrote()
        return True

    def hold(self, *, on: bool) -> None:
        if on is not self.read_paused and not self.transport.is_closing():
            self.read_paused = on
            if on:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def send_receive_event_to_app(self) -> None:
        if self._arrived is None:
            super().send_receive_event_to_app()
            return
        parts, self.frames = self.frames, []
        if not self.close_sent:
            self._arrived(parts[0] if len(parts) == 1 else b"".join(parts))

    def resume_writing(self) -> None:
        self._waits.resumed()
        super().resume_writing()
        if self._room is not None:
            self._room()

    # uvicorn's part, mended

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        scope = getattr(self, "scope", None)  # none for a request that was turned away
        if scope is not None:  # the application has not begun to run
            scope["headers"] = [(name.lower(), value) for name, value in scope["headers"]]
            scope["extensions"][WIRE] = self

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._waits = Unsent(self.transport, self.config.limits)

    def data_received(self, data: bytes) -> None:
        if self._last_call is not None and self.conn.parser_exc is not None:
            return  # the peer is still sending what was refused
        self._heard = True
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # Headers that the HTTP parser took and the WebSocket library does not.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_text(self, event: Frame) -> None:
        """Refused before it is decoded, which may fail."""
        self._fail(Refused(Reason.TEXT, "text frames are not taken; send binary ones"), TEXT_FRAME)

    def handle_parser_exception(self) -> None:
        """The peer broke the WebSocket protocol, or announced a frame beyond the limit."""
        self.conn.data_to_send()  # the library's close frame, with a reason of its own
        code = self.conn.close_sent.code if self.conn.close_sent is not None else Reason.BAD_FRAME.close_code
        if code == FRAME_TOO_LARGE:
            refused = Refused(Reason.TOO_LARGE, f"a frame has at most {self.config.limits.frame} bytes; send chunks")
        else:
            refused = Refused(Reason.BAD_FRAME, "not a WebSocket frame")
        self._fail(refused, code)

    def handle_cont(self, event: Frame) -> None:
        if event.fin or self._may_go_on():  # the last part makes a message, and that is counted as one
            super().handle_cont(event)

    def handle_ping(self) -> None:
        pong = b"".join(self.conn.data_to_send())
        # Who takes no pong gets none: they would pile up.
        if self._may_go_on() and self.writable.is_set():
            self.transport.write(pong)
            self._waits.wrote()

    def handle_pong(self, event: Frame) -> None:
        if self._may_go_on():
            super().handle_pong(event)

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._end_soon()

    def send_keepalive_ping(self) -> None:
        self._heard = False
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        if self.read_paused or self._heard:
            # The pong may be among what we do not read, or not yet: who sends faster than it may has it behind all
            # that waits. How long a tunnel may go without a whole frame is its own deadline.
            self._heard = False
            self.pong_timer = self.loop.call_later(self.config.limits.pong, self.keepalive_timeout)
            return
        self.pong_timer = None
        refused = Refused(Reason.DEADLINE, f"no pong for {self.config.limits.pong:g} s; dial again")
        self._fail(refused, refused.reason.close_code)

    def connection_lost(self, exc: Exception | None) -> None:
        self.config.sockets.leave(self.transport)
        if self._last_call is not None:
            self._last_call.cancel()
        if self.conn.close_rcvd is None and not self.close_sent:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": LOST})
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops. Tunnels were closed before; this is for what slipped through."""
        self.stop_keepalive()
        if not self.handshake_complete:
            super().shutdown()
        elif not self.close_sent:
            self._close(GOING_AWAY, Refused(Reason.SHUTDOWN, "the relay stops; dial again").close_reason)
        self._end_soon()

    async def send(self, message: ASGISendEvent) -> None:
        """A close frame does not wait until the peer has taken what is before it: it lines up behind that."""
        if message["type"] != "websocket.close":
            await super().send(message)
        elif not self.handshake_complete or self.disconnected or self.close_sent:
            self._end_soon()
            await super().send(message)
        else:
            if not self.transport.is_closing():
                self._close(message.get("code", NORMAL), message.get("reason") or "")
            self._end_soon()

    def _may_go_on(self) -> bool:
        """Counts a frame that is no message. There is a limit for messages, which these would all pass under."""
        if self.close_sent:
            return False
        most, now = self.config.limits.frames_per_second, self.loop.time()
        if self._others is None:
            self._others = TokenBucket(most, most, now)
        if self._others.take(1, now):
            return True
        refused = Refused(Reason.LIMIT, f"more than {most} control frames or parts of messages a second")
        self._fail(refused, refused.reason.close_code)
        return False

    def _fail(self, refused: Refused, code: int) -> None:
        """Closes for what the peer sent, and keeps reading until it has read why.

        A socket that is closed with unread bytes is reset, and a reset overtakes the close frame: the page would see
        1006.
        """
        if not self.close_sent and not self.transport.is_closing():
            self.conn.fail(code)
            self.conn.data_to_send()
            self._close(code, refused.close_reason, refused)
            if self.transport.can_write_eof():
                self.transport.write_eof()
        self.read_paused = False
        self.transport.resume_reading()
        self._end_soon()

    def _close(self, code: int, reason: str, refused: Refused | None = None) -> None:
        """Writes a close frame past the library, which lets nobody choose the reason of a failure."""
        message = {"type": "websocket.disconnect", "code": code, "reason": reason, "refused": refused}
        self.queue.put_nowait(cast(Any, message))
        frame = Frame(Opcode.CLOSE, Close(code, reason).serialize())
        self.transport.write(frame.serialize(mask=False))
        self.close_sent = True
        self.hold(on=False)  # the peer's own close frame comes last

    def _end_soon(self) -> None:
        """From here on the connection lives while the peer takes what was sent, and `limits.close` beyond that."""
        if self._last_call is None:
            self.stop_keepalive()
            self._unsent = self.transport.get_write_buffer_size()
            self._wait_for_the_end()

    def _wait_for_the_end(self) -> None:
        self._last_call = self.loop.call_later(self.config.limits.close, self._end_or_wait)
        # The base class closes the socket as soon as the app returns, unless a timer of its own is set.
        self.close_timer = self._last_call

    def _end_or_wait(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent < self._unsent:
            self._unsent = unsent
            self._wait_for_the_end()
        else:
            self.transport.abort()
