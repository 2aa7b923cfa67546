"""What an option can be: each look raises an error that names the option, what it takes, and what it got."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from inspect import iscoroutinefunction
from typing import Any, Final

from asyncmachine.machine.errors import InvalidArgs, StateMissing, nearest
from asyncmachine.machine.schema import Schema


def check_names(owner: str, given: Iterable[str], known: Collection[str]) -> None:
    """Raises `TypeError` for an option that there is not, as Python does for an argument."""
    for name in given:
        if name not in known:
            hint = nearest(name, known)
            raise TypeError(f"{owner} has no option {name!r}{f'; did you mean {hint!r}?' if hint else ''}")


def check_states(owner: str, given: Iterable[str], schema: Schema | None) -> None:
    """Raises `StateMissing` for names that a given schema does not have: a mirror would just never follow them."""
    if schema is not None and (unknown := [name for name in given if name not in schema]):
        raise StateMissing(unknown, owner, schema.names)


def check_plain_function(what: str, function: object) -> None:
    """Raises `InvalidArgs` for what is no function, or one that would have to be awaited."""
    if not callable(function):
        raise InvalidArgs(f"{what} is a function, got {function!r}")
    if iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        raise InvalidArgs(f"{what} is called and not awaited: it cannot be a coroutine function")


def check_kind(what: str, value: object, kind: type[Any], like: str) -> None:
    """Raises `InvalidArgs` for what is neither None nor of this kind, which is `like` in words."""
    if value is not None and not isinstance(value, kind):
        raise InvalidArgs(f"{what} is {like}, or None, got {value!r}")


def check_function(what: str, value: object, does: str) -> None:
    """Raises `InvalidArgs` for what is no function that `does` something."""
    if not callable(value):
        raise InvalidArgs(f"{what} is a function that {does}, got {value!r}")


def check_place(what: str, value: object, does: str) -> None:
    """Raises `InvalidArgs` for what is neither an address nor a function that `does` something."""
    if not isinstance(value, str) and not callable(value):
        raise InvalidArgs(f"{what} is an address as a text, or a function that {does}, got {value!r}")


def check_text(what: str, value: object) -> None:
    """Raises `InvalidArgs` for what is no text."""
    if not isinstance(value, str):
        raise InvalidArgs(f"{what} is a text, got {value!r}")


def check_seconds(what: str, value: Any, *, more_than_none: bool = False) -> None:
    """Raises `InvalidArgs` for what is no time: a text, less than 0, not a number."""
    is_number = isinstance(value, int | float)
    if not is_number or not value >= 0 or (more_than_none and value == 0):
        raise InvalidArgs(
            f"{what} is a number of seconds, {'more than' if more_than_none else 'at least'} 0: {value!r}"
        )


LONGEST: Final = 1e9
"""Seconds that a limit of time may have: about 30 years, and few enough to be counted in milliseconds on the wire."""


def check_within(within: Any) -> None:
    """Raises `InvalidArgs` for what is no limit of time: no number, less than 0, or beyond all use."""
    if not isinstance(within, int | float) or not 0 <= within <= LONGEST:
        raise InvalidArgs(f"within is a number of seconds from 0 to {LONGEST:.0e}, got {within!r}")


def check_share(what: str, value: Any) -> None:
    """Raises `InvalidArgs` for what is no number from 0 to 1."""
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidArgs(f"{what} is a share from 0 to 1, got {value!r}")


def check_whole(what: str, value: object, least: int) -> None:
    """Raises `InvalidArgs` for what is no whole number, or too small a one."""
    if not isinstance(value, int) or value < least:
        raise InvalidArgs(f"{what} is a whole number from {least} on, got {value!r}")
