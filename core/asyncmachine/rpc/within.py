"""Mutations with a time limit of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, Literal, Protocol

from asyncmachine.machine.args import ArgsLike, raw_args
from asyncmachine.machine.drain import Source
from asyncmachine.machine.reading import N
from asyncmachine.machine.result import Result

MirrorKind = Literal["add", "remove", "set", "toggle"]


class Mutate(Protocol):
    """Sends a mutation that has to be answered within so many seconds."""

    def __call__(
        self, kind: MirrorKind, states: Any, args: dict[str, Any], e: Source, within: float | None = None
    ) -> Result: ...


class Within(Generic[N]):
    """The mutations of a network machine, for calls that are of no use later. Made by `NetworkMachine.within`."""

    __slots__ = ("_mutate", "_seconds")

    def __init__(self, mutate: Mutate, seconds: float) -> None:
        self._mutate = mutate
        self._seconds = seconds

    def add(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Activates states of the source."""
        return self._mutate("add", states, raw_args(args, kw), e, self._seconds)

    def remove(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Deactivates states of the source."""
        return self._mutate("remove", states, raw_args(args, kw), e, self._seconds)

    def set(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Activates exactly these states of the source."""
        return self._mutate("set", states, raw_args(args, kw), e, self._seconds)

    def toggle(self, states: N | Iterable[N], args: ArgsLike = None, /, *, e: Source = None, **kw: Any) -> Result:
        """Deactivates the states if all are active here, activates them otherwise."""
        return self._mutate("toggle", states, raw_args(args, kw), e, self._seconds)
