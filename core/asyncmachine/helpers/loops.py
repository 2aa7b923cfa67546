"""Loops inside of a state that notice when they spin."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from asyncmachine.machine.api import Api
from asyncmachine.machine.errors import AmError, StateMissing
from asyncmachine.machine.scope import Scope

K = TypeVar("K", bound=str)

THRESHOLD = 500
INTERVAL = 1.0


class EndlessLoop(AmError):
    """A loop made its machine tick too often in too short a time."""


class StateLoop:
    """The guard of a loop that runs while a state is active::

        async def PollingState(self, e: am.Event) -> None:
            loop = StateLoop(e.machine, "Polling")
            while loop.ok():
                await self.poll()

    It ends with the state, when `check` says so, and when the related states tick more than `threshold` times within
    `interval` seconds; then an `EndlessLoop` error is added. Related are the state, what it requires, and what has a
    relation to it. `clock` returns seconds.
    """

    def __init__(
        self,
        machine: Api[K],
        state: K,
        *,
        check: Callable[[], bool] | None = None,
        threshold: int = THRESHOLD,
        interval: float = INTERVAL,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if not machine.has(state):
            raise StateMissing([state], machine.id, machine.names)
        self._machine = machine
        self._scope = machine.scope(state)
        self._state = state
        self._check = check
        self._threshold = threshold
        self._interval = interval
        self._clock = clock
        self._related = related(machine, state)
        self._broken = not machine.is_(state)
        self._since = clock()
        self._base = self.sum()

    @property
    def ended(self) -> bool:
        """True once the loop must not go on."""
        return self._broken or self._scope.expired

    def sum(self) -> int:
        """Ticks of the related states together."""
        return sum(self._machine.time(self._related))  # type: ignore[arg-type]

    def break_(self) -> None:
        """Ends the loop at its next look."""
        self._broken = True

    def ok(self, scope: Scope | None = None) -> bool:
        """Whether to go round once more. `scope` is a further lifetime that the loop keeps to."""
        if self.ended or (scope is not None and scope.expired) or (self._check is not None and not self._check()):
            self._broken = True
            return False
        now, ticks = self._clock(), self.sum()
        if now - self._since > self._interval:
            self._since, self._base = now, ticks
        elif ticks - self._base > self._threshold:
            self._broken = True
            self._machine.add_err(
                EndlessLoop(
                    f"a loop in {self._state} made {ticks - self._base} ticks in {now - self._since:.3f} s, "
                    f"more than {self._threshold}: {' '.join(self._related)}"
                )
            )
            return False
        return True


def related(machine: Api[K], state: K) -> tuple[str, ...]:
    """A state, what it requires, and the states with a relation to it, each once."""
    schema = machine.schema
    return tuple(dict.fromkeys((state, *(schema[state].require or ()), *schema.inbound_relations_of(state))))
