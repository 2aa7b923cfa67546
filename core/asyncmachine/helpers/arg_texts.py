"""Typed arguments from texts, for command lines and forms: ``Dialing.addr`` → ``":5555"``.

A text field takes its text as it is; every other one takes JSON (``3``, ``true``, ``["a", "b"]``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from asyncmachine.machine.args import Args
from asyncmachine.machine.errors import InvalidArgs, nearest


class ArgTexts:
    """What a set of record classes can be told in texts."""

    def __init__(self, kinds: Iterable[type[Args]]) -> None:
        self._kinds: dict[str, type[Args]] = {}
        self._hints: dict[str, Any] = {}
        for kind in kinds:
            hints = get_type_hints(kind, include_extras=True)
            self._kinds[kind.state] = kind
            self._hints.update({f"{kind.state}.{field.name}": hints[field.name] for field in _fields(kind)})

    @property
    def names(self) -> tuple[str, ...]:
        """All names there are, in the order of the classes and their fields."""
        return tuple(self._hints)

    def records(self, texts: Mapping[str, str]) -> list[Args]:
        """One record for each state that the texts name. Pass the list to a mutation.

        Raises `InvalidArgs` for a name that is none, a text that does not fit its field, and a field that is missing.
        """
        given: dict[str, dict[str, Any]] = {}
        for name, text in texts.items():
            if name not in self._hints:
                hint = nearest(name, self._hints)
                raise InvalidArgs(f"no argument is called {name!r}" + (f"; did you mean {hint!r}?" if hint else ""))
            state, _, field = name.rpartition(".")
            given.setdefault(state, {})[field] = _value(name, text, self._hints[name])
        return [self._record(state, values) for state, values in given.items()]

    def _record(self, state: str, values: dict[str, Any]) -> Args:
        kind = self._kinds[state]
        missing = [
            f"{state}.{field.name}"
            for field in _fields(kind)
            if field.name not in values and field.default is MISSING and field.default_factory is MISSING
        ]
        if missing:
            raise InvalidArgs(f"missing arguments: {', '.join(missing)}")
        return kind(**values)


def args_names(kinds: Iterable[type[Args]]) -> tuple[str, ...]:
    """The names under which the fields of these records can be given as texts."""
    return ArgTexts(kinds).names


def args_unmarshal(texts: Mapping[str, str], *kinds: type[Args]) -> list[Args]:
    """Records from texts, for once. Keep an `ArgTexts` to do it often."""
    return ArgTexts(kinds).records(texts)


def _value(name: str, text: str, hint: Any) -> Any:
    kinds = _kinds_of(hint)
    if str in kinds or Any in kinds:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        raise InvalidArgs(f"{name}: {text!r} is no JSON; expected {_words(kinds)}") from None
    for kind in kinds:
        fitted = _fitted(value, kind)
        if fitted is not _UNFIT:
            return fitted
    raise InvalidArgs(f"{name}: expected {_words(kinds)}, got {text}")


def _fields(kind: Any) -> list[Field[Any]]:
    if not is_dataclass(kind):
        raise InvalidArgs(f"{kind.__qualname__} must be a dataclass, so that its fields are known")
    return [field for field in fields(kind) if field.init]


_UNFIT = object()


def _kinds_of(hint: Any) -> list[Any]:
    """The plain types that a field takes."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _kinds_of(get_args(hint)[0])
    if origin in (Union, UnionType):
        return [kind for part in get_args(hint) for kind in _kinds_of(part)]
    return [hint if origin is None else origin]


def _fitted(value: Any, kind: Any) -> Any:
    """The JSON value as a field of this type takes it."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (tuple, set, frozenset) and isinstance(value, list):
        return kind(value)
    if not isinstance(kind, type) or (isinstance(value, bool) and kind is not bool):
        return _UNFIT
    return value if isinstance(value, kind) else _UNFIT


def _words(kinds: list[Any]) -> str:
    return " or ".join("null" if kind is NoneType else getattr(kind, "__name__", str(kind)) for kind in kinds)
