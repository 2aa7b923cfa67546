"""Who shakes hands at a TLS listener, and who waits for it: somebody who is silent holds up nobody but himself.

A handshake takes memory, and as long as the other side wants, up to a limit. So there are only so many at a time, and
one address has a share of them. Its further connections wait, as those that come when all places are taken. If too many
wait, whoever has most of them loses the last one. Addresses of IPv6 count by /64.
"""

from __future__ import annotations

import socket
from collections import Counter
from typing import Final

from asyncmachine.rpc.transport.shares import FairQueue, share_of

AT_ONCE: Final = 128
"""Handshakes at a time."""

SHARE: Final = 16
"""Those of one address, this computer's own included."""

TIMEOUT: Final = 5.0
"""Seconds for one."""

IN_LINE: Final = 256
"""Connections that may wait for theirs."""


class Handshakes:
    """The order in which connections come to their handshakes."""

    __slots__ = ("_line", "_shaking")

    def __init__(self) -> None:
        self._line: FairQueue[socket.socket] = FairQueue()
        self._shaking: Counter[str] = Counter()

    def arrived(self, connected: socket.socket, host: str) -> None:
        """Takes a connection in. If that is one too many, one of them is closed."""
        self._line.put(share_of(host), connected)
        if len(self._line) > IN_LINE:
            self._line.drop().close()

    def next(self) -> tuple[str, socket.socket] | None:
        """The next one that may shake hands now, and the share it counts for until it is `done`."""
        if self._shaking.total() >= AT_ONCE:
            return None
        found = self._line.get(lambda share: self._shaking[share] < SHARE)
        if found is not None:
            self._shaking[found[0]] += 1
        return found

    def done(self, share: str) -> None:
        """A handshake is over, however it went."""
        self._shaking[share] -= 1
        if not self._shaking[share]:
            del self._shaking[share]

    def close(self) -> None:
        """Closes the connections that wait."""
        for _, connected in iter(self._line.get, None):
            connected.close()
