"""Matchers for TCP targets: `Dialled` connects to one for the page, `Listened` waits for who calls the page."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from asyncmachine.rpc.transport import TransportClosed
from asyncmachine_relay.address_files import AddressFiles
from asyncmachine_relay.addresses import Address
from asyncmachine_relay.bridge import bridge
from asyncmachine_relay.limits import Limits
from asyncmachine_relay.matchers import Matcher, Serving, Tunnel
from asyncmachine_relay.policy import Op, Reason, Refused
from asyncmachine_relay.resolving import Resolve, addresses_of, system_resolver
from asyncmachine_relay.states import ListeningTunnelStates, TunnelStates
from asyncmachine_relay.targets import Target
from asyncmachine_relay.tcp import FramedEnd, RawEnd, TcpEnd
from asyncmachine_relay.waiting import left, may_idle

logger = logging.getLogger("asyncmachine.relay")

BACKLOG = 16


@dataclass(frozen=True)
class Bridges:
    """What all bridges share."""

    limits: Limits
    files: AddressFiles | None = None
    resolve: Resolve = system_resolver

    def end(self, target: Target) -> TcpEnd:
        """A new TCP end of the target's kind."""
        return RawEnd(self.limits) if target.raw else FramedEnd(self.limits)


class Usage:
    """How many connections a target has, of all tunnels together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._now = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """One of them, for as long as this is entered. Raises `Refused` when it would be one too many."""
        if self._most and self._now >= self._most:
            raise Refused(Reason.LIMIT, "this target has all the connections it may have; try again later")
        self._now += 1
        try:
            yield
        finally:
            self._now -= 1


@dataclass(frozen=True)
class Dialled:
    """`/dial/<id>/<target>`: a connection to the target."""

    target: Target
    bridges: Bridges
    usage: Usage
    states: ClassVar[type[TunnelStates]] = TunnelStates
    serve_many: ClassVar[None] = None

    def fits(self, id: str, target: str) -> bool:
        return self.target.fits(Op.DIAL, id, target)

    async def serve(self, tunnel: Tunnel) -> None:
        """One connection, until both ends have ended. Raises `Refused`."""
        limits = self.bridges.limits
        [port] = self.target.ports_for(Op.DIAL, tunnel.target) or [0]
        with self.usage.one():
            try:
                async with asyncio.timeout(limits.connect):
                    far = await self._connect(port, await addresses_of(self.target, self.bridges.resolve))
            except TimeoutError:
                raise Refused(Reason.UNREACHABLE, f"the target did not answer within {limits.connect:g} s") from None
            await bridge(tunnel.transport, far, tunnel.machine)

    async def _connect(self, port: int, addresses: list[Address]) -> TcpEnd:
        loop = asyncio.get_running_loop()
        for address in addresses:
            with suppress(OSError):
                # A literal address: there is nothing left to resolve.
                _, far = await loop.create_connection(partial(self.bridges.end, self.target), str(address), port)
                return far
        raise Refused(Reason.UNREACHABLE, "the target does not answer; try again later")


@dataclass(frozen=True)
class Listened:
    """`/listen/<id>/<target>`: a port for the one who calls the page. It is open until somebody does."""

    target: Target
    bridges: Bridges
    usage: Usage
    states: ClassVar[type[TunnelStates]] = ListeningTunnelStates

    def fits(self, id: str, target: str) -> bool:
        return self.target.fits(Op.LISTEN, id, target)

    async def serve(self, tunnel: Tunnel) -> None:
        """One caller, until both ends have ended. Raises `Refused`."""
        may_idle(tunnel, allowed=True)
        with self._listening(tunnel) as listener:
            far = await self._accept(listener, tunnel)
        try:
            may_idle(tunnel, allowed=False)
            tunnel.machine.add(ListeningTunnelStates.TcpAccepted)
            with self.usage.one():
                await bridge(tunnel.transport, far, tunnel.machine)
        finally:
            far.abort()

    async def serve_many(self, tunnel: Tunnel, called: Callable[[], Serving]) -> None:
        """Every caller is a connection, as many as there may be at a time. Raises `Refused`, `TransportClosed`."""
        may_idle(tunnel, allowed=True)
        free = asyncio.Semaphore(self.bridges.limits.connections)
        carried: set[asyncio.Task[None]] = set()
        try:
            with self._listening(tunnel) as listener:
                while True:
                    await free.acquire()  # whoever is too many waits in the kernel's queue, and then outside
                    far = await self._accept(listener, tunnel)
                    tunnel.machine.add(ListeningTunnelStates.TcpAccepted)
                    task = asyncio.create_task(self._carry(far, called))
                    carried.add(task)
                    task.add_done_callback(carried.discard)
                    task.add_done_callback(lambda _: free.release())
        finally:
            for task in carried:
                task.cancel()
            if carried:
                await asyncio.wait(carried)

    async def _carry(self, far: TcpEnd, called: Callable[[], Serving]) -> None:
        try:
            async with called() as connection:
                with self.usage.one():
                    await bridge(connection.transport, far, connection.machine)
        except TransportClosed:
            pass  # the tunnel ended just now
        finally:
            far.abort()

    @contextmanager
    def _listening(self, tunnel: Tunnel) -> Iterator[socket.socket]:
        """An open port, and the file that tells where, for as long as this is entered. Raises `Refused`."""
        with ExitStack() as stack:
            listener = stack.enter_context(self._bind(tunnel))
            host, port = listener.getsockname()[:2]
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            if self.bridges.files is not None:
                stack.enter_context(self.bridges.files.holding(tunnel.id, address))
            tunnel.machine.add(ListeningTunnelStates.TcpListening)
            logger.info("%s listens on %s", tunnel, address)
            yield listener

    def _bind(self, tunnel: Tunnel) -> socket.socket:
        ports = self.target.ports_for(Op.LISTEN, tunnel.target) or range(0)
        host = "127.0.0.1" if self.target.host == "localhost" else self.target.host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        for port in ports:
            listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((host, port))
                listener.listen(BACKLOG)
                listener.setblocking(False)
            except OSError as error:
                listener.close()
                if error.errno != errno.EADDRINUSE:
                    raise Refused(Reason.UNREACHABLE, "the target's address cannot be listened on") from error
            else:
                return listener
        raise Refused(Reason.DUPLICATE, "every port of this target is taken; close another tunnel, or try again later")

    async def _accept(self, listener: socket.socket, tunnel: Tunnel) -> TcpEnd:
        """The first caller. Raises `TransportClosed` when the page leaves before there is one."""
        loop = asyncio.get_running_loop()
        accepting = loop.create_task(loop.sock_accept(listener), name=f"a caller of {tunnel}")
        leaving = loop.create_task(left(tunnel))
        try:
            await asyncio.wait({accepting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not accepting.done():
                leaving.result()
            connected, _ = await accepting
        finally:
            accepting.cancel()
            leaving.cancel()
        _, far = await loop.connect_accepted_socket(partial(self.bridges.end, self.target), connected)
        return far


def matchers_of(targets: Iterable[Target], bridges: Bridges) -> dict[Op, tuple[Matcher, ...]]:
    """What answers each op for these targets, in their order."""
    found: dict[Op, list[Matcher]] = {op: [] for op in Op}
    for target in targets:
        usage = Usage(target.connections)
        if Op.DIAL in target.ops:
            found[Op.DIAL].append(Dialled(target, bridges, usage))
        if Op.LISTEN in target.ops:
            found[Op.LISTEN].append(Listened(target, bridges, usage))
    return {op: tuple(matchers) for op, matchers in found.items()}
