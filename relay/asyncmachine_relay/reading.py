"""Reads a `Config` from TOML and the environment. Whatever is wrong is told with its line and its cure, all at once.

    relay.toml:12: limits.tunels: unknown; did you mean tunnels?
    relay.toml:17: targets[1].port: 70000 must be a number up to 65535, or a range as "14100-14199"

Sections are tables (`[server]`), targets are `[[targets]]`. An environment variable `AM_RELAY_SERVER_PORT=8080` counts
more than the file; lists are written with commas. Paths are relative to the file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from asyncmachine_relay.config import Config
from asyncmachine_relay.policy import RelayConfigError

PREFIX = "AM_RELAY_"
ALL = "AM_RELAY_CONFIG"
"""Names the file."""

Where = tuple[str | int, ...]
"""A place in the document: ("targets", 1, "port")."""


class ConfigProblems(RelayConfigError):
    """All that is wrong, one line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def read(path: Path | None, env: Mapping[str, str] | None = None) -> Config:
    """The file's settings and the environment's over them; without a file only those. Raises `ConfigProblems`."""
    env = os.environ if env is None else env
    if path is None and env.get(ALL):
        path = Path(env[ALL])
    if path is None:
        return parse("", "", env)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
        raise ConfigProblems([f"{path}: {reason}"]) from None
    return parse(text, str(path), env, base=path.parent)


def parse(text: str, name: str = "config", env: Mapping[str, str] | None = None, *, base: Path = Path()) -> Config:
    """The same for a text. `name` stands before each line number."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        raise ConfigProblems([f"{name}:{found[1] if found else len(text.splitlines())}: {error}"]) from None
    reader = _Reader(name, lines(text), base)
    reader.overlay(document, {} if env is None else env)
    config: Config | None = reader.record(Config, document, ())
    if reader.problems or config is None:
        raise ConfigProblems(reader.problems)
    return config


class _Reader:
    """Collects problems instead of stopping at the first."""

    def __init__(self, name: str, places: Mapping[Where, int], base: Path) -> None:
        self.problems: list[str] = []
        self._name = name
        self._places = places
        self._base = base
        self._texts: dict[Where, str] = {}

    def overlay(self, document: dict[str, Any], env: Mapping[str, str]) -> None:
        """Puts the environment's values into the document."""
        known = dict(variables())
        for variable, text in env.items():
            if not variable.startswith(PREFIX) or variable == ALL:
                continue
            where = known.get(variable)
            if where is None:
                self.problems.append(f"{variable}: unknown{_nearest(variable, known)}")
                continue
            table = document
            for part in where[:-1]:
                table = table.setdefault(str(part), {})
            table[str(where[-1])] = text
            self._texts[where] = variable

    def record(self, kind: type[Any], table: Any, where: Where) -> Any:
        """A record of its table, None if something in it is wrong."""
        if not isinstance(table, Mapping):
            self._problem(where, f"must be a table: write [{_dotted(where)}]")
            return None
        hints = get_type_hints(kind)
        known = {each.name: each for each in fields(kind) if each.init}
        given: dict[str, Any] = {}
        wrong = False
        for key, value in table.items():
            if key not in known:
                self._problem((*where, key), f"unknown{_nearest(key, known)}")
                wrong = True
                continue
            converted = self._value(hints[key], value, (*where, key), known[key])
            wrong = wrong or converted is MISSING
            given[key] = converted
        for name, each in known.items():
            if name not in given and each.default is MISSING and each.default_factory is MISSING:
                self._problem(where, f"{name} is missing")
                wrong = True
        if wrong:
            return None
        try:
            return kind(**given)
        except RelayConfigError as error:
            self._problem((*where, error.field) if error.field else where, str(error))
            return None

    def _value(self, hint: Any, value: Any, where: Where, known: Field[Any]) -> Any:
        if isinstance(hint, type) and is_dataclass(hint):
            found = self.record(hint, value, where)
            return MISSING if found is None else found
        (item, *_) = get_args(hint) or (None,)
        if get_origin(hint) is tuple and is_dataclass(item):
            return self._records(item, value, where)
        is_text = where in self._texts
        if is_text and get_origin(hint) is tuple:
            value = [part.strip() for part in value.split(",") if part.strip()]
        try:
            return msgspec.convert(value, hint, strict=not is_text, dec_hook=self._path)
        except msgspec.ValidationError as error:
            self._problem(where, f"{_plainly(error)}; {_example(hint, known)}")
            return MISSING

    def _records(self, item: Any, value: Any, where: Where) -> Any:
        if not isinstance(value, list):
            self._problem(where, f"must be a list of tables: write [[{_dotted(where)}]]")
            return MISSING
        found = [self.record(item, each, (*where, number)) for number, each in enumerate(value)]
        return MISSING if None in found else tuple(found)

    def _path(self, kind: type[Any], value: Any) -> Any:
        if kind is Path and isinstance(value, str):
            return self._base / value
        if kind is Path:
            raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
        raise NotImplementedError(kind)  # no field of a record has another type

    def _problem(self, where: Where, what: str) -> None:
        variable = self._texts.get(where)
        if variable is not None:
            self.problems.append(f"{variable}: {what}")
            return
        line = next((self._places[where[:n]] for n in range(len(where), 0, -1) if where[:n] in self._places), 1)
        self.problems.append(f"{self._name}:{line}: {_dotted(where)}: {what}" if where else f"{self._name}: {what}")


def variables(kind: type[Any] = Config, where: Where = ()) -> Iterator[tuple[str, Where]]:
    """Every environment variable, and what it sets."""
    for name, hint in get_type_hints(kind).items():
        here = (*where, name)
        if isinstance(hint, type) and is_dataclass(hint):
            yield from variables(hint, here)
        elif get_origin(hint) is not Mapping and not any(is_dataclass(part) for part in get_args(hint)):
            yield PREFIX + "_".join(map(str, here)).upper(), here


_HEADER = re.compile(r"^\s*(\[{1,2})\s*(?P<path>[^\[\]]+?)\s*\]{1,2}\s*(#.*)?$")
_KEY = re.compile(r"""^\s*(?P<key>[A-Za-z0-9_-]+|"[^"]*"|'[^']*')\s*(\.|=)""")


def lines(text: str) -> Mapping[Where, int]:
    """Where in a valid TOML text each table and key stands.

    It looks for lines that begin with a header or a key. A line inside of a long text may look like one; it then adds a
    place that nobody asks for.
    """
    found: dict[Where, int] = {}
    counts: dict[Where, int] = {}
    table: Where = ()
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        if header is not None:
            table = tuple(part.strip().strip("\"'") for part in header["path"].split("."))
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            found.setdefault(table, number)
            continue
        key = _KEY.match(line)
        if key is not None:
            found.setdefault((*table, key["key"].strip("\"'")), number)
    return MappingProxyType(found)


def _dotted(where: Where) -> str:
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the end of a sentence."""
    names = list(known)
    close = get_close_matches(name, names, 1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there is {', '.join(sorted(names))}" if len(names) <= 20 else ""


def _plainly(error: Exception) -> str:
    return str(error).partition(" - at ")[0].replace("`", "").replace("Expected", "expected")


def _example(hint: Any, known: Field[Any]) -> str:
    """How a value is written."""
    default = known.default if known.default not in (MISSING, None) else None
    if isinstance(default, bool):
        return "write true or false"
    if isinstance(default, int | float):
        return f"write a number, as {known.name} = {default!r}"
    if get_origin(hint) is tuple:
        return f'write a list, as {known.name} = ["…"]'
    if get_origin(hint) is Mapping:
        return f'write a table, as {known.name} = {{ "/" = "…" }}'
    return f'write a text, as {known.name} = "…"'
