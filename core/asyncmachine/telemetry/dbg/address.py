"""Where the recorder is. The one place that knows the transports of aRPC, by their public side."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from asyncmachine.machine.settings import DEBUGGER_ADDRESS
from asyncmachine.rpc.transport import Dial, Transport, TransportClosed, failed_dial
from asyncmachine.telemetry.dbg.errors import AddressError

__all__ = ["PATH", "Dial", "Transport", "TransportClosed", "dial_to", "failed_dial", "url_of"]

PATH: Final = "/dbg.ws"
"""Where a relay takes the stream."""

IN_BROWSER: Final = sys.platform == "emscripten"


def url_of(address: str, page: Callable[[], str] | None = None) -> str:
    """The URL that an address stands for. Raises `AddressError`.

    ``1`` is this host's recorder at its usual port, ``host:port`` one at another place, a path such as ``/dbg.ws`` the
    server that the page comes from (`page` tells its address), and a URL is itself.
    """
    text = address.strip()
    if text == "1":
        text = DEBUGGER_ADDRESS
    if text.startswith("/"):
        origin = urlsplit((page or page_address)())
        if origin.scheme not in ("http", "https") or not origin.netloc:
            raise AddressError(f"{address!r} is relative to a page, and {origin.geturl()!r} is none")
        return f"{'wss' if origin.scheme == 'https' else 'ws'}://{origin.netloc}{text}"
    parts = urlsplit(text if "://" in text else f"ws://{text}")
    try:
        port = parts.port
    except ValueError as error:
        raise AddressError(f"{address!r}: {error}") from None
    bare = "://" not in text
    if parts.scheme not in ("ws", "wss") or not parts.hostname or (bare and port is None):
        raise AddressError(f"{address!r} is no address of a recorder: give 1, host:port, or ws://host:port{PATH}")
    if parts.username is not None or parts.fragment:
        raise AddressError(f"{address!r}: an address of a recorder has neither a user nor a fragment")
    return parts._replace(path=parts.path if parts.path not in ("", "/") else PATH).geturl()


def page_address() -> str:
    """The address of the page or worker this runs in. Raises `AddressError` elsewhere."""
    if not IN_BROWSER:
        raise AddressError("there is no page here: give the whole address, ws://host:port/dbg.ws")
    from js import location

    return str(location.href)


def dial_to(url: str) -> Dial:
    """A function that connects there, natively or from a page."""

    def connect() -> Awaitable[Transport]:
        if IN_BROWSER:
            from asyncmachine.rpc.transport import browser

            return browser.connect(url)
        from asyncmachine.rpc.transport import websocket

        return websocket.connect(url)

    return connect
