"""A tab as the server sees it, over all of its tunnels: the mirror of its machine, and what it has yet to hear."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from asyncmachine import rpc
from asyncmachine.rpc.states import ClientStates
from asyncmachine.rpc.transport import Transport
from asyncmachine.rpc.transport.tunnel import LEFT
from examples.wasm.states import Bar, Said

KEPT = 30.0
"""Seconds that a seat is kept for a tab that is not there; so long the tab keeps the session, too."""
NEVER = 10.0**9


class Seat:
    """Kept through cuts. `left` is called once the tab will not come back.

    A message that is under way when the connection is cut is sent again under its number in the session that goes on,
    so that the tab takes it once. The next one waits until it is known to have arrived.
    """

    def __init__(self, id: str, left: Callable[[], object]) -> None:
        self.client = rpc.Client(self._next_tunnel, Bar, id=id, dial_timeout=NEVER)
        self._tunnels: asyncio.Queue[Transport] = asyncio.Queue()
        self._unheard: asyncio.Queue[Said] = asyncio.Queue()
        self._left = left
        self._sitting = 0
        self._leaving: asyncio.TimerHandle | None = None
        self._telling = asyncio.create_task(self._tell(), name=f"seat-{id}")
        self.client.start()

    def hear(self, said: Said) -> None:
        """Tells the tab, now or when it is back."""
        self._unheard.put_nowait(said)

    @property
    def heard(self) -> int:
        """How many messages the tab's machine has taken."""
        return self.client.netmach.tick(Bar.Msg) // 2

    async def sit(self, tunnel: Transport) -> None:
        """Uses the tunnel until it ends."""
        if self._leaving is not None:
            self._leaving.cancel()
        self._sitting += 1
        self._tunnels.put_nowait(tunnel)
        self.client.retry_now()
        try:
            while True:
                ended = self.client.machine.when_next_active(ClientStates.Disconnected)
                if tunnel.closed:
                    ended.cancel()
                    return
                await ended
        finally:
            self._sitting -= 1
            self._stand_up()

    def leave(self) -> None:
        """The end, for good."""
        if self._leaving is not None:
            self._leaving.cancel()
        self._telling.cancel()
        self.client.machine.dispose()

    def _stand_up(self) -> None:
        if self._sitting or self.client.machine.is_disposed:
            return
        end = self.client.last_end
        gone = end is not None and end.reason == LEFT
        self._leaving = asyncio.get_running_loop().call_later(0 if gone else KEPT, self._left)

    async def _next_tunnel(self) -> Transport:
        return await self._tunnels.get()

    async def _tell(self) -> None:
        while True:
            said = await self._unheard.get()
            while True:
                await self.client.when_ready()
                try:
                    await self.client.netmach.add(Bar.Msg, said)
                except rpc.NotConnected:
                    continue  # it was not sent
                except rpc.RpcError:
                    pass  # refused, or it may have been heard: nothing is said twice
                break
