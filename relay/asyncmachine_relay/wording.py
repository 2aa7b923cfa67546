"""How a mistake in a configuration file is told: what stands there, what may, and how that is written."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field
from difflib import get_close_matches
from enum import Enum
from types import UnionType
from typing import Any, get_args, get_origin

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "datetime": "a date",
    "date": "a date",
    "time": "a time of day",
}
_WITH_UNIT = re.compile(r"[0-9.]+\s*[A-Za-z]+")
_SYNTAX = (
    ("Cannot overwrite a value", "this key is there already; keep one of the two"),
    ("Cannot declare", "this table is there already; put its keys into one"),
    ("Cannot mutate immutable namespace", "this table is there already; put its keys into one"),
    ("Unclosed array", "a list that begins above has no ] at its end"),
    ("Expected ']' at the end of a table", "a header ends with ], and [[…]] with ]]"),
    ("Unterminated string", 'a text has no " at its end'),
    ("Illegal character '\\n'", 'a text has no " at its end'),
    ("Expected '=' after a key", "after a key stands = and its value"),
    ("Invalid value (at end of document)", "what begins above has no end: a list its ], or a setting its value"),
    ("Invalid value", 'texts stand in quotes, as "…"; numbers, true and false do not'),
    ("Expected newline", 'one setting a line; texts stand in quotes, as "…"'),
)
"""How tomllib begins, and what an operator can do about it."""


def syntax(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, str]:
    """The line of a text that is no TOML, and what to do about it."""
    found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", str(error))
    written = text.splitlines() or [""]
    number = int(found[1]) if found and found[1] else len(written)
    reason = str(error)[: found.start()] if found else str(error)
    shown = written[number - 1].strip() if number <= len(written) else ""
    cure = next((cure for begin, cure in _SYNTAX if str(error).startswith(begin)), "")
    place = f"{shown[:60]!r}: " if shown else ""
    return number, f"{place}{reason}{f'; {cure}' if cure else ''}"


def excess(error: Exception, text: str) -> tuple[int, str]:
    """The line of a text that is more than the parser takes, and what to do about it."""
    written = text.split("\n")
    if isinstance(error, RecursionError):
        opened = [line.count("[") + line.count("{") for line in written]
        return opened.index(max(opened)) + 1, "lists or tables are nested too deeply; write flat ones"
    longest = [max((len(digits) for digits in re.findall(r"[0-9_]+", line)), default=0) for line in written]
    return longest.index(max(longest)) + 1, "a number has too many digits"


def mistake(error: Exception, hint: Any, known: Field[Any], value: Any, variable: str | None) -> str:
    """What is wrong with a value that has not the type of its setting; it may have come from a `variable`."""
    text = str(error).partition(" - at ")[0].replace("`", "")
    wanted, comma, got = text.removeprefix("Expected ").partition(", got ")
    if text.startswith("Expected ") and comma:
        given = "a number with a point" if got == "float" else _words(got)
        text = f"expected {_words(wanted)}, got {given}"
    chosen = re.fullmatch(r"Invalid enum value '?(.*?)'?", text)
    if chosen is not None:
        text = f"{chosen[1]!r} is none of {', '.join(_choices(hint))}"
    has_unit = isinstance(value, str) and _WITH_UNIT.fullmatch(value.strip()) is not None
    units = " (times are in seconds, sizes in bytes, without a unit)" if has_unit else ""
    return f"{text}; {example(hint, known, value, variable)}{units}"


def unknown(
    name: str, known: Iterable[str], elsewhere: Iterable[str] = (), tables: Iterable[str] = (), form: str = ""
) -> str:
    """What to write instead of a name that is none. `elsewhere` are sections that have it, `tables` names of lists.

    `form` is how such names are made, told in their place if they are many.
    """
    names = list(known)
    sections = list(elsewhere)
    close = get_close_matches(name, names, 1, 0.75) or _containing(name, names) or get_close_matches(name, names, 1)
    if sections and (not close or name not in close[0]):
        return f"unknown here; it belongs below {' or '.join(sections)}"
    if close:
        return f"unknown; did you mean {f'[[{close[0]}]]' if close[0] in tables else close[0]}?"
    return f"unknown; there is {form or ', '.join(sorted(names))}"


def _containing(name: str, names: Iterable[str]) -> list[str]:
    return [each for each in names if len(name) > 3 and (name in each or each in name)]


def _words(kinds: str) -> str:
    return " or ".join(_WORDS.get(kind, kind) for kind in kinds.split(" | "))


def _choices(hint: Any) -> list[str]:
    for kind in (hint, *get_args(hint)):
        if isinstance(kind, type) and issubclass(kind, Enum):
            return [f'"{member.value}"' for member in kind]
    return []


def example(hint: Any, known: Field[Any], value: Any = None, variable: str | None = None) -> str:
    """How a value is written, by example of the one that is wrong."""
    default = known.default if known.default not in (MISSING, None) else None
    name = f"{variable}=" if variable is not None else f"{known.name} = "
    if isinstance(default, bool):
        return "write true or false"
    if isinstance(default, int | float):
        return f"write a number, as {name}{repr(default).removesuffix('.0')}"
    if get_origin(hint) is tuple:
        found = _choices(hint) or [f'"{value}"' if isinstance(value, str) and value else '"…"']
        return f"write a list, as {name}[{', '.join(found)}]"
    if get_origin(hint) is Mapping:
        return f'write a table, as {name}{{ "/" = "…" }}'
    if isinstance(hint, UnionType) and int in get_args(hint):
        return f"write a number, or a text in quotes: {name}14000"
    return f'write a text, as {name}"…"'
