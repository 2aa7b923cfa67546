"""Heads of requests that h11 takes and a relay does not: those of two meanings, and those that are too long."""

from __future__ import annotations

import h11

_TWO_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})


class StrictConnection(h11.Connection):
    """h11's, which takes the second of two lengths where both are given, and goes on with what follows.

    A proxy in front that takes the first would see one request where there are two (RFC 9112, 6.1 and 11.2). And its
    limit is for what is not whole yet: a head that comes at once may have any size.
    """

    def __init__(self, our_role: type[h11.CLIENT | h11.SERVER], most: int) -> None:
        super().__init__(our_role, most)
        self._most = most

    def next_event(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        event = super().next_event()
        if isinstance(event, h11.Request):
            headers = event.headers.raw_items()
            if len(event.target) + sum([len(name) + len(value) for name, value in headers]) > self._most:
                raise h11.RemoteProtocolError("a head that is too long")
            if _TWO_LENGTHS.issubset([name for name, _ in event.headers]):
                raise h11.RemoteProtocolError("both Content-Length and Transfer-Encoding")
        return event
