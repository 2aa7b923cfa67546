"""What two sides may do with each other beyond the first release: HELLO offers, WELCOME chooses, both keep to that.

A feature is a message, or a form of one, that a peer may not know. A name that is not known here is skipped: it is not
chosen, and so not used.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

CHUNKS: Final = "chunks"
"""The server sends payloads that are larger than a frame by CHUNK. Without it they fail."""

GROWN: Final = "grown"
"""The server tells by GROWN that the source has more states. Without it the client has to come back to learn that."""

STEPS: Final = "steps"
"""The server tells each transition by CLOCK_STEPS, if HELLO asks for that. Without it clocks come as to all others."""

ZLIB: Final = "zlib"
"""Both sides may send frames of more than 1 KiB as COMPRESSED; the server from WELCOME on."""

GOAWAY: Final = "goaway"
"""Either side may tell by GOAWAY that the connection is about to end."""

ASK: Final = "ask"
"""The client may ask by ARGS and CAN."""

UPSTREAM: Final = "upstream"
"""The server of a mirror tells, in WELCOME and by UPSTREAM, whether that is cut off from its own source."""

KNOWN: Final = (CHUNKS, GROWN, STEPS, ZLIB, GOAWAY, ASK, UPSTREAM)
"""What is spoken here, in the order in which it is offered and chosen."""

_WITHOUT_ZLIB: Final = tuple([name for name in KNOWN if name != ZLIB])


@lru_cache(maxsize=64)  # so that sessions share their lists
def known(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the names that are known here."""
    return tuple([name for name in KNOWN if name in names])


def offered(*, zlib: bool) -> tuple[str, ...]:
    """What a client offers: all that it knows, but for what it does not want."""
    return KNOWN if zlib else _WITHOUT_ZLIB


@lru_cache(maxsize=64)
def chosen(offered: tuple[str, ...], *, steps: bool, zlib: bool, upstream: bool) -> tuple[str, ...]:
    """What a server answers to an offer: what it knows as well, and has a use for in this session."""
    unused = {STEPS: not steps, ZLIB: not zlib, UPSTREAM: not upstream}
    return tuple([name for name in KNOWN if name in offered and not unused.get(name)])
