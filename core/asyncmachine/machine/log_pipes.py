"""The pipes of one machine, as its log tells them. Kept also while nothing is logged, for who attaches later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from asyncmachine.machine.levels import OPS, LogEntry, LogLevel


class LoggedPipe(NamedTuple):
    """One state that is piped to another machine (`is_out`) or from it, when it activates (`is_add`) or deactivates."""

    is_out: bool
    is_add: bool
    state: str
    machine_id: str

    def __str__(self) -> str:
        direction, word = ("out", "to") if self.is_out else ("in", "from")
        return f"[pipe-{direction}:{'add' if self.is_add else 'remove'}] {self.state} {word} {self.machine_id}"


class LogPipes:
    """What is piped from and to a machine."""

    __slots__ = ("_pipes", "_write")

    def __init__(self, write: Callable[[LogLevel, str], None]) -> None:
        self._pipes: list[LoggedPipe] = []
        self._write = write

    def add_out(self, state: str, target_id: str, *, is_add: bool) -> LoggedPipe:
        """`state` of this machine is piped to another one."""
        return self._add(LoggedPipe(True, is_add, state, target_id))

    def add_in(self, state: str, source_id: str, *, is_add: bool) -> LoggedPipe:
        """`state` of this machine is piped from another one."""
        return self._add(LoggedPipe(False, is_add, state, source_id))

    def discard(self, *pipes: LoggedPipe) -> None:
        """These pipes have been closed. With the last one of a machine its removal is logged."""
        closed: dict[str, None] = {}
        for pipe in pipes:
            if pipe in self._pipes:
                self._pipes.remove(pipe)
                closed[pipe.machine_id] = None
        for machine_id in closed:
            if not any(pipe.machine_id == machine_id for pipe in self._pipes):
                self._write(OPS, f"[pipe:gc] {machine_id}")

    def remove(self, machine_id: str) -> None:
        """Another machine is gone, and all pipes from and to it."""
        self.discard(*(pipe for pipe in self._pipes if pipe.machine_id == machine_id))

    def entries(self) -> tuple[LogEntry, ...]:
        """The pipes there are, as log entries."""
        return tuple(LogEntry(OPS, str(pipe)) for pipe in self._pipes)

    def __iter__(self) -> Iterator[LoggedPipe]:
        return iter(tuple(self._pipes))

    def __len__(self) -> int:
        return len(self._pipes)

    def _add(self, pipe: LoggedPipe) -> LoggedPipe:
        self._pipes.append(pipe)
        self._write(OPS, str(pipe))
        return pipe
