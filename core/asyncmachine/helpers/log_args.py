"""Typed arguments in the log: a record says which of its fields may be shown.

::

    @dataclass(frozen=True)
    class Dial(am.Args, state="Dialing", prefix="app"):
        address: Annotated[str, Logged("addr")]
        password: str = ""                                  # never shown

    machine.log.args_mapper = log_args
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from asyncmachine.machine.args import Args
from asyncmachine.machine.log_args import LOGGED_LENGTH, shortened

SHORTEST = 4
"""Least number of characters that a value is cut to."""


@dataclass(frozen=True, slots=True)
class Logged:
    """Marks a field that may be shown, under its own name or another one: ``addr: Annotated[str, Logged()]``."""

    name: str = ""


def log_args(args: Mapping[str, Any], max_len: int = LOGGED_LENGTH) -> dict[str, str]:
    """The marked fields of all records among the arguments of a mutation. Fits `machine.log.args_mapper`."""
    found: dict[str, str] = {}
    for value in args.values():
        if isinstance(value, Args):
            found.update(args_to_log_map(value, max_len))
    return found


def args_to_log_map(record: Any, max_len: int = LOGGED_LENGTH) -> dict[str, str]:
    """The marked fields of one record as texts of at most `max_len` characters (at least 4) and one line.

    Fields without a value (0, False, empty, None) are left out. Lists are shown by their first items, each cut to half
    the length. Raises `NameError` if an annotation of the record's class cannot be resolved.
    """
    limit = max(max_len, SHORTEST)
    kind: Any = type(record)
    values = {shown: getattr(record, field) for field, shown in marked_fields(kind).items()}
    return {shown: _text(value, limit) for shown, value in values.items() if value}


@lru_cache(maxsize=512)
def marked_fields(kind: type) -> dict[str, str]:
    """The fields of a class that may be shown, with the names they are shown under."""
    return {
        field: mark.name or field
        for field, hint in get_type_hints(kind, include_extras=True).items()
        if get_origin(hint) is Annotated
        for mark in get_args(hint)[1:]
        if isinstance(mark, Logged)
    }


def _text(value: object, limit: int) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return shortened(f"{len(value)} bytes", limit)
    if isinstance(value, str) or not isinstance(value, Sequence | AbstractSet):
        return shortened(str(value), limit)
    items, most = list(value), limit // 2
    shown = ", ".join(f'"{shortened(str(item), most)}"' for item in items[:most])
    return shown if len(items) <= most else f"{shown} ... ({len(items) - most} more)"
