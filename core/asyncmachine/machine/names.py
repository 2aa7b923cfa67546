"""Lists of state names, and what is computed from them.

Every function takes lists of names and makes a new one. The order counts: a machine's own list of names gives each
state its index, and a list of targets gives the order in which handlers run. Where a rule picks among equal names, the
first one stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import md5
from typing import TypeVar

from asyncmachine.machine.errors import InvalidArgs

T = TypeVar("T")

ANY = "Any"
"""Stands for every state in handler names; no state may be called so."""

GLOBAL_HANDLERS = ("AnyEnter", "AnyState")
"""The two handlers of whole transitions: last of the negotiation, last of the final phase."""

HANDLER_SUFFIXES = ("Enter", "Exit", "State", "End")


def several(texts: Iterable[T], what: str) -> tuple[T, ...]:
    """These texts. Raises `InvalidArgs` for a single one: as a collection it is its letters, a `*` among them."""
    if isinstance(texts, str | bytes):
        one = texts.decode(errors="replace") if isinstance(texts, bytes) else str(texts)
        raise InvalidArgs(f"{what} takes several texts and would read {one!r} letter by letter: write ({one!r},)")
    return tuple(texts)


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, at its first place."""
    return tuple(dict.fromkeys(names))


def union(names: Iterable[str], *others: Iterable[str]) -> tuple[str, ...]:
    """All the lists after one another, each name once. A single list is returned as it is, doubles included."""
    if not others:
        return tuple(names)
    return unique(name for part in (names, *others) for name in part)


def without(names: Iterable[str], *others: Iterable[str]) -> tuple[str, ...]:
    """The names that are in none of the other lists. Order and doubles stay."""
    dropped = {name for part in others for name in part}
    return tuple(name for name in names if name not in dropped)


def shared(names: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    """The names that are in the other list too. Order and doubles stay."""
    kept = set(other)
    return tuple(name for name in names if name in kept)


def same_names(names: Iterable[str], other: Iterable[str]) -> bool:
    """Whether each list has all names of the other one, in whatever order and number."""
    return set(names) == set(other)


def indexes_of(names: Iterable[str], wanted: Iterable[str]) -> tuple[int, ...]:
    """The place of each wanted name in `names`; -1 for one that is not there."""
    places: dict[str, int] = {}
    for index, name in enumerate(names):
        places.setdefault(name, index)
    return tuple(places.get(name, -1) for name in wanted)


def names_at(names: Sequence[str], indexes: Iterable[int]) -> tuple[str, ...]:
    """The name at each index; `unknown7` for an index that `names` does not have (-1 among them)."""
    return tuple(names[i] if 0 <= i < len(names) else f"unknown{i}" for i in indexes)


def starting_with(names: Iterable[str], *prefixes: str) -> tuple[str, ...]:
    """The names that start with one of the prefixes: those of the first prefix, then those of the next, each once."""
    names = tuple(names)
    return unique(name for prefix in prefixes for name in names if name.startswith(prefix))


def matching(names: Iterable[str], pattern: str | re.Pattern[str]) -> tuple[str, ...]:
    """The names in which the pattern is found anywhere. Raises `re.error` for a broken pattern."""
    found = re.compile(pattern)
    return tuple(name for name in names if found.search(name))


def prefixed(names: Iterable[str], prefix: str) -> tuple[str, ...]:
    """Every name with the prefix put before it."""
    return tuple(prefix + name for name in names)


def short_hash(text: str, length: int = 0) -> str:
    """The first hex digits of the text's MD5: a label to tell things apart at a glance, no proof of anything.

    `length` 0 means six digits.
    """
    return md5(text.encode(), usedforsecurity=False).hexdigest()[: length or 6]


def names_hash(names: Iterable[str]) -> str:
    """Four hex digits that differ between lists of different names or orders."""
    return short_hash(",".join(names), 4)


def capitalized(text: str) -> str:
    """The text with its first letter in upper case, the rest as it is: `rpcServer` becomes `RpcServer`."""
    return text[:1].upper() + text[1:]


def handler_states(names: Iterable[str], handler: str) -> tuple[str, str]:
    """The states that a handler's name is about; empty texts stand for none.

    `FooEnter` gives `("Foo", "")`, `FooBar` gives `("Foo", "Bar")` when both are known, the global handlers and a name
    of no known form give `("", "")`. The part next to `Any` or to a suffix is taken as it is, known or not.
    """
    if handler in GLOBAL_HANDLERS:
        return "", ""
    if handler.startswith(ANY) and handler != ANY:
        return handler.removeprefix(ANY), ""
    for suffix in (*HANDLER_SUFFIXES, ANY):
        if handler.endswith(suffix):
            return handler.removesuffix(suffix), ""
    names = tuple(names)
    known = frozenset(names)
    for first in names:
        if handler.startswith(first) and handler[len(first) :] in known:
            return first, handler[len(first) :]
    return "", ""
