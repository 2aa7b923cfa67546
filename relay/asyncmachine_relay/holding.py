"""What bytes cost that wait in this process: messages that nobody has taken, and writes that have not left.

The marks of an event loop count bytes alone. For a loop that keeps what is written piece by piece, a mebibyte of tiny
messages is fifty of memory.
"""

from __future__ import annotations

import asyncio

from asyncmachine_relay.limits import Limits

OVERHEAD = 64
"""Bytes that a message takes beside its content; else a flood of tiny ones would pass for little."""
WRITE = 256
"""Bytes that a write takes beside its content until it has left."""
JOINED = 512
"""Up to here a message is copied behind its head, which takes less memory than two pieces do, and no more time."""


class Unsent:
    """The marks of a transport: it lets its protocol wait for too many writes, too, not only for too many bytes.

    The protocol says `wrote` after each write and `resumed` in its `resume_writing`.
    """

    def __init__(self, transport: asyncio.WriteTransport, limits: Limits) -> None:
        self._transport = transport
        self._limits = limits
        self._most = max(1, limits.buffer_high // WRITE)
        self._left = self._most
        self._narrow = False
        self._widen()

    def wrote(self) -> None:
        """Counts a write. Looks once in a while whether as many may still be there, and if so pauses the protocol."""
        self._left -= 1
        if not self._left:
            self._left = self._most
            waiting = self._transport.get_write_buffer_size()
            if waiting and not self._transport.is_closing():
                self._narrow = True
                low = waiting // 4
                self._transport.set_write_buffer_limits(high=low, low=low)

    def resumed(self) -> None:
        """The protocol may write again."""
        if self._narrow:
            self._narrow = False
            if not self._transport.is_closing():
                self._widen()

    def _widen(self) -> None:
        self._transport.set_write_buffer_limits(high=self._limits.buffer_high, low=self._limits.buffer_low)
