"""A native machine that changes a thousand times a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from threading import Event
from time import monotonic

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.counters import Statistics
from asyncmachine_relay import Tunnel


class States(rpc.StateSource):
    Hit = am.state(multi=True)


class Flood:
    """The native side: one machine, which changes from the first page on, whether that is still there or not, until it
    is told to pause.
    """

    def __init__(self) -> None:
        self.runs = Event()
        self.rests = Event()
        self.changes = 0
        """Right while it rests."""
        self._machine = am.Machine(States, id="flood")
        self._server: rpc.Server | None = None
        self._stop: Callable[[], object] = lambda: None

    async def serve(self, tunnel: Tunnel) -> None:
        if self._server is None:
            self._server = rpc.Server(self._machine, "flood", push_interval=0.01)
            pouring = asyncio.create_task(self._pour(self._machine))
            self._stop = partial(asyncio.get_running_loop().call_soon_threadsafe, pouring.cancel)
        await self._server.serve(tunnel.transport)

    def stop(self) -> None:
        """For good, while its loop still runs."""
        self._stop()

    async def _pour(self, machine: am.Machine[States]) -> None:
        last = monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = monotonic()
            if not self.runs.is_set():
                last = now
                self.rests.set()
                continue
            for _ in range(int((now - last) * 1000)):
                machine.add(States.Hit)
                self.changes += 1
                last += 0.001

    def pause(self) -> int:
        """Ends the changes; how many there were."""
        self.rests.clear()
        self.runs.clear()
        assert self.rests.wait(60)
        return self.changes

    @property
    def statistics(self) -> Statistics:
        """Of the page that there is, as its server has them."""
        assert self._server is not None
        (found,) = self._server.statistics().values()
        return found
