"""What a value that came from the wire takes in memory. A byte of the wire can become an empty list, of 72 bytes."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from sys import getsizeof
from typing import Any, Final

from msgspec import Struct

_SPARE: Final = 16
"""Bytes that an allocator may add to each object."""

_RECORD: Final = 256
"""Those of the attributes of an object, beside their values."""


def weight_of(value: Any, most: int) -> int:
    """Bytes that a value takes, or some more: what parts share counts for each. Beyond `most` it is not counted on."""
    found, parts = 0, [value]
    while parts and found <= most:
        part = parts.pop()
        found += getsizeof(part) + _SPARE
        if isinstance(part, dict):
            parts.extend(part)
            parts.extend(part.values())
        elif isinstance(part, list | tuple | set | frozenset):
            parts.extend(part)
        elif isinstance(part, Struct):
            parts.extend([getattr(part, name) for name in part.__struct_fields__])
        elif is_dataclass(part):
            found += _RECORD
            parts.extend([getattr(part, field.name) for field in fields(part)])
    return found
