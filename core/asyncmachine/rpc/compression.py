"""Large frames made smaller, one by one: a COMPRESSED frame holds another one.

Only where bytes travel a network: in memory, through a MessagePort or a socket of this computer they cost less than the
work of packing them. Mutations, answers and most pushes are far below `SMALL`, and are sent as they are. Pyodide has
zlib built in, so a page pays no byte for it.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

from asyncmachine.rpc.codec import encode
from asyncmachine.rpc.errors import Code, PeerFault
from asyncmachine.rpc.messages import Compressed
from asyncmachine.rpc.transport import MAX_FRAME, NEAR, Peer

SMALL: Final = 1024
"""Bytes of the largest frame that is never packed."""

SAMPLE: Final = 4096
"""Bytes of the middle of a larger frame that have to shrink before all of it is tried."""

LEVEL: Final = 1
"""Of zlib. A welcome of 1,000 states (36 KB) gets to 7.3 KB in 0.5 ms; level 6 takes twice as long for 6.5 KB."""

_LOOPBACK: Final = re.compile(r"(\w+://)?(127\.|localhost\b|\[::1\])")


def wanted(option: bool | None, peer: Peer, *, dialled: bool) -> bool:
    """Whether to pack for this peer, by the `compression` option: None leaves it to the kind of connection.

    A loopback address counts for the side that has `dialled` it. The other side may see that of a proxy.
    """
    if option is not None:
        return option
    return peer.kind not in NEAR and not (dialled and _LOOPBACK.match(peer.address))


def packed(frame: bytes) -> bytes:
    """The frame in a COMPRESSED one, if that is smaller; else as it is."""
    if len(frame) > 4 * SAMPLE:
        middle = len(frame) // 2
        if len(zlib.compress(frame[middle : middle + SAMPLE], LEVEL)) > SAMPLE * 0.9:
            return frame  # a picture, an archive: it would take long, and gain nothing
    found = encode(Compressed(zlib.compress(frame, LEVEL)), 2 * MAX_FRAME)
    return found if len(found) < len(frame) else frame


def unpacked(data: bytes, limit: int = MAX_FRAME) -> bytes:
    """The frame in a COMPRESSED one. Raises `PeerFault` for what is none, or larger than a frame may be.

    Of one that is larger no more than `limit` bytes are ever made.
    """
    unpacking = zlib.decompressobj()
    try:
        frame = unpacking.decompress(data, limit)
        if not unpacking.eof and unpacking.decompress(unpacking.unconsumed_tail, 1):
            raise PeerFault(f"Compressed of more than {limit} bytes", Code.TOO_LARGE)
    except zlib.error as error:
        raise PeerFault(f"Compressed that is none: {error}") from error
    if not unpacking.eof or unpacking.unused_data:
        raise PeerFault("Compressed that is cut, or goes on behind its end")
    return frame
