"""A planned change of connection: the next one is made while the first still works, and the session goes over to it.

::

    GOAWAY ─▶ dial ─▶ until nothing is under way, or the time is nearly over ─▶ HELLO ─▶ WELCOME: the next one counts
               ▲                                                                  │ refused, lost
               └───────────────────────────── pause ◀─────────────────────────────┘

Under way are calls without an answer, and a payload of which a part is here.

The first connection is the client's until WELCOME; the states of its machine stay as they are, and its mirror shows one
clock after the other. If nothing comes of it, the first one ends some time, and the client comes back as after a drop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from asyncmachine.rpc.backoff import Backoff
from asyncmachine.rpc.calling import Link
from asyncmachine.rpc.transport import GOING_AWAY, Transport, TransportClosed

SPARE: Final = 1.0
"""Seconds before the end at which open calls are waited for no longer; half of the time if that is less."""

SPREAD: Final = 1.0
"""Seconds over which the clients of one server dial; a quarter of the time if that is less."""


class Moving:
    """The change of one client. `dial()` makes a transport, `greet(transport)` begins a session on it and carries it.

    `next` is the connection that has said HELLO, and has no answer yet; `task` makes it.
    """

    __slots__ = ("_backoff", "_decided", "_dial", "_for_good", "_greet", "_pause", "next", "task")

    def __init__(
        self, dial: Callable[[], Awaitable[Transport]], greet: Callable[[Transport], Link], backoff: Backoff
    ) -> None:
        self.next: Link | None = None
        self._dial = dial
        self._greet = greet
        self._backoff = backoff
        self._decided: asyncio.Future[bool] | None = None
        self._pause = 0.0
        self._for_good = False
        self.task: asyncio.Task[None] | None = None

    def begin(self, first: Link, within: float) -> None:
        """Leaves this connection, which ends `within` so many seconds. Further requests count for nothing."""
        if self.task is None or self.task.done():
            self._pause, self._for_good = 0.0, False
            self.task = asyncio.get_running_loop().create_task(self._move(first, within))

    def stop(self) -> None:
        """The first connection has ended, or the client leaves: nothing is made any more."""
        if self.task is not None:
            self.task.cancel()
        if self.next is not None:
            self.next.session.bye()
            self.next.close(GOING_AWAY, "the client leaves")

    def refused(self, retry_after: float | None) -> None:
        """The server does not take the next connection: not now, or not at all."""
        self._for_good = retry_after is None
        self._pause = retry_after or 0.0

    def decide(self, *, welcomed: bool) -> None:
        """The next connection counts from now on, or has come to nothing."""
        self.next = None
        if self._decided is not None and not self._decided.done():
            self._decided.set_result(welcomed)

    async def decision(self) -> None:
        """Waits until it is known what becomes of the next connection, if there is one."""
        if self.next is not None and self._decided is not None:
            await asyncio.wait([self._decided])

    async def _move(self, first: Link, within: float) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        ends = begun + within
        latest = ends - min(SPARE, within / 2)
        await asyncio.sleep(random.random() * min(SPREAD, within / 4))
        attempt = 0
        while not self._for_good:
            try:
                transport = await self._dial()
            except TransportClosed:
                pass  # told by the next connection that is missed
            else:
                if await self._goes_over(first, transport, latest):
                    return
            delay = self._backoff.delay(attempt, loop.time() - begun)
            if delay is None or loop.time() >= ends:
                return
            attempt += 1
            await asyncio.sleep(max(delay, self._pause))

    async def _goes_over(self, first: Link, transport: Transport, latest: float) -> bool:
        loop = asyncio.get_running_loop()
        try:
            await until_idle(first, latest)
        except asyncio.CancelledError:
            await transport.close(GOING_AWAY)
            raise
        self._decided = loop.create_future()
        self.next = self._greet(transport)
        return await self._decided


async def until_idle(link: Link, latest: float) -> None:
    """Waits until nothing is under way on a connection, or until this time of the loop."""
    loop = asyncio.get_running_loop()
    calls = link.session.calls
    link.session.ask_arrived(loop.time())
    link.flush()
    while link.session.is_busy and loop.time() < latest:
        idle = asyncio.Event()
        calls.emptied = idle.set
        try:
            async with asyncio.timeout(max(0.0, latest - loop.time())):
                await idle.wait()
        except TimeoutError:
            return
        finally:
            calls.emptied = None
