"""Mutations: requests to change states, the unit that the queue holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from asyncmachine.machine.errors import InvalidArgs
from asyncmachine.machine.relations import ADD, REMOVE, SET
from asyncmachine.machine.result import Result

Kind = Literal["add", "remove", "set"]

KINDS: tuple[Kind, Kind, Kind] = ("add", "remove", "set")
"""Names of the kinds by their number (`ADD`, `REMOVE`, `SET`)."""

__all__ = ["ADD", "KINDS", "REMOVE", "SET", "Kind", "Mutation", "MutationSource", "called_names", "kind_number"]


@dataclass(frozen=True, slots=True)
class MutationSource:
    """Where a mutation came from: machine, transition, and that machine's time sum before it."""

    machine_id: str
    tx_id: str
    machine_time: int = 0


class Mutation:
    """One request.

    `called` are the named states, each once, in the given order, `indexes` the same by position; `args` what handlers
    receive.

    `queue_tick` is the serial number of an appended mutation, 0 for one that went to the front of the queue (auto
    mutations, dry runs, errors raised by handlers). `result` is what a queued call returned.
    `depth` counts the handlers that led to it, one caused by the other; 0 for a mutation from outside.
    """

    __slots__ = (
        "args",
        "called",
        "depth",
        "indexes",
        "is_auto",
        "is_check",
        "is_shared",
        "kind_id",
        "queue_tick",
        "result",
        "source",
    )

    def __init__(
        self,
        kind_id: int,
        indexes: tuple[int, ...],
        called: tuple[str, ...],
        args: dict[str, Any],
        source: MutationSource | None = None,
        *,
        is_auto: bool = False,
        is_check: bool = False,
    ) -> None:
        self.kind_id = kind_id
        self.indexes = indexes
        self.called = called
        self.args = args
        self.source = source
        self.is_auto = is_auto
        self.is_check = is_check
        self.queue_tick = 0
        self.depth = 0
        self.result: Result | None = None
        # Whether another call counts on it, which was the same and was not queued beside it.
        self.is_shared = False

    @property
    def kind(self) -> Kind:
        """add, remove or set."""
        return KINDS[self.kind_id]

    def __repr__(self) -> str:
        return f"[{self.kind}] {' '.join(self.called)}"


def kind_number(kind: str) -> int:
    """The number of a kind. Raises `InvalidArgs` for an unknown one."""
    try:
        return KINDS.index(kind)
    except ValueError:
        raise InvalidArgs(f"a mutation is one of {', '.join(KINDS)}, got {kind!r}") from None


def called_names(states: str | Iterable[str]) -> tuple[str, ...]:
    """Each name once, in the given order. Raises `InvalidArgs` for anything but a name or an iterable of names."""
    if isinstance(states, str):
        return (states,)
    try:
        names = tuple(dict.fromkeys(states))
    except TypeError:
        raise InvalidArgs(f"states are a name or an iterable of names, got {type(states).__name__}") from None
    for name in names:
        if not isinstance(name, str):
            raise InvalidArgs(f"a state is named by a text, got {name!r}")
    return names
