"""Unix sockets: for processes of one machine, with the file system's permissions."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from pathlib import Path

from asyncmachine.rpc.transport import TransportClosed
from asyncmachine.rpc.transport.backlog import ARRIVING
from asyncmachine.rpc.transport.certificates import ended_by
from asyncmachine.rpc.transport.socket_listener import SocketListener
from asyncmachine.rpc.transport.socket_transport import SocketTransport
from asyncmachine.rpc.transport.tcp import CONNECT_TIMEOUT


async def connect(path: str, *, timeout: float = CONNECT_TIMEOUT) -> SocketTransport:
    """Opens a connection to a Unix socket. Raises `TransportClosed` when that fails."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            _, transport = await loop.create_unix_connection(SocketTransport, path)
    except (OSError, TimeoutError) as error:
        raise ended_by(f"unix://{path}", error) from error
    return transport


async def listen(path: str, *, mode: int = 0o600) -> SocketListener:
    """Takes connections at a Unix socket, which only this user may use unless `mode` says otherwise.

    A socket file that nobody listens at is replaced. Raises `OSError` when the path cannot be had.
    """
    place = Path(path)
    await _sweep(place)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(path)
        # Nobody can connect before the mode is right: a socket that does not listen yet refuses.
        place.chmod(mode)  # noqa: ASYNC240 (as quick as making the socket)
        listening.listen(ARRIVING)
    except OSError:
        listening.close()
        raise
    return SocketListener(listening, f"unix://{path}", released=partial(place.unlink, missing_ok=True))


async def _sweep(path: Path) -> None:
    """Removes a socket file whose owner is gone. A crashed process leaves one."""
    if not path.is_socket():  # noqa: ASYNC240 (as quick as making the socket)
        return
    try:
        transport = await connect(str(path), timeout=1.0)
    except TransportClosed as error:
        if isinstance(error.__cause__, ConnectionRefusedError):
            path.unlink(missing_ok=True)  # noqa: ASYNC240 (see above)
    else:
        transport.abort()
        raise OSError(f"somebody else listens at {path}")
