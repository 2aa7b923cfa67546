"""Addresses as texts, for settings and command lines::

    tcp://127.0.0.1:4567      tls://example.org:4567      unix:///run/app.sock      ws://127.0.0.1:8080/      wss://…

They come from whoever runs the program. None is ever taken from a peer.
"""

from __future__ import annotations

import ssl as tls
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from asyncmachine.machine.errors import AmError
from asyncmachine.rpc.transport import Dial, Listen, Listener, Transport


class AddressError(AmError):
    """A text that is no address, with the reason."""


@dataclass(frozen=True, slots=True)
class Address:
    """One address. `path` is that of a Unix socket, or of a WebSocket's URL."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads an address. Raises `AddressError`."""
        parts = urlsplit(text)
        reader = _READERS.get(parts.scheme)
        if reader is None:
            raise AddressError(f"{text!r}: expected one of {', '.join(f'{scheme}://' for scheme in _READERS)}")
        return reader(text, parts)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{self.path}" if not host else f"{self.scheme}://{host}:{self.port}{self.path}"


def dial(address: str, *, ssl: tls.SSLContext | None = None, **settings: Any) -> Dial:
    """A function that connects there each time it is called.

    `ssl` holds the certificates for `tls` and `wss`; without one the system's authorities are trusted. Further settings
    go to the `connect` function of the transport. Raises `AddressError`.
    """
    parsed = Address.parse(address)
    encrypted = parsed.scheme in ("tls", "wss")
    if ssl is not None and not encrypted:
        raise AddressError(f"{address!r} is not encrypted, so a context for TLS has no place: use tls:// or wss://")
    if encrypted:
        ssl = ssl or tls.create_default_context()

    async def connect() -> Transport:
        if parsed.scheme in ("ws", "wss"):
            from asyncmachine.rpc.transport import websocket

            return await websocket.connect(str(parsed), ssl=ssl, **settings)
        from asyncmachine.rpc.transport import tcp, unix

        if parsed.scheme == "unix":
            return await unix.connect(parsed.path, **settings)
        return await tcp.connect(parsed.host, parsed.port, ssl=ssl, **settings)

    return connect


def listen(address: str, *, ssl: tls.SSLContext | None = None, **settings: Any) -> Listen:
    """A function that opens a listener there. Port 0 takes any free one; the listener's `address` tells which.

    `ssl` is needed for `tls` and `wss`. Further settings go to the `listen` function of the transport. Raises
    `AddressError`.
    """
    parsed = Address.parse(address)
    encrypted = parsed.scheme in ("tls", "wss")
    if ssl is not None and not encrypted:
        raise AddressError(f"{address!r}: a context for TLS goes with tls:// and wss://, and with no other scheme")
    if ssl is None and encrypted:
        raise AddressError(
            f"{address!r} needs a certificate, and none is given: use rpc.listen(address, ssl=context) in its place"
        )

    async def open_listener() -> Listener:
        if parsed.scheme in ("ws", "wss"):
            from asyncmachine.rpc.transport import websocket

            return await websocket.listen(parsed.host, parsed.port, ssl=ssl, **settings)
        from asyncmachine.rpc.transport import tcp, unix

        if parsed.scheme == "unix":
            return await unix.listen(parsed.path, **settings)
        return await tcp.listen(parsed.host, parsed.port, ssl=ssl, **settings)

    return open_listener


def _read_host(text: str, parts: SplitResult) -> Address:
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressError(f"{text!r}: {error}") from None
    if not host or port is None or parts.username is not None or parts.query or parts.fragment:
        raise AddressError(f"{text!r}: expected {parts.scheme}://host:port, and nothing about users or queries")
    is_url = parts.scheme in ("ws", "wss")
    if parts.path not in ("", "/") and not is_url:
        raise AddressError(f"{text!r}: {parts.scheme} has no paths, got {parts.path!r}")
    return Address(parts.scheme, host, port, (parts.path or "/") if is_url else "")


def _read_path(text: str, parts: SplitResult) -> Address:
    if parts.netloc or not parts.path:
        raise AddressError(f"{text!r}: expected unix:///path/of/the.sock")
    return Address("unix", path=parts.path)


_READERS: dict[str, Callable[[str, SplitResult], Address]] = {
    "tcp": _read_host,
    "tls": _read_host,
    "unix": _read_path,
    "ws": _read_host,
    "wss": _read_host,
}
