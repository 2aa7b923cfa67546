"""Conditions on a machine, as data: made in one place, checked in another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asyncmachine.machine.api import Api


@dataclass(frozen=True, slots=True, kw_only=True)
class Cond:
    """Holds if all that is given holds; an empty one always does.

    `is_`: all are active. `any_`: one at least is. `any_of`: all states of one of these groups are. `not_`: none is.
    `clock`: every tick has been reached.
    """

    is_: tuple[str, ...] = ()
    any_: tuple[str, ...] = ()
    any_of: tuple[tuple[str, ...], ...] = ()
    not_: tuple[str, ...] = ()
    clock: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """True if nothing is asked for."""
        return not (self.is_ or self.any_ or self.any_of or self.not_ or self.clock)

    def check(self, machine: Api[Any] | None) -> bool:
        """Whether it holds now. False for no machine and for a disposed one."""
        return (
            machine is not None
            and not machine.is_disposed
            and machine.is_(*self.is_)
            and machine.not_(*self.not_)
            and (not self.any_ or machine.any_(*self.any_))
            and (not self.any_of or any(machine.is_(*group) for group in self.any_of))
            and machine.was_clock(self.clock)
        )
