"""Frames and messages: bytes to records and back. One frame is one message; the transport keeps frames apart."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec
from msgspec.structs import astuple, replace

from asyncmachine.telemetry.dbg.errors import FRAME_TOO_LARGE, StreamFault, Unsendable
from asyncmachine.telemetry.dbg.messages import MOST_NUMBER, AnyMessage, Forwarded, Machine, Message, Part

MAX_FRAME: Final = 1 << 20
"""Bytes of the largest frame, as everywhere in this project."""

MAX_MESSAGE: Final = MAX_FRAME - (1 << 10)
"""The largest message that is not forwarded: it has to fit into the envelope of one that is."""

_encoder: Final = msgspec.msgpack.Encoder()
ROOM_FOR_COUNTERS: Final = 64

_RULES: Final = Machine.__struct_fields__.index("rules")
_decoder: Final = msgspec.msgpack.Decoder[Any](AnyMessage)


def encode(message: Message) -> bytes:
    """The frame of a message. Raises `Unsendable` for one that is too large, and for what msgpack lacks."""
    try:
        frame = _packed(message)
    except (UnicodeEncodeError, OverflowError, TypeError, ValueError) as error:
        raise Unsendable(f"{type(message).__name__}: {error}") from error
    problem = _size_problem(message, len(frame))
    if problem:
        raise Unsendable(problem)
    return frame


def decode(frame: bytes) -> AnyMessage:
    """The message of a frame. Raises `StreamFault` for everything that is not one.

    What it costs is bounded by the length of the frame, whatever lengths the frame itself claims.
    """
    if len(frame) > MAX_FRAME:
        raise StreamFault(f"a frame of {len(frame)} bytes is over the limit of {MAX_FRAME}", FRAME_TOO_LARGE)
    try:
        message: AnyMessage = _decoder.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise StreamFault(f"not a message: {error}") from error
    except RecursionError:
        raise StreamFault("not a message: nested too deep") from None
    problem = _size_problem(message, len(frame))
    if problem:
        raise StreamFault(problem, FRAME_TOO_LARGE)
    return message


def _size_problem(message: Message, size: int) -> str:
    """What is wrong with a message of so many bytes, empty if nothing is.

    A machine has to fit also when its ticks have grown, so that whoever keeps it can always tell others of it.
    """
    limit = MAX_FRAME if isinstance(message, Forwarded) else MAX_MESSAGE
    if isinstance(message, Machine) and size + 9 * len(message.time) + ROOM_FOR_COUNTERS > limit:
        counters = dict.fromkeys(("next", "now", "queue_tick", "machine_tick"), MOST_NUMBER)
        size = len(_packed(replace(message, time=(MOST_NUMBER,) * len(message.time), **counters)))
    return f"{type(message).__name__} takes {size} bytes, the limit is {limit}" if size > limit else ""


def _packed(message: Message) -> bytes:
    fields = _lean(message)
    if isinstance(message, Machine):
        fields[_RULES] = tuple(map(_lean, message.rules))
    return _encoder.encode((type(message).__struct_config__.tag, *fields))


def _lean(record: Message | Part) -> list[Any]:
    """The fields up to the last one that is not as by default."""
    required, defaults = _shape(type(record))
    fields = list(astuple(record))
    while len(fields) > required and fields[-1] == defaults[len(fields) - 1 - required]:
        fields.pop()
    return fields


@cache
def _shape(kind: type[Message | Part]) -> tuple[int, tuple[Any, ...]]:
    """Number of leading fields that are always sent, and the defaults of the others."""
    defaults = tuple(map(_value, kind.__struct_defaults__))
    return len(kind.__struct_fields__) - len(defaults), defaults


def _value(default: Any) -> Any:
    factory = getattr(default, "factory", None)
    return default if factory is None else factory()
