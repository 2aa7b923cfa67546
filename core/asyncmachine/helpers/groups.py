"""Several machines asked as one."""

from __future__ import annotations

from typing import Any

from asyncmachine.helpers.waiting import group_when
from asyncmachine.machine.api import Api
from asyncmachine.machine.scope import Scope
from asyncmachine.machine.wait import Wait


class MachGroup(tuple[Api[Any], ...]):
    """`MachGroup([first, second]).is_("Ready")`: is it so on all of them?"""

    __slots__ = ()

    def is_(self, *names: str) -> bool:
        """True if all of these are active on every machine."""
        return all(machine.is_(*names) for machine in self)

    def not_(self, *names: str) -> bool:
        """True if none of these is active on any machine."""
        return all(machine.not_(*names) for machine in self)

    def count(self, *names: str) -> int:
        """On how many machines all of these are active."""
        return sum(machine.is_(*names) for machine in self)

    def when(self, *names: str, scope: Scope | None = None) -> list[Wait]:
        """One wait for each machine: ``await am.wait_all(*group.when("Ready"))``."""
        return group_when(self, *names, scope=scope)
