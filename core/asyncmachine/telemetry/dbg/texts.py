"""What is told of arguments, and how long a text may be.

Arguments hold anything: secrets, payloads, whole documents. Unless the machine's log has a mapper, which then says what
is shown, only the fields that a record marks as `Logged` are; of everything else the type is told, and the size. Bytes
are never shown, whoever asks: a mapper sees their size in their place.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from asyncmachine.helpers.log_args import args_to_log_map
from asyncmachine.machine.args import Args, ErrorArgs
from asyncmachine.machine.log_args import ArgsMapper
from asyncmachine.telemetry.dbg.messages import ARG_LENGTH, ID_LENGTH, MOST_ARGS, TEXT_LENGTH, Failure

_BYTES: Final = (bytes, bytearray, memoryview)
_BYTES_LITERAL: Final = re.compile(r"""\bb(?:'(?:[^'\\]|\\.)*(?:'|$)|"(?:[^"\\]|\\.)*(?:"|$))""", re.DOTALL)
_DEEPEST: Final = 4
_WIDEST: Final = 100
"""Items of a collection that are looked at for bytes; one with more is told by its size alone."""


def arg_texts(args: Mapping[str, Any], mapper: ArgsMapper | None) -> dict[str, str]:
    """Arguments as short texts of one line each. The error of an `Exception` is not among them: see `failure_of`."""
    shown = {key: value for key, value in args.items() if key != ErrorArgs.key}
    try:
        found = default_texts(shown) if mapper is None else mapper({k: without_bytes(v) for k, v in shown.items()})
        texts = [(_name(key), str(text)) for key, text in found.items()]
    except Exception as error:  # noqa: BLE001 (somebody's mapper, or `__str__`)
        texts = [("", f"arguments not shown: {type(error).__name__}")]
    return {clipped(key, ID_LENGTH): one_line(text) for key, text in texts[:MOST_ARGS]}


def _name(key: object) -> str:
    return key if isinstance(key, str) else outline(key)


def default_texts(args: Mapping[str, Any]) -> dict[str, str]:
    """Marked fields of records by value; everything else by type and size."""
    found: dict[str, str] = {}
    for key, value in args.items():
        found[key] = outline(value)
        if isinstance(value, Args):
            found.update(args_to_log_map(value, ARG_LENGTH))
    return found


def outline(value: object) -> str:
    """A value's type, and its size if it has one: ``bytes[1024]``, ``int``."""
    name = type(value).__name__
    if isinstance(value, memoryview):
        return f"{name}[{value.nbytes}]"
    return f"{name}[{len(value)}]" if isinstance(value, Collection) else name


def without_bytes(value: Any, depth: int = 0) -> Any:
    """The value with its size in the place of all bytes, also of those inside of lists and dicts."""
    if isinstance(value, _BYTES):
        return outline(value)
    if not isinstance(value, list | tuple | set | frozenset | dict) or not value:
        return value
    if depth >= _DEEPEST or len(value) > _WIDEST:
        return outline(value)
    if isinstance(value, dict):
        return {without_bytes(key, depth + 1): without_bytes(item, depth + 1) for key, item in value.items()}
    return [without_bytes(item, depth + 1) for item in value]


def failure_of(args: Mapping[str, Any]) -> Failure | None:
    """The error among the arguments of a mutation, if there is one."""
    found = args.get(ErrorArgs.key)
    if not isinstance(found, ErrorArgs):
        return None
    try:
        message = str(found.err)
    except Exception as error:  # noqa: BLE001 (somebody's `__str__`)
        message = f"(text not shown: {type(error).__name__})"
    return Failure(
        clipped(type(found.err).__qualname__, ID_LENGTH),
        told(message),
        # The end of a stack says where the error came from.
        told(found.trace[-TEXT_LENGTH:]),
        clipped(found.handler, ID_LENGTH),
    )


def told(text: str, limit: int = TEXT_LENGTH) -> str:
    """A text as it may be sent: cut, Unicode, and without bytes as Python writes them."""
    text = clipped(text, limit)
    return _BYTES_LITERAL.sub("bytes", text) if "b'" in text or 'b"' in text else text


def clipped(text: str, limit: int = TEXT_LENGTH) -> str:
    """At most so many characters, the last one of them dots if some are missing, and all of them Unicode."""
    if len(text) > limit:
        text = f"{text[: limit - 1]}…"
    if text.isascii():
        return text
    return text.encode(errors="replace").decode()


def one_line(text: str, limit: int = ARG_LENGTH) -> str:
    """The text cut to a short line."""
    return told(" ".join(text[: 2 * limit].splitlines()), limit)


def names_of(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names as they travel."""
    return None if names is None else tuple([clipped(name, ID_LENGTH) for name in names])
