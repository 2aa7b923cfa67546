"""A tunnel for many connections: each is served like a tunnel of its own, and ends for itself.

A page that calls (`dial`) opens connections, and the matcher serves each. For a page that is called (`listen`) the
matcher opens one for every caller, which only TCP targets do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncmachine as am
from asyncmachine.rpc.transport import NORMAL, TransportClosed
from asyncmachine.rpc.transport.many import Many, ManyConnection, ManyLimits
from asyncmachine_relay.limits import Limits, TokenBucket
from asyncmachine_relay.matchers import Matcher, Tunnel
from asyncmachine_relay.policy import Op, Reason, Refused
from asyncmachine_relay.states import TunnelStates

logger = logging.getLogger("asyncmachine.relay")

Note = Callable[[Tunnel, Exception], None]
"""Is told of a connection that failed."""


class Carrying:
    """One tunnel and its connections."""

    def __init__(self, tunnel: Tunnel, matcher: Matcher, limits: Limits, note: Note) -> None:
        self._tunnel = tunnel
        self._matcher = matcher
        self._note = note
        self._number = 0
        self._rate = TokenBucket(limits.opens_per_second, limits.opens_burst, asyncio.get_running_loop().time())
        self._serving: set[asyncio.Task[None]] = set()
        inside = ManyLimits(limits.connections, limits.window, limits.frame, 4 * limits.frame)
        self.many = Many(tunnel.transport, dialled=False, limits=inside)

    async def serve(self, tunnel: Tunnel) -> None:
        """Until the tunnel ends. Raises `Refused` when its target takes no more than one connection."""
        async with self.many:
            try:
                if tunnel.op is Op.DIAL:
                    await self._take_all()
                elif self._matcher.serve_many is None:
                    raise Refused(Reason.TARGET, "this target takes one connection; offer amrpc.v1")
                else:
                    await self._matcher.serve_many(tunnel, self._called)
            except Refused as refused:
                await self.many.close(refused.reason.close_code, refused.close_reason)
                raise
            finally:
                for task in self._serving:
                    task.cancel()
                if self._serving:
                    await asyncio.wait(self._serving)

    async def _take_all(self) -> None:
        while True:
            connection = await self.many.accept()
            if not self._rate.take(1, asyncio.get_running_loop().time()):
                await _refuse(connection, Refused(Reason.LIMIT, "too many connections a second; wait before the next"))
                continue
            task = asyncio.create_task(self._serve(connection), name=f"connection of {self._tunnel}")
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: ManyConnection) -> None:
        async with self._as_tunnel(connection) as tunnel:
            await self._matcher.serve(tunnel)

    @asynccontextmanager
    async def _called(self) -> AsyncIterator[Tunnel]:
        async with self._as_tunnel(self.many.open()) as tunnel:
            yield tunnel

    @asynccontextmanager
    async def _as_tunnel(self, connection: ManyConnection) -> AsyncIterator[Tunnel]:
        """A connection with a machine of its own. What goes wrong inside ends the connection and nothing else."""
        self._number += 1
        machine: am.Machine[TunnelStates] = am.Machine(
            TunnelStates,
            id=f"{self._tunnel.machine.id}-{self._number}",
            tags=("relay-connection",),
            parent=self._tunnel.machine,
        )
        machine.add([TunnelStates.Start, TunnelStates.Open])
        tunnel = replace(self._tunnel, transport=connection, machine=machine)
        try:
            yield tunnel
        except TransportClosed:
            pass  # how a matcher that reads on learns of the end
        except Refused as refused:
            await _refuse(connection, refused)
            self._note(tunnel, refused)
        except Exception as error:  # noqa: BLE001 (it is noted, and the others go on)
            await _refuse(connection, Refused(Reason.INTERNAL, f"the matcher of {tunnel.op}/{tunnel.target} failed"))
            self._note(tunnel, error)
        finally:
            await connection.close(NORMAL)
            machine.add(TunnelStates.Closed)
            machine.dispose()


async def _refuse(connection: ManyConnection, refused: Refused) -> None:
    await connection.close(refused.reason.close_code, refused.close_reason)
