"""What servers, clients and muxes are made with, looked at where they are made.

What is wrong with an option would else show with the first client, at another place, as a connection that just ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from inspect import iscoroutinefunction
from typing import Any

from asyncmachine.machine.args import Args
from asyncmachine.machine.errors import InvalidArgs, StateMissing, nearest
from asyncmachine.machine.schema import Schema


def check_server(
    name: object = "",
    push_interval: object = 0.0,
    allow: object = None,
    clients: object = 1,
    max_payload: object = 1,
    args: Any = None,
    strangers: object = 0,
) -> None:
    """Raises `InvalidArgs` for options that no server can have."""
    check_text("name", name)
    check_seconds("push_interval", push_interval)
    check_whole("clients", clients, 1)
    check_whole("max_payload", max_payload, 1)
    check_whole("strangers", strangers, 0)
    if allow is not None:
        check_plain_function("allow", allow)
    if isinstance(args, type) or not all(map(_is_record, args or ())):
        raise InvalidArgs(f"args takes several classes of typed records, got {args!r}")


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


def check_whole(what: str, value: object, least: int) -> None:
    """Raises `InvalidArgs` for what is no whole number, or too small a one."""
    if not isinstance(value, int) or value < least:
        raise InvalidArgs(f"{what} is a whole number from {least} on, got {value!r}")


def _is_record(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Args)
