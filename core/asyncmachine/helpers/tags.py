"""Tags: free labels of machines and states, `key` or `key:value`."""

from __future__ import annotations

from collections.abc import Iterable


def tag_value(tags: Iterable[str], key: str) -> str:
    """The value of the first tag ``key:value``; the key itself for a bare tag; an empty text if there is none."""
    for tag in tags:
        name, colon, value = tag.partition(":")
        if name == key:
            return value if colon else key
    return ""


def tag_value_int(tags: Iterable[str], key: str) -> int:
    """The value of a tag as a whole number; -1 if there is none, or it is no number."""
    try:
        return int(tag_value(tags, key))
    except ValueError:
        return -1
