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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from asyncmachine_relay.config import Config
from asyncmachine_relay.policy import RelayConfigError
from asyncmachine_relay.wording import example, excess, mistake, syntax, unknown

PREFIX = "AM_RELAY_"
ALL = "AM_RELAY_CONFIG"
"""Names the file."""
FORM = f"{PREFIX}<SECTION>_<KEY>, as {PREFIX}SERVER_PORT"

BITS = 63
"""Of a whole number, beside its sign. So many have those of TOML."""

Where = tuple[str | int, ...]
"""A place in the document: ("targets", 1, "port")."""


Examine = Callable[[Config], Iterable[tuple[Where, str]]]
"""What is to be said of settings, each with its place."""


class ConfigProblems(RelayConfigError):
    """All that is wrong, one line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def read(
    path: Path | None, env: Mapping[str, str] | None = None, *, defaults: Mapping[Where, object] = MappingProxyType({})
) -> Config:
    """The file's settings and the environment's over them; without a file only those. Raises `ConfigProblems`.

    `defaults` are those of a command, for what neither of them says.
    """
    env = os.environ if env is None else env
    if path is None and env.get(ALL):
        path = Path(env[ALL])
    if path is None:
        return parse("", "", env, defaults=defaults)
    return parse(_text_of(path), str(path), env, base=path.parent, defaults=defaults)


def examine(
    path: Path, further: Examine, doubts: Examine, env: Mapping[str, str] | None = None
) -> tuple[Config, tuple[str, ...]]:
    """The same for a file, with what `further` finds wrong among the problems, in those sections that are right.

    What is doubtful in these is told in any case, here or with the problems.
    """
    env = os.environ if env is None else env
    reader, config = _parsed(_text_of(path), str(path), env, path.parent, {})
    sound = reader.sound
    for where, what in further(sound):
        reader.add(where, what)
    wrong = bool(reader.problems)
    for where, what in doubts(sound):
        reader.add(where, what)
    if wrong or config is None:
        raise ConfigProblems(reader.in_order)
    return config, reader.in_order


def parse(
    text: str,
    name: str = "config",
    env: Mapping[str, str] | None = None,
    *,
    base: Path = Path(),
    defaults: Mapping[Where, object] = MappingProxyType({}),
) -> Config:
    """The same for a text. `name` stands before each line number."""
    reader, config = _parsed(text, name, {} if env is None else env, base, defaults)
    if reader.problems or config is None:
        raise ConfigProblems(reader.in_order)
    return config


def _parsed(
    text: str, name: str, env: Mapping[str, str], base: Path, defaults: Mapping[Where, object]
) -> tuple[_Reader, Config | None]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        number, what = syntax(error, text)
        raise ConfigProblems([f"{name}:{number}: {what}"]) from None
    except (ValueError, RecursionError) as error:
        number, what = excess(error, text)
        raise ConfigProblems([f"{name}:{number}: {what}"]) from None
    reader = _Reader(name, lines(text), base)
    reader.overlay(document, env)
    for where, value in defaults.items():
        _table(document, where[:-1]).setdefault(str(where[-1]), value)
    return reader, reader.record(Config, document, ())


def _text_of(path: Path) -> str:
    try:
        return text_of(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no UTF-8 text; save it as such"
        raise ConfigProblems([f"{path}: {reason}"]) from None


def text_of(path: Path) -> str:
    """What stands in a file; the mark that some editors put at its beginning does not count."""
    return path.read_text(encoding="utf-8-sig")


class _Reader:
    """Collects problems instead of stopping at the first."""

    def __init__(self, name: str, places: Mapping[Where, int], base: Path) -> None:
        self.problems: list[tuple[int, str]] = []
        self._name = name
        self._places = places
        self._base = base
        self._texts: dict[Where, str] = {}
        self._right: dict[str, Any] = {}

    @property
    def sound(self) -> Config:
        """The sections that are right, by themselves, and the others as they are by default."""
        try:
            return Config(**self._right)
        except RelayConfigError:
            return Config(**{name: each for name, each in self._right.items() if name in _ALONE})

    @property
    def in_order(self) -> tuple[str, ...]:
        """All problems: those of variables, then those of lines as they stand in the file."""
        return tuple(text for _, text in sorted(self.problems, key=lambda problem: problem[0]))

    def overlay(self, document: dict[str, Any], env: Mapping[str, str]) -> None:
        """Puts the environment's values into the document."""
        known = dict(variables())
        for variable, text in env.items():
            if not variable.startswith(PREFIX) or variable == ALL:
                continue
            where = known.get(variable)
            if where is None:
                self.problems.append((0, f"{variable}: {unknown(variable, known, form=FORM)}"))
                continue
            _table(document, where[:-1])[str(where[-1])] = text
            self._texts[where] = variable

    def record(self, kind: type[Any], table: Any, where: Where) -> Any:
        """A record of its table, None if something in it is wrong."""
        if not isinstance(table, Mapping):
            self.add(where, f"must be a table: write [{_dotted(where)}]")
            return None
        hints = get_type_hints(kind)
        known = {each.name: each for each in fields(kind) if each.init}
        given: dict[str, Any] = {}
        wrong: set[str] = set()
        for key, value in table.items():
            if key not in known:
                self.add((*where, key), unknown(key, known, _sections_with(key, where), _TABLES))
                wrong.add(key)
                continue
            converted = self._value(hints[key], value, (*where, key), known[key])
            if converted is MISSING:
                wrong.add(key)
            else:
                given[key] = converted
        for name, each in known.items():
            if name not in table and _is_needed(each):
                self.add(where, f"{name} is missing; {example(hints[name], each)}")
                wrong.add(name)
        if not where:
            self._right = given
            if wrong:
                self._together({name: each for name, each in given.items() if _NEEDS.get(name) not in wrong})
                return None
        return self._made(kind, given, wrong, where)

    def _together(self, sections: Mapping[str, Any]) -> None:
        """Tells what sections that are right have to do with each other."""
        try:
            Config(**sections)
        except RelayConfigError as error:
            self.add(_steps(error.field), str(error))

    def _made(self, kind: type[Any], given: dict[str, Any], wrong: set[str], where: Where) -> Any:
        """A record, None if something in it is or was wrong. Its own rules tell their first breach; so it is mended."""
        known = {each.name: each for each in fields(kind)}
        values = {**{name: _HARMLESS[name] for name in wrong if name in _HARMLESS and name in known}, **given}
        clean = not wrong
        while True:
            try:
                made = kind(**values)
            except RelayConfigError as error:
                name = error.field
                if clean or not (wrong & {name, *error.needs}):
                    self.add((*where, *_steps(name)), str(error))
                clean = False
                if name in wrong or name not in values:
                    return None
                wrong.add(name)
                if not _is_needed(known[name]):
                    del values[name]
                elif name in _HARMLESS:
                    values[name] = _HARMLESS[name]
                else:
                    return None
            except TypeError:
                return None  # something is missing, which was told
            else:
                return made if clean else None

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
            found = msgspec.convert(value, hint, strict=not is_text, dec_hook=self._path)
        except msgspec.ValidationError as error:
            self.add(where, mistake(error, hint, known, value, self._texts.get(where)))
            return MISSING
        if isinstance(found, int) and found.bit_length() > BITS:
            self.add(where, f"the number is too large; {example(hint, known)}")
            return MISSING
        return found

    def _records(self, item: Any, value: Any, where: Where) -> Any:
        if not isinstance(value, list):
            self.add(where, f"must be a list of tables: write [[{_dotted(where)}]]")
            return MISSING
        found = [self.record(item, each, (*where, number)) for number, each in enumerate(value)]
        return MISSING if None in found else tuple(found)

    def _path(self, kind: type[Any], value: Any) -> Any:
        if kind is Path and isinstance(value, str):
            return self._base / value
        if kind is Path:
            raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
        raise NotImplementedError(kind)  # no field of a record has another type

    def add(self, where: Where, what: str) -> None:
        """A problem, with the place of its setting."""
        variable = self._texts.get(where)
        if variable is not None:
            self.problems.append((0, f"{variable}: {what}"))
            return
        line = next((self._places[where[:n]] for n in range(len(where), 0, -1) if where[:n] in self._places), 1)
        text = f"{self._name}:{line}: {_dotted(where)}: {what}" if where else f"{self._name}: {what}"
        self.problems.append((line, text))


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
                found.setdefault(table, number)
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            found.setdefault(table, number)
            continue
        key = _KEY.match(line)
        if key is not None:
            found.setdefault((*table, key["key"].strip("\"'")), number)
    return MappingProxyType(found)


def _table(document: dict[str, Any], where: Sequence[str | int]) -> dict[str, Any]:
    """A table of the document, which is made if it is not there. One of nobody's where something else stands."""
    for part in where:
        found = document.setdefault(str(part), {})
        if not isinstance(found, dict):
            return {}  # the reader tells of it
        document = found
    return document


def _dotted(where: Where) -> str:
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _steps(field: str) -> Where:
    return tuple(int(part) if part.isdecimal() else part for part in field.split(".")) if field else ()


def _is_needed(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _sections_with(name: str, where: Where) -> list[str]:
    """Headers of the other sections that have this setting."""
    found = []
    for section, hint in get_type_hints(Config).items():
        kind = next((each for each in (hint, *get_args(hint)) if is_dataclass(each)), None)
        if kind is not None and section not in where and name in {each.name for each in fields(kind) if each.init}:
            found.append(f"[[{section}]]" if section in _TABLES else f"[{section}]")
    return found


_TABLES = frozenset({"targets", "meetings"})
"""Sections of which there may be many."""
_ALONE = frozenset({"name", "server", "pages", "limits", "operation", "dbg"})
"""Those that have nothing to do with others."""
_NEEDS: Mapping[str, str] = MappingProxyType({"cluster": "server"})
"""Sections that say nothing without another one."""
_HARMLESS: Mapping[str, Any] = MappingProxyType({"name": "?", "host": "127.0.0.1", "port": 1})
"""What stands in for a wrong value that must be there, while the rest of its record is looked at."""
