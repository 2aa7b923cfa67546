"""Breakpoints: places to stop, named by mutations instead of lines of code.

A breakpoint names states that a mutation adds, or removes. A mutation that is queued with exactly these states, in this
order, hits it, once; `set`, auto mutations and dry runs never do.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asyncmachine.machine.levels import CHANGES, Sem
from asyncmachine.machine.mutation import ADD, SET, Mutation
from asyncmachine.machine.tracer import Tracer

if TYPE_CHECKING:
    from asyncmachine.machine.view import View


class Breakpoint(Tracer):
    """One breakpoint of a machine; see `View.add_breakpoint`."""

    def __init__(
        self,
        machine: View[Any],
        added: tuple[str, ...],
        removed: tuple[str, ...],
        strict: bool = False,
        hit: Callable[[Mutation], object] | None = None,
    ) -> None:
        machine._indexes((*added, *removed))
        self.added = added
        self.removed = removed
        self.strict = strict
        self._hit = hit

    def mutation_queued(self, machine: View[Any], mutation: Mutation) -> None:
        if not self.matches(machine, mutation):
            return
        log = machine.log
        stack = f"\n{''.join(traceback.format_stack()).rstrip()}" if log.traces and log.level >= CHANGES else ""
        log.write(CHANGES, f"[breakpoint] Machine.breakpoint{stack}", Sem("breakpoint", states=mutation.called))
        if self._hit is not None:
            self._hit(mutation)

    def matches(self, machine: View[Any], mutation: Mutation) -> bool:
        """Whether the mutation hits it."""
        if mutation.kind_id == SET or mutation.is_auto or mutation.is_check or not mutation.called:
            return False
        if mutation.called != (self.added if mutation.kind_id == ADD else self.removed):
            return False
        if not self.strict:
            return True
        already_there = bool(self.added) and all(name in machine for name in self.added)
        already_gone = bool(self.removed) and not any(name in machine for name in self.removed)
        return not already_there and not already_gone
