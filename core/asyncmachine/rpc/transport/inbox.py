"""What has arrived at one end and waits to be read, and how the pipe ended. Shared by transports that are pushed to."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final

from asyncmachine.rpc.transport import TransportClosed

LEAST: Final = 64
"""Bytes that a message counts at least: a flood of tiny ones ends as well."""


class Inbox:
    """Messages in order for one reader. What came before the end is still read."""

    __slots__ = ("_ended", "_messages", "_reader", "size")

    def __init__(self) -> None:
        # None when empty: many inboxes are idle, and an empty deque takes most of a kilobyte.
        self._messages: deque[bytes] | None = None
        self._reader: asyncio.Future[None] | None = None
        self._ended: tuple[type[TransportClosed], int, str] | None = None
        self.size = 0
        """Bytes that wait, of each message `LEAST` at least."""

    @property
    def ended(self) -> bool:
        """True once nothing more can arrive."""
        return self._ended is not None

    def put(self, message: bytes) -> None:
        """Takes a message in, unless the pipe has ended."""
        if self._ended is None:
            if self._messages is None:
                self._messages = deque()
            self._messages.append(message)
            self.size += max(len(message), LEAST)
            wake(self._reader)

    def put_all(self, messages: Iterable[bytes]) -> None:
        """As `put`, for several."""
        for message in messages:
            self.put(message)

    def put_back(self, messages: list[bytes]) -> None:
        """Puts messages that were taken before those that wait."""
        if self._messages is None:
            self._messages = deque()
        self._messages.extendleft(reversed(messages))
        self.size += sum([max(len(message), LEAST) for message in messages])

    def look(self) -> None:
        """Lets the reader look again."""
        wake(self._reader)

    def take(self, most: int) -> list[bytes]:
        """The next messages, at most so many."""
        return [self.pop() for _ in range(min(most, len(self._messages or ())))]

    def end(
        self, code: int, reason: str = "", *, drop: bool = False, kind: type[TransportClosed] = TransportClosed
    ) -> bool:
        """Notes the end; with `drop` what was not read is lost. True for the first end; others do not count.

        `kind` is the error that the reader gets.
        """
        if drop:
            self._messages, self.size = None, 0
        if self._ended is not None:
            return False
        self._ended = (kind, code, reason)
        wake(self._reader)
        return True

    async def get(self) -> bytes:
        """The next message. Raises `TransportClosed` after the last one."""
        while self.empty:
            await self.filled()
        return self.pop()

    @property
    def empty(self) -> bool:
        """True if no message waits."""
        return self._messages is None

    def filled(self) -> asyncio.Future[None]:
        """To be awaited by the one reader while it is empty. Raises `TransportClosed` after the last message."""
        self.check()
        self._reader = asyncio.get_running_loop().create_future()
        return self._reader

    def pop(self) -> bytes:
        """The next message, of those that wait."""
        assert self._messages is not None
        message = self._messages.popleft()
        if not self._messages:
            self._messages = None
        self.size -= max(len(message), LEAST)
        return message

    def check(self) -> None:
        """Raises `TransportClosed` if the pipe has ended."""
        if self._ended is not None:
            kind, code, reason = self._ended
            raise kind(code, reason)


def wake(waiter: asyncio.Future[None] | None) -> None:
    """Lets whoever waits for this look again."""
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
