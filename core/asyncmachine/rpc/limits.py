"""What the fields of messages may hold, looked at before they are sent.

A receiver ends the connection for a field beyond its limit (they stand in `messages`), and what has put it there would
do so again in the next connection. So what an application has named is refused where it is named, and texts that
explain something are clipped on their way out.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from asyncmachine.rpc.errors import CallRefused, Unsendable
from asyncmachine.rpc.messages import NAME, TEXT, Name
from asyncmachine.rpc.values import encode_value

ELLIPSIS: Final = "…"

SHOWN: Final = 5
"""Names that one text lists."""


def check(kind: type[Struct], fields: tuple[Any, ...]) -> None:
    """Raises `Unsendable` for what a receiver of this kind of message would refuse. `fields` are those of its frame."""
    for place, name, hint in _limited(kind):
        if place < len(fields):
            _check(f"the {name} of {kind.__name__}", fields[place], hint)


def check_value(what: str, value: object, kind: Any = Name) -> None:
    """Raises `Unsendable`, with `what` it is, for a value that no field of this kind can hold."""
    _check(what, value, kind)
    try:
        encode_value(value)
    except Unsendable as error:
        raise Unsendable(f"{what}: {error}") from error


def problem(what: str, value: object, kind: Any = Name) -> str:
    """What `check_value` would say. Empty for a value that can be sent."""
    try:
        check_value(what, value, kind)
    except Unsendable as error:
        return str(error)
    return ""


def clipped(text: str, most: int = TEXT) -> str:
    """The text as far as a message can hold it. What is no Unicode shows as escapes."""
    if len(text) > most:
        text = text[: most - len(ELLIPSIS)] + ELLIPSIS
    try:
        text.encode()
    except UnicodeEncodeError:
        return clipped(text.encode(errors="backslashreplace").decode(), most)
    return text


def listed(names: Iterable[str]) -> str:
    """The first of these names, each once, and how many more there are."""
    found = tuple(dict.fromkeys(names))
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"{', '.join(found[:SHOWN])}{more}"


def sendable(error: CallRefused, most: int = TEXT) -> CallRefused:
    """The error as an answer can hold it, with a text of at most so many characters."""
    code, message = clipped(str(error.code), NAME), clipped(error.message, most)
    if (code, message) == (error.code, error.message):
        return error
    return CallRefused(code, message, retryable=error.retryable, details=error.details)


def _check(what: str, value: object, hint: Any) -> None:
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise Unsendable(f"{what} would be refused where it arrives: {error}") from error


@cache
def _limited(kind: type[Struct]) -> tuple[tuple[int, str, Any], ...]:
    """Place in the frame, name and type of each field with a limit. Numbers have theirs from where they are counted."""
    hints = get_type_hints(kind, include_extras=True)
    first = 1 if isinstance(kind.__struct_config__.tag, int) else 0
    named = enumerate(kind.__struct_fields__, first)
    return tuple([(place, name, hints[name]) for place, name in named if _has_limit(hints[name])])


def _has_limit(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, Struct):
        return any(_has_limit(each) for each in get_type_hints(hint, include_extras=True).values())
    if any(isinstance(each, Meta) and (each.max_length, each.min_length) != (None, None) for each in _metas(hint)):
        return True
    # Keys that are texts only: plain values may have others.
    keys_are_texts = get_origin(hint) is dict and get_args(hint)[0] is str
    return keys_are_texts or any(_has_limit(each) for each in get_args(hint))


def _metas(hint: Any) -> tuple[Any, ...]:
    found: tuple[Any, ...] = getattr(hint, "__metadata__", ())
    return found
