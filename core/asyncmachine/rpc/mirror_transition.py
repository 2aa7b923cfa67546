"""A clock update, as the transition that tracers and handlers of a mirror see."""

from __future__ import annotations

from typing import Any

from asyncmachine.machine.mutation import SET, Kind, Mutation
from asyncmachine.machine.transition import Transition
from asyncmachine.machine.view import View


class MirrorTransition(Transition):
    """The mutation that led there, or a Set of everything that is active. No plan: the source has decided already."""

    restarted = False
    """Whether the source is not the one that was shown before."""

    def __init__(
        self,
        mirror: View[Any],
        before: list[int],
        after: tuple[int, ...],
        mutation: Mutation | None = None,
        *,
        accepted: bool = True,
    ) -> None:
        names = mirror.names
        self.machine = mirror
        self.accepted = accepted
        self.args = {}
        self.source = None
        self.queue_tick = 0
        self._before = before
        self._after = after
        self._active_before = tuple(n for n, tick in zip(names, before, strict=True) if tick & 1)
        self._target = tuple(n for n, tick in zip(names, after, strict=True) if tick & 1)
        self._enters = tuple(n for n, old, new in zip(names, before, after, strict=True) if new & 1 and not old & 1)
        self._exits = tuple(n for n, old, new in zip(names, before, after, strict=True) if old & 1 and not new & 1)
        active = tuple(i for i, tick in enumerate(after) if tick & 1)
        self._mutation = mutation or Mutation(SET, active, self._target, {})

    @property
    def kind(self) -> Kind:
        """That of the mutation; a Set unless it is known."""
        return self.mutation.kind

    @property
    def reason(self) -> str:
        """Empty: the source does not tell."""
        return ""

    @property
    def active_before(self) -> tuple[str, ...]:
        """Active states before, in order."""
        return self._active_before

    @property
    def target(self) -> tuple[str, ...]:
        """Active states after, in order."""
        return self._target

    @property
    def enters(self) -> tuple[str, ...]:
        """States that activated."""
        return self._enters

    @property
    def exits(self) -> tuple[str, ...]:
        """States that deactivated."""
        return self._exits
