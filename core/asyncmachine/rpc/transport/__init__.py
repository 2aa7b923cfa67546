"""The pipe that everything above runs on: whole messages, in order, until it closes.

Nothing above this package knows which kind of transport it has. A transport adds no message of its own that its reader
could see, delivers each message once and in order or closes, and slows a sender down when the other side does not read.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, runtime_checkable

from asyncmachine.machine.errors import AmError

MAX_FRAME: Final = 1 << 20
"""Bytes of the largest message. The smallest has one byte."""

HIGH_WATER: Final = 1 << 20
"""Bytes on their way in one direction before a sender has to wait."""

NORMAL, GOING_AWAY, TEXT_FRAME, LOST, FRAME_TOO_LARGE = 1000, 1001, 1003, 1006, 1009
"""Close codes, as WebSocket numbers them. `LOST` is never sent: the other side vanished without a word."""


NEAR: Final = frozenset(("memory", "port", "unix"))
"""Kinds of which both ends are on one computer: bytes cost little there, and nothing cuts them without a word."""


class TransportClosed(AmError):
    """The pipe has ended. `code` and `reason` are those of whoever closed it."""

    state = "ErrNetwork"

    def __init__(self, code: int = LOST, reason: str = "") -> None:
        super().__init__(f"closed with {code}{f' ({reason})' if reason else ''}")
        self.code = code
        self.reason = reason


class NotOpened(TransportClosed):
    """There never was a connection, or a listener; `str` is the reason alone."""

    def __init__(self, reason: str) -> None:
        super().__init__(LOST, reason)
        self.args = (reason,)


class CertificateRefused(TransportClosed):
    """The other side does not accept the certificate of this side, or wants one and there is none."""


def failed_dial(error: Exception, timeout: float | None = None) -> TransportClosed:
    """Whatever a dial function raised, as the end of a connection that never was."""
    if isinstance(error, TransportClosed):
        return error
    if isinstance(error, TimeoutError) and timeout is not None:
        text = f"no connection within {timeout:g} s"
    else:
        text = in_words(error)
    failure = NotOpened(text)
    # The system's errors are of the place, not of our lines.
    failure.__cause__ = error.with_traceback(None) if isinstance(error, OSError) else error
    return failure


def in_words(error: BaseException) -> str:
    """What went wrong, to whoever chose the address."""
    known = _WORDS.get(error.errno or 0) if isinstance(error, OSError) else None
    return known or str(error) or type(error).__name__


_WORDS: Final = {
    errno.EADDRINUSE: "the address is in use: end what listens there, or choose another",
    errno.ECONNREFUSED: "connection refused: nothing listens there",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as far as the transport can tell.

    `kind` is that of the transport, `id` was verified by whoever accepted the connection (empty when nobody did), and
    `grants` is what this peer was given with it. `names` are those of its certificate, if that was verified: the
    alternative names and then the common name, of which the first is the `id` as well.
    """

    kind: str
    address: str = ""
    id: str = ""
    grants: object | None = None
    names: tuple[str, ...] = ()


class Transport(Protocol):
    """One end of a pipe."""

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""

    @property
    def closed(self) -> bool:
        """True once nothing can be sent any more."""

    async def send(self, data: bytes) -> None:
        """Sends one message; waits while the pipe is full. Raises `TransportClosed`.

        A cancelled send may have sent the message.
        """

    async def recv(self) -> bytes:
        """The next message. Raises `TransportClosed` when there will be none. A cancelled recv loses nothing."""

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Ends the pipe. The second call does nothing."""


@runtime_checkable
class Warned(Protocol):
    """A transport that is told before it ends, by what carries it."""

    async def going_away(self) -> float:
        """Waits until it is told; returns in how many seconds it ends. Raises `TransportClosed` if it has ended."""


Take: TypeAlias = Callable[[list[bytes]], int]
"""Takes so many of the messages as it can in one turn of the event loop; the others come again in the next."""


class Direct(Transport, Protocol):
    """A transport that can do without the turns of the event loop which `send` and `recv` take. Not all can."""

    def send_now(self, messages: Sequence[bytes]) -> bool:
        """Sends messages in one go, if none of them has to wait. False: nothing was sent."""

    def deliver(self, take: Take | None) -> None:
        """Hands messages to `take` where they arrive, what has come already first; `recv` then tells only the end.

        None gives them to `recv` again.
        """


class Listener(Protocol):
    """A place where connections arrive. Made by a `Listen`."""

    @property
    def address(self) -> str:
        """Where it is, in the form that `addresses.dial` takes; a port that was given as 0 has its number."""

    async def accept(self) -> Transport:
        """The next connection. Raises `TransportClosed` once the listener is closed. A cancelled accept loses none."""

    async def close(self) -> None:
        """Takes no more connections; those that were accepted go on. The second call does nothing."""


Dial = Callable[[], Awaitable[Transport]]
"""Makes a new connection each time it is called. Raises `TransportClosed` or `OSError` when it cannot."""

Listen = Callable[[], Awaitable[Listener]]
"""Opens a listener each time it is called. Raises `TransportClosed` or `OSError` when it cannot."""


def given(transport: Transport) -> Dial:
    """A `Dial` for a connection that is there already."""

    async def dial() -> Transport:
        return transport

    return dial
