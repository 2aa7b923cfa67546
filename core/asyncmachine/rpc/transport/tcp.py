"""TCP, in the open or through TLS."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl as tls
from typing import Any, Final

from asyncmachine.rpc.transport.backlog import ARRIVING
from asyncmachine.rpc.transport.certificates import ended_by
from asyncmachine.rpc.transport.socket_listener import SocketListener
from asyncmachine.rpc.transport.socket_transport import SocketTransport

CONNECT_TIMEOUT: Final = 5.0
"""Seconds for opening a connection, TLS included."""


async def connect(
    host: str, port: int, *, ssl: tls.SSLContext | None = None, timeout: float = CONNECT_TIMEOUT, **settings: Any
) -> SocketTransport:
    """Opens a TCP connection, through TLS with an `ssl` context. Raises `TransportClosed` when that fails.

    Further settings go to `loop.create_connection`, for instance `server_hostname` or `local_addr`.
    """
    loop = asyncio.get_running_loop()
    try:
        _check_loop(loop, ssl)
        async with asyncio.timeout(timeout):
            _, transport = await loop.create_connection(SocketTransport, host, port, ssl=ssl, **settings)
    except (OSError, TimeoutError) as error:
        raise ended_by(address_of("tls" if ssl else "tcp", host, port), error) from error
    return transport


async def listen(host: str = "127.0.0.1", port: int = 0, *, ssl: tls.SSLContext | None = None) -> SocketListener:
    """Takes TCP connections at an address (port 0: any free one), through TLS with an `ssl` context.

    A context with `verify_mode = ssl.CERT_REQUIRED` asks clients for certificates (mutual TLS); `peer.id` is then the
    first name in it, and `peer.names` are all; clients without a good one get `CertificateRefused`. Raises `OSError`
    when the address cannot be had.
    """
    loop = asyncio.get_running_loop()
    _check_loop(loop, ssl)
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, place = found[0]
    plain = socket.create_server((str(place[0]), int(place[1])), family=family, backlog=ARRIVING)
    # With the protocol named, asyncio sends what is written at once; else small messages wait for an acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=plain.detach())
    address = address_of("tls" if ssl else "tcp", host, listening.getsockname()[1])
    return SocketListener(listening, address, ssl)


def _check_loop(loop: asyncio.AbstractEventLoop, ssl: tls.SSLContext | None) -> None:
    """Raises `OSError` for TLS on another loop than asyncio's, where it would only hang."""
    if ssl is not None and not isinstance(loop, asyncio.BaseEventLoop):
        cure = "use asyncio's event loop, or let a proxy take the TLS"
        raise OSError(errno.ENOTSUP, f"no TLS on {type(loop).__module__}: {cure}")


def address_of(scheme: str, host: str, port: int) -> str:
    """The address in its written form; hosts of IPv6 go into brackets."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
