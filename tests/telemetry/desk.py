"""A receiver in this process that is dialled, in memory, and may be out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from asyncmachine.rpc.transport import Transport, TransportClosed
from asyncmachine.rpc.transport.memory import MemoryTransport, pair
from tests.telemetry.hearing import Listener


async def until(changed: asyncio.Event, condition: Callable[[], bool]) -> None:
    """Waits for a condition that can come true only when an event is set."""
    while not condition():
        await changed.wait()
        changed.clear()


class Desk:
    """`dial` connects to it. Each connection has its listener; reading can be stopped."""

    def __init__(self, *, is_out: bool = False) -> None:
        self.is_out = is_out
        self.dialled: list[float] = []
        self.listeners: list[Listener] = []
        self.ends: list[MemoryTransport] = []
        self.closed: list[TransportClosed] = []
        self.changed = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def dial(self) -> Transport:
        self.dialled.append(asyncio.get_running_loop().time())
        if self.is_out:
            raise TransportClosed(1006, "nobody there")
        near, far = pair()
        self.listeners.append(Listener())
        self.ends.append(far)
        task = asyncio.get_running_loop().create_task(self._read(far, self.listeners[-1]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return near

    @property
    def heard(self) -> Listener:
        """What came over the newest connection."""
        return self.listeners[-1]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for something that comes with a frame, or with the end of a connection."""
        await until(self.changed, condition)

    async def _read(self, transport: MemoryTransport, listener: Listener) -> None:
        while True:
            await self.reads.wait()
            try:
                listener.hear(await transport.recv())
            except TransportClosed as error:
                self.closed.append(error)
                return
            finally:
                self.changed.set()
