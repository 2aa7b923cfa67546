"""Loose arguments of a call as the typed records that its states take: a REPL knows names and values, no classes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

import msgspec

from asyncmachine.machine.args import Args
from asyncmachine.machine.errors import InvalidArgs, nearest


class LooseArgs:
    """Makes records of the classes in `kinds`, which are looked at for each call."""

    __slots__ = ("_kinds",)

    def __init__(self, kinds: Collection[type[Args]]) -> None:
        self._kinds = kinds

    def typed(self, states: Iterable[str], args: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with a record in the place of the fields that make it.

        Arguments of states that declare none stay as they are. Raises `InvalidArgs` for a name that none of the states
        declares, for a value that does not fit its field, and for a field that is missing.
        """
        loose = {name: value for name, value in args.items() if not isinstance(value, Args)}
        found = {name: value for name, value in args.items() if name not in loose}
        kinds = self._of(states)
        if not loose or not kinds:
            return {**found, **loose}
        left = set(loose)
        # Two classes of one state may share some fields: who has most of them comes first, and who lacks none.
        for kind in sorted(kinds, key=lambda kind: (-len(left & _names(kind)), bool(_missing(kind, loose)))):
            named = left & _names(kind)
            if named:
                found[kind.key] = _record(kind, {name: loose[name] for name in loose if name in named})
                left -= named
        if left:
            raise InvalidArgs(_unknown(next(name for name in loose if name in left), kinds))
        return found

    def _of(self, states: Iterable[str]) -> list[type[Args]]:
        wanted = frozenset(states)
        return [kind for kind in self._kinds if kind.state in wanted and kind.prefix[:1] != "_" and _is_told(kind)]


def _record(kind: type[Args], values: dict[str, Any]) -> Args:
    if missing := _missing(kind, values):
        raise InvalidArgs(f"{kind.state} needs {', '.join(missing)} as well ({kind.__qualname__})")
    try:
        return msgspec.convert(values, kind, strict=False)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise InvalidArgs(f"{kind.state} ({kind.__qualname__}): {error}") from error


def _missing(kind: type[Args], values: Mapping[str, Any]) -> list[str]:
    return [
        field.name
        for field in _fields(kind)
        if field.name not in values and field.default is MISSING and field.default_factory is MISSING
    ]


def _unknown(name: str, kinds: Iterable[type[Args]]) -> str:
    known = sorted({f"{kind.state}.{field}" for kind in kinds for field in _names(kind)})
    hint = nearest(name, {each.rpartition(".")[2] for each in known})
    cure = f"did you mean {hint!r}?" if hint else f"there are {', '.join(known)}"
    return f"no argument is called {name!r}; {cure}"


def _is_told(kind: object) -> bool:
    return is_dataclass(kind)  # another class does not tell its fields


def _names(kind: type[Args]) -> set[str]:
    return {field.name for field in _fields(kind)}


def _fields(kind: Any) -> list[Field[Any]]:
    return [field for field in fields(kind) if field.init]
