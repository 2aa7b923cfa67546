"""Arguments in log lines: a mapper picks what may be shown, and shortens it.

Arguments may hold anything, secrets and megabytes too. So nothing of them is logged unless a mapper names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

ArgsMapper = Callable[[Mapping[str, Any]], Mapping[str, str]]
"""From a mutation's arguments to the texts that are logged."""

LOGGED_NAMES = ("name", "id", "port", "addr", "err", "path", "url", "uri")
"""What the default mapper shows."""

LOGGED_LENGTH = 20
"""Characters of a value that are shown by default."""


def new_log_args_mapper(max_len: int = 0, names: Iterable[str] = LOGGED_NAMES) -> ArgsMapper:
    """A mapper that shows the arguments with these names, each as a text of at most `max_len` characters (0: 20)."""
    wanted, limit = tuple(names), max_len or LOGGED_LENGTH

    def mapper(args: Mapping[str, Any]) -> dict[str, str]:
        return {name: shortened(str(args[name]), limit) for name in wanted if name in args}

    return mapper


def merge_log_args_mappers(*mappers: ArgsMapper) -> ArgsMapper:
    """One mapper that shows what any of them shows; for the same name the later one counts."""

    def mapper(args: Mapping[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for each in mappers:
            found.update(each(args))
        return found

    return mapper


def shortened(text: str, limit: int) -> str:
    """The text cut to `limit` characters, the last three of them dots if there is room for that; always one line."""
    text = " ".join(text.splitlines())
    if len(text) <= limit:
        return text
    return text[:limit] if limit < 5 else f"{text[: limit - 3]}..."


def args_text(args: Mapping[str, Any], mapper: ArgsMapper | None) -> str:
    """What is put behind a log line: `` (k=v k2=v2)`` sorted by name, or nothing."""
    if not args or mapper is None:
        return ""
    try:
        found = mapper(args)
    except Exception as error:  # noqa: BLE001 (somebody's `__str__`; the line is worth more than its arguments)
        return f" (arguments not shown: {error!r})"
    if not found:
        return ""
    return f" ({' '.join(f'{name}={found[name]}' for name in sorted(found))})"
