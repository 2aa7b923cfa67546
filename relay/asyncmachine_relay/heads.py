"""Heads of requests that may be read in two ways, and so by a proxy in another way than here."""

from __future__ import annotations

import h11

_TWO_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})


class StrictConnection(h11.Connection):
    """h11's, which takes the second of two lengths where both are given, and goes on with what follows.

    A proxy in front that takes the first would see one request where there are two (RFC 9112, 6.1 and 11.2).
    """

    def next_event(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        event = super().next_event()
        if isinstance(event, h11.Request) and _TWO_LENGTHS.issubset([name for name, _ in event.headers]):
            raise h11.RemoteProtocolError("both Content-Length and Transfer-Encoding")
        return event
