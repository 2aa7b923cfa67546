"""Runs a relay inside this process, on a listener that can be closed and opened again.

    bound = bind(port=14050)                      # another port, with a notice, if that one is busy
    async with RelayServer(relay, bound) as server:
        print(bound.notice or server.origin)

The app below it is the same that any ASGI server can run. What is added is order at the end: the listener closes first,
then the tunnels, each with a reason, then what is left. Signals are the caller's (`service` has them).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

import uvicorn

from asyncmachine_relay.app import Relay
from asyncmachine_relay.policy import RelayConfigError, is_direct_loopback, origin
from asyncmachine_relay.wire import WireConfig

logger = logging.getLogger("asyncmachine.relay")

BACKLOG = 2048
POLL = 0.01
"""Seconds between looks at whether the last connection has gone, when the server stops."""


class PortBusy(RelayConfigError):
    """Another program listens on the port."""


@dataclass(frozen=True)
class Bound:
    """A socket that listens; connections wait until the server runs.

    `notice` tells a person that it is not the port that was asked for.
    """

    socket: socket.socket
    host: str
    port: int
    notice: str = ""

    @property
    def origin(self) -> str:
        """The address that people open, and the Origin of the pages they get."""
        return origin(f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}")


def bind(host: str = "127.0.0.1", port: int = 0, *, move: bool = True, insecure: bool = False) -> Bound:
    """Binds a TCP socket and listens; port 0 is any free one.

    With `move` a busy port is replaced by a free one, and the notice says so; without it raises `PortBusy`. Raises
    `RelayConfigError` for a host that others can reach, unless it is `insecure`: what they send would cross the network
    in the clear. Put a proxy with TLS in front instead.
    """
    family, address = place_of(host, port, insecure=insecure)
    try:
        return Bound(listener := _listen(family, address), host, listener.getsockname()[1])
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise RelayConfigError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        if not move:
            raise PortBusy(f"port {port} of {host} is busy: end what listens there, or choose another") from error
    listener = _listen(family, (address[0], 0, *address[2:]))
    free = listener.getsockname()[1]
    return Bound(listener, host, free, f"port {port} is busy; listening on {free} instead")


def place_of(host: str, port: int, *, insecure: bool) -> tuple[int, tuple[Any, ...]]:
    """Address family and address where a relay would listen. Raises `RelayConfigError` as `bind` does."""
    if not 0 <= port <= 65535:  # the system would take it modulo 65536
        raise RelayConfigError(f"port {port} must be 0 (any free one) to 65535", field="port")
    try:
        known = "127.0.0.1" if host == "localhost" else host
        family, _, _, _, address = socket.getaddrinfo(known, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise RelayConfigError(f"host {host!r} cannot be resolved: {error}", field="host") from error
    if not insecure and not is_direct_loopback(str(address[0]), ""):
        wrong = f"host {host!r} can be reached by others: use 127.0.0.1 behind TLS, or insecure = true"
        raise RelayConfigError(wrong, field="host")
    return family, address


def _listen(family: int, address: tuple[Any, ...]) -> socket.socket:
    # With the protocol named, asyncio sends what is written at once; else small frames wait for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port of a moment ago is free
        listener.bind(address)
        listener.listen(BACKLOG)  # two sockets may bind one port, but only one of them listens
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class RelayServer:
    """A relay's listener. `start` and `stop` may follow each other any number of times, always on the same port.

    `bound` is used up by the first `start`; later ones bind its host and port again.
    """

    def __init__(self, relay: Relay, bound: Bound) -> None:
        self._relay = relay
        self._bound: Bound | None = bound
        self._host, self._port, self._origin = bound.host, bound.port, bound.origin
        self._server: _Server | None = None
        self._running: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    @property
    def origin(self) -> str:
        """As `http://127.0.0.1:14050`, without a slash at its end."""
        return self._origin

    @property
    def port(self) -> int:
        return self._port

    async def start(self) -> None:
        """Listens. Does nothing when it does already. Raises `PortBusy` if the port was taken between two starts."""
        async with self._changing:
            if self._running is not None:
                return
            # The host was judged when it was bound first.
            bound = self._bound or bind(self._host, self._port, move=False, insecure=True)
            self._bound = None
            self._relay.starting()
            server = _Server(WireConfig(self._relay.app, self._relay.limits, self._relay.proxies))
            running = asyncio.create_task(server.serve(sockets=[bound.socket]), name=f"relay on {self._origin}")
            up = asyncio.create_task(server.up.wait())
            await asyncio.wait({up, running}, return_when=asyncio.FIRST_COMPLETED)
            up.cancel()
            if running.done():
                bound.socket.close()
                await self._relay.stop()
                running.result()
            self._server, self._running = server, running
            self._relay.ready(self._origin)

    async def stop(self, *, drain: float = 0) -> None:
        """Closes the listener, then every tunnel with 1001, and waits until they and their matchers have ended.

        Before that it lets tunnels leave by themselves for `drain` seconds, while `/readyz` says that no new ones are
        taken. A peer that takes nothing more is dropped after `limits.close`. Does nothing when it does not listen.
        """
        if drain and self._running is not None:
            await self._relay.drain(drain)
        async with self._changing:
            running, server = self._running, self._server
            if running is None or server is None:
                return
            self._running = self._server = None
            server.close()
            await self._relay.stop()
            server.stopping.set()
            await running


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers, and with an end that takes as long as it must and no longer."""

    def __init__(self, config: WireConfig) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self.stopping = asyncio.Event()
        self._patience = config.limits.close

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def main_loop(self) -> None:
        """Ticks once a second, which keeps the Date header right."""
        tenths = 0
        while not (self.stopping.is_set() or await self.on_tick(tenths)):
            tenths += 10
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self.stopping.wait()

    def close(self) -> None:
        """Takes no further connection."""
        for listener in self.servers:
            listener.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Lets answers and closing handshakes come to their end, and drops what does not."""
        self.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while state.connections or state.tasks:  # noqa: ASYNC110 (they leave these sets without a word)
                    await asyncio.sleep(POLL)
        for connection in list(state.connections):
            connection.transport.abort()
        for task in state.tasks:
            task.cancel("the relay stops")
        if state.tasks:
            await asyncio.wait(state.tasks)
