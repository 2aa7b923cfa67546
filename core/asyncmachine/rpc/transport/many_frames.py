"""The frames of many connections inside of one.

A message of the carrier is one frame: ``u8 kind  u32 connection  payload`` (big-endian)::

    1 OPEN               a new connection; odd numbers are of whoever dialled the carrier, even ones of the other side
    2 DATA    bytes      a message, or the last part of one
    3 PART    bytes      a part of a message, of which more follows
    4 WINDOW  u32        the receiver has taken so much, as much again may be sent
    5 FINISH             this side sends nothing more; the other direction goes on
    6 RESET   u16 text   this side has closed: code and reason. What was sent before is still read
    7 GOAWAY  u32        (connection 0) open no more: the carrier ends in so many milliseconds

There is no answer to OPEN: the opener sends at once, and learns of a refusal by a RESET. Numbers only grow. A frame for
a connection that has ended is what crossed that end, and is dropped. Each side may send 64 KiB of a connection before
the other has to give more, which it may do at once. DATA and PART have at most 32 KiB, and cost that and 32 bytes, so
that a flood of empty messages ends as well. The last one may overdraw the window. Parts of the message that is to be
read next are given back as they arrive, since it may be larger than the window; those of later ones are not.

Why not Wisp, and why not yamux: see docs/relay.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from asyncmachine.rpc.transport import MAX_FRAME

OPEN, DATA, PART, WINDOW, FINISH, RESET, GOAWAY = range(1, 8)

HEAD: Final = Struct(">BI")
U16: Final = Struct(">H")
U32: Final = Struct(">I")

COST: Final = 32
"""Bytes that a frame costs beside its payload."""

INITIAL: Final = 64 << 10
"""What may be sent of a connection before anything was given back."""

CHUNK: Final = 32 << 10
"""Largest payload of one frame: with more, one connection would hold the others up."""

LONGEST_REASON: Final = 123
BAD_FRAME, LIMIT = 4400, 4429


@dataclass(frozen=True, slots=True)
class ManyLimits:
    """`connections` at a time; `window` (64 KiB at least) and `message` in bytes.

    `assembling` is for the parts of unfinished messages, of all connections together.
    """

    connections: int = 32
    window: int = 128 << 10
    message: int = MAX_FRAME
    assembling: int = 4 * MAX_FRAME


class Fault(Exception):
    """The other side broke the rules."""
