"""The tracer that tells a server when its source has changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from asyncmachine.machine.tracer import Tracer
from asyncmachine.machine.view import View
from asyncmachine.rpc.mirror_transition import MirrorTransition

if TYPE_CHECKING:
    from asyncmachine.machine.plan import Plan
    from asyncmachine.machine.transition import Transition

LIMIT: Final = 1024
"""Transitions that are kept for one client."""

Moment = tuple[tuple[int, ...], int, int]
"""Ticks, queue tick and machine tick of a source, taken together."""

Last: TypeAlias = "Moment | tuple[Transition, int, int]"
"""A moment, or the transition that ended at it: its ticks are made when they are asked for, if they are."""


def moment_of(last: Last) -> Moment:
    """The ticks of a transition are computed here."""
    found, queue_tick, machine_tick = last
    return found if isinstance(found, tuple) else found.after, queue_tick, machine_tick


class Watcher(Tracer):
    """Knows the source's clock as it was at the end of the last transition, and calls `changed()` after each.

    Both happen on the thread that drains the source. Reading ticks at another time could catch a transition half done.
    Of a mirror it knows, too, whether its source was replaced. `gone()` is called when the source is disposed of.
    """

    restarted = False

    def __init__(
        self, source: View[Any], id: str, changed: Callable[[], None], gone: Callable[[], None] = lambda: None
    ) -> None:
        self.id = id
        self._source = source
        self._changed = changed
        self._gone = gone
        self.last: Last
        self.look()

    def look(self) -> None:
        """Takes the clock as it is now. On another thread than the source's it may be that of half a transition."""
        self.last = (self._source.time(), self._source.queue_tick, self._source.machine_tick)

    def schema_change(self, machine: View[Any], old: object) -> None:
        """The ticks are as before, but those of new states stand among them."""
        self.look()
        self._changed()

    def machine_dispose(self, machine_id: str) -> None:
        """There will be no other clock."""
        self._gone()

    def transition_end(self, tx: Transition) -> None:
        """Canceled transitions count too: they move the queue tick."""
        if isinstance(tx, MirrorTransition) and tx.restarted:
            self.restarted = True
        if not tx.is_check:
            source = self._source
            # The ticks are made of the transition when they are asked for: one answer may tell of many transitions.
            self.last = (tx, source.queue_tick, source.machine_tick)
            self._changed()

    def transition_plain(self, machine: View[Any], plan: Plan, auto: Plan | None, queue_tick: int) -> None:
        """As `transition_end`, for a transition that nothing but relations had a part in."""
        self.last = (machine.time(), queue_tick, machine.machine_tick)
        self._changed()


class Seen(NamedTuple):
    """What a `Recorder` keeps of a transition. Without one (None) the schema has changed."""

    tx: Transition | None
    ticks: tuple[int, ...]
    queue_tick: int
    machine_tick: int


class Recorder(Watcher):
    """Keeps each transition until it is taken. Of more than `LIMIT` it keeps the last one alone, and says so."""

    def __init__(
        self, source: View[Any], id: str, changed: Callable[[], None], gone: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(source, id, changed, gone)
        self._seen: deque[Seen] = deque()
        self._lost = False

    def __len__(self) -> int:
        return len(self._seen)

    def take(self) -> tuple[list[Seen], bool]:
        """What has been seen since it was taken last, and whether others were before that are not kept."""
        lost, self._lost = self._lost, False
        taken = []
        while self._seen:
            taken.append(self._seen.popleft())
        return taken, lost

    def transition_end(self, tx: Transition) -> None:
        if not tx.is_check:
            self._note(tx, tx.after)
        super().transition_end(tx)

    # As the base class has it, so that machines make a transition of each.
    transition_plain = Tracer.transition_plain

    def schema_change(self, machine: View[Any], old: object) -> None:
        self._note(None, machine.time())
        super().schema_change(machine, old)

    def _note(self, tx: Transition | None, ticks: tuple[int, ...]) -> None:
        if len(self._seen) >= LIMIT:
            self._seen.clear()
            self._lost = True
        self._seen.append(Seen(tx, ticks, self._source.queue_tick, self._source.machine_tick))
