"""Observers: what turns the life of a machine into log lines.

`Observer` has the lines that local and network machines have in common. It is bound while the log is on, and reached
by `machine._observer` from the few places that no tracer's hook covers. The texts are an interface: debuggers read
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from asyncmachine.machine.levels import CHANGES, DECISIONS, OPS, LogLevel, Sem
from asyncmachine.machine.tracer import Tracer
from asyncmachine.machine.wait import Once

if TYPE_CHECKING:
    from asyncmachine.machine.log import Log
    from asyncmachine.machine.transition import Transition
    from asyncmachine.machine.view import View


RAISED = Sem("error", "raised")


class Observer(Tracer):
    """Writes the lines about waits, scopes, bindings and tracers; a transition's entries are kept with it."""

    id = "log"

    def __init__(self, machine: View[Any], log: Log) -> None:
        self._machine = machine
        self._log = log
        self._level = log.level
        self._tx: Transition | None = None
        self._queries = 0

    def set_level(self, level: LogLevel) -> None:
        """The log's level has changed."""
        self._level = level

    def transition_init(self, tx: Transition) -> None:
        self._tx = tx
        tx.log_entries = self._log.begin()

    def transition_end(self, tx: Transition) -> None:
        if tx is self._tx:
            self._tx = None
            tx.pre_log_entries = self._log.end()

    def machine_dispose(self, machine_id: str) -> None:
        self._log.silence()

    # Waits and scopes

    def waits(
        self,
        kind: str,
        wait: Once,
        states: Sequence[str] = (),
        numbers: Sequence[int] = (),
        names: Sequence[str] | None = None,
    ) -> None:
        """A wait was made; its match is told when it comes. One that is met already says nothing."""
        if self._level < OPS or wait.done():
            return
        parts = (
            ",".join(states),
            " ".join(map(str, numbers)),
            "" if names is None else f"({','.join(names)})",
        )
        about = " ".join(part for part in parts if part)
        told = tuple(states), tuple(numbers), tuple(names or ())
        self._log.write(OPS, f"[{kind}:new] {about}", Sem(kind, "new", *told))
        wait._file(Match(self._log, f"[{kind}:match] {about}", Sem(kind, "match", *told)))

    def waits_for_query(self, wait: Once) -> None:
        """A wait for a query was made. Queries are numbered."""
        if self._level >= OPS and not wait.done():
            self._queries += 1
            self.waits("whenQuery", wait, numbers=(self._queries,))

    # Bindings

    def bound(self, id: str) -> None:
        """Handlers were bound."""
        self._log.write(OPS, f"[handlers] bind {self.number(id)}:{id}")

    def detached(self, id: str) -> None:
        """Handlers were taken away."""
        self._log.write(OPS, f"[handlers] detach {id}")

    def tracer_bound(self, id: str) -> None:
        """A tracer was bound."""
        self._log.write(OPS, f"[tracers] bind {id}")

    def tracer_detached(self, id: str) -> None:
        """A tracer was taken away."""
        self._log.write(OPS, f"[tracers] detach {id}")

    def number(self, binding: str) -> int:
        """The serial number of a binding, 0 for one that is gone."""
        table = self._machine._table
        return 0 if table is None else table.number(binding)

    def called(self, binding: str, handler: str) -> None:
        """A handler is called."""
        number = self.number(binding)
        self._log.write(OPS, f"[handler:{number}] {handler}", Sem("handler", "", (), (number,), (handler,)))

    # Else

    def not_found(self, name: str) -> None:
        """A state was asked for that the machine does not have."""
        self._log.write(DECISIONS, f"[is] state {name} not found")

    def error(self, text: str) -> None:
        """Something failed that became no state of the machine."""
        self._log.write(CHANGES, f"[error] {text}", RAISED)


class Match:
    """Where a wait is filed that the log tells of when it is met."""

    __slots__ = ("_line", "_log", "_sem")

    def __init__(self, log: Log, line: str, sem: Sem) -> None:
        self._log = log
        self._line = line
        self._sem = sem

    def pop(self, key: object, default: None, /) -> None:
        """It has ended, or is nobody's any more."""
        if isinstance(key, Once) and key._error is None:
            self._log.write(OPS, self._line, self._sem)


class MirrorObserver(Observer):
    """Of a network machine: what changed, and the handlers that were called here. Decisions are made at the source."""

    def transition_start(self, tx: Transition) -> None:
        changes = [f"+{name}" for name in tx.enters] + [f"-{name}" for name in tx.exits]
        if changes:
            self._log.write(CHANGES, f"[state] {' '.join(changes)}")

    def handler_start(self, tx: Transition, binding: str, name: str) -> None:
        if self._level >= OPS:
            self.called(binding, name)
