"""An inbox that can hand messages over where they arrive. Shared by the transports that are `Direct`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from asyncmachine.rpc.transport import Take
from asyncmachine.rpc.transport.inbox import Inbox

HANDED: Final = 1024
"""Messages of those that wait that are handed over at once. What is not taken of them has to be put back."""


class DirectInbox(Inbox):
    """Keeps what `take` leaves for the loop's next turn, in order. `read` is told of all messages that were read."""

    __slots__ = ("_read", "_take")

    def __init__(self, read: Callable[[Sequence[bytes]], None]) -> None:
        super().__init__()
        self._read = read
        self._take: Take | None = None

    def arrive(self, messages: list[bytes]) -> None:
        """Messages have come, at least one. After the end they are dropped."""
        if self._take is None or not self.empty:
            self.put_all(messages)
        elif not self.ended:
            self._hand(self._take, messages)

    def deliver(self, take: Take | None) -> None:
        """As that of `Direct`."""
        self._take = take
        if take is None:
            self.look()
        else:
            self._hand_out()

    async def get(self) -> bytes:
        """The next message. While there is a `take` it waits for the end."""
        while self._take is not None and not self.ended:
            await self.filled()
        message = await super().get()
        self._read((message,))
        return message

    def _hand(self, take: Take, messages: list[bytes]) -> None:
        taken = take(messages)
        if taken < len(messages):
            self.put_back(messages[taken:])
            messages = messages[:taken]
        if self._take is not None and not self.empty:
            asyncio.get_running_loop().call_soon(self._hand_out)
        self._read(messages)

    def _hand_out(self) -> None:
        """Gives `take` what waits."""
        if self._take is not None and not self.empty:
            self._hand(self._take, self.take(HANDED))


class DirectReading:
    """What a transport reads with that has such an inbox."""

    __slots__ = ()

    _inbox: DirectInbox

    async def recv(self) -> bytes:
        """The next message. What arrived before the end is still read."""
        return await self._inbox.get()

    def deliver(self, take: Take | None) -> None:
        """Hands messages to `take` where they arrive, what has come already first; `recv` then tells only the end.

        None gives them to `recv` again.
        """
        self._inbox.deliver(take)
