"""Mirrors: a small machine of its own that follows some states of another one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from asyncmachine.helpers.pipes import bind_many, sync
from asyncmachine.machine.errors import StateMissing
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.schema import State

K = TypeVar("K", bound=str)


def new_mirror(
    source: Machine[K], states: Iterable[K], handlers: object = None, *, id: str = "", flat: bool = True
) -> Machine[str]:
    """A child machine with the given states of `source`, without their relations, kept alike by pipes.

    It begins with what is active on the source. A `flat` mirror then follows activity alone; one that is not also gets
    arguments and each new call of a Multi state. Handlers are bound to the mirror. Raises `StateMissing`.
    """
    names = tuple(dict.fromkeys(states))
    missing = [name for name in names if not source.has(name)]
    if missing:
        raise StateMissing(missing, source.id, source.names)
    schema: dict[str, State] = {name: State(multi=source.schema[name].multi) for name in names}
    mirror = Machine(schema, handlers, id=id, parent=source)
    bind_many(source, mirror, names, flat=flat)
    sync(source, mirror, names)
    return mirror
