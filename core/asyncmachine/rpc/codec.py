"""Frames and messages: bytes to records and back. One frame is one message; the transport keeps frames apart."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, get_args, get_type_hints

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from asyncmachine.rpc.errors import Code, PeerFault, TickRange, TooLarge, Unsendable
from asyncmachine.rpc.limits import check
from asyncmachine.rpc.messages import AnyMessage, ClockPush, ClockSteps, Full, Grown, Message, Result, Welcome
from asyncmachine.rpc.transport import MAX_FRAME
from asyncmachine.rpc.values import encode_value, unpack_ext

_decoder: Final = msgspec.msgpack.Decoder[Any](AnyMessage, ext_hook=unpack_ext)
_CLOCKS: Final = (Welcome, Result, ClockPush, ClockSteps, Full, Grown)


def encode(message: Message, limit: int = MAX_FRAME) -> bytes:
    """The frame of a message.

    Raises `Unsendable` for values msgpack cannot hold and for fields beyond their limits, `TickRange` for ticks beyond
    2**64-1, and `TooLarge` for a frame of more than `limit` bytes.
    """
    fields = _trimmed(message)
    check(type(message), fields)
    try:
        frame = encode_value(fields)
    except Unsendable as error:
        if isinstance(error.__cause__, OverflowError) and isinstance(message, _CLOCKS):
            raise TickRange("a tick is beyond 2**64-1, the largest number of the wire") from error
        raise
    if len(frame) > limit:
        raise TooLarge(f"{type(message).__name__} takes {len(frame)} bytes, the limit of a frame is {limit}")
    return frame


def decode(frame: bytes, limit: int = MAX_FRAME) -> AnyMessage:
    """The message of a frame. Raises `PeerFault` for everything that is not one.

    What it costs is bounded by the length of the frame, whatever lengths the frame itself claims.
    """
    if len(frame) > limit:
        raise PeerFault(f"a frame of {len(frame)} bytes is over the limit of {limit}", Code.TOO_LARGE)
    try:
        message: AnyMessage = _decoder.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise PeerFault(f"not a message: {error}") from error
    except RecursionError:
        raise PeerFault("not a message: nested too deep") from None
    return message


def _trimmed(record: Struct) -> tuple[Any, ...]:
    """The array of a record, without the fields at its end that have their defaults. Records in it likewise."""
    head, nested, required, defaults = _shape(type(record))
    fields: tuple[Any, ...] = head + astuple(record)
    end = len(fields)
    # `is`, or equal and of the same kind: 0, False and 0.0 are equal but not the same on the wire.
    while end > required and _same(fields[end - 1], defaults[end - 1 - required]):
        end -= 1
    if nested:
        return tuple([_trimmed(field) if isinstance(field, Struct) else field for field in fields[:end]])
    return fields[:end] if end < len(fields) else fields


@cache
def _shape(kind: type[Struct]) -> tuple[tuple[int, ...], bool, int, tuple[Any, ...]]:
    """The tag if it has one, whether it may hold records, how many items always travel, and the others' defaults."""
    defaults, tag = kind.__struct_defaults__, kind.__struct_config__.tag
    head = (tag,) if isinstance(tag, int) else ()
    parts = [part for hint in get_type_hints(kind).values() for part in (hint, *get_args(hint))]
    nested = any(isinstance(part, type) and issubclass(part, Struct) for part in parts)
    return head, nested, len(head) + len(kind.__struct_fields__) - len(defaults), defaults


def _same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and value == default)
