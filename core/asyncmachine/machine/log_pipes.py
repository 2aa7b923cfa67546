"""The pipes of one machine, as its log tells them. Kept also while nothing is logged, for who attaches later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from asyncmachine.machine.levels import OPS, LogEntry, LogLevel, Sem


class Write(Protocol):
    """Makes an entry of the log."""

    def __call__(self, level: LogLevel, text: str, sem: Sem | None = None) -> None: ...


class LoggedPipe(NamedTuple):
    """One state that is piped to another machine (`is_out`) or from it, when it activates (`is_add`) or deactivates."""

    is_out: bool
    is_add: bool
    state: str
    machine_id: str

    def __str__(self) -> str:
        direction, word = ("out", "to") if self.is_out else ("in", "from")
        return f"[pipe-{direction}:{'add' if self.is_add else 'remove'}] {self.state} {word} {self.machine_id}"

    @property
    def entry(self) -> LogEntry:
        """As the log tells of it."""
        event = f"{'out' if self.is_out else 'in'}:{'add' if self.is_add else 'remove'}"
        return LogEntry(OPS, str(self), Sem("pipe", event, (self.state,), names=(self.machine_id,)))


class LogPipes:
    """What is piped from and to a machine."""

    __slots__ = ("_pipes", "_write")

    def __init__(self, write: Write) -> None:
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
                self._write(OPS, f"[pipe:gc] {machine_id}", Sem("pipe", "gc", names=(machine_id,)))

    def remove(self, machine_id: str) -> None:
        """Another machine is gone, and all pipes from and to it."""
        self.discard(*(pipe for pipe in self._pipes if pipe.machine_id == machine_id))

    def entries(self) -> tuple[LogEntry, ...]:
        """The pipes there are, as log entries."""
        return tuple(pipe.entry for pipe in self._pipes)

    def __iter__(self) -> Iterator[LoggedPipe]:
        return iter(tuple(self._pipes))

    def __len__(self) -> int:
        return len(self._pipes)

    def _add(self, pipe: LoggedPipe) -> LoggedPipe:
        self._pipes.append(pipe)
        self._write(*pipe.entry)
        return pipe
