"""What a tracer notes in the moment, to be packed later and elsewhere.

A note has to be cheap to make, must not hold on to arguments (they may be large, and change), and has to be enough to
make messages from when the machine is gone. An *item* is a note with its tracer, its time, and the queue tick.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import TYPE_CHECKING, Any, TypeAlias

from asyncmachine.machine.levels import LogEntry
from asyncmachine.machine.mutation import MutationSource
from asyncmachine.machine.plan import Plan
from asyncmachine.machine.schema import Schema
from asyncmachine.machine.steps import Step
from asyncmachine.machine.view import View
from asyncmachine.telemetry.dbg.messages import Failure, Flag

if TYPE_CHECKING:
    from asyncmachine.telemetry.dbg.tracer import DbgTracer

Ticks = tuple[int, ...]
Stack = tuple[tuple[CodeType, int], ...]
"""Who called, the innermost first: functions and line numbers."""


@dataclass(slots=True, eq=False)
class Record:
    """One transition, queued mutation or dry run.

    It began at the ticks `before`, and led to `after`, or where its `plan` leads to. Without any of these it has
    nothing to do with the ticks. `texts` is about how many bytes it takes in a message, `weight` in memory.
    """

    flags: int
    called: tuple[int, ...]
    before: Ticks | None = None
    after: Ticks | None = None
    plan: Plan | None = None
    id: str = ""
    queue_len: int = 0
    duration: int = 0
    source: MutationSource | None = None
    args: dict[str, str] = field(default_factory=dict)
    failure: Failure | None = None
    log: Sequence[LogEntry] = ()
    pre: Sequence[LogEntry] = ()
    steps: Sequence[Step] = ()
    due: int = 0
    token: int = 0
    stack: Stack = ()
    texts: int = 0
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Clock:
    """All ticks, and the machine's counters."""

    time: Ticks
    queue_tick: int = 0
    machine_tick: int = 0

    @classmethod
    def of(cls, machine: View[Any]) -> Clock:
        """The machine's clock now."""
        return cls(machine.time(), machine.queue_tick, machine.machine_tick)


@dataclass(frozen=True, slots=True)
class Described:
    """A machine and its schema, and the clock at which that begins to count."""

    id: str
    schema: Schema
    names: tuple[str, ...]
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    parent_id: str
    tags: tuple[str, ...]
    remote: bool
    clock: Clock

    @classmethod
    def of(cls, machine: View[Any], clock: Clock | None = None) -> Described:
        """The machine as it is now."""
        groups = getattr(machine, "groups", {})
        return cls(
            machine.id,
            machine.schema,
            machine.names,
            tuple((name, tuple(members)) for name, members in groups.items()),
            machine.parent_id,
            machine.tags,
            not machine.is_local,
            clock or Clock.of(machine),
        )


@dataclass(frozen=True, slots=True)
class Lines:
    """Log entries that no transition takes along."""

    entries: Sequence[LogEntry]
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """The machine is not watched any more."""


Note: TypeAlias = Plan | Record | Described | Clock | Lines | Ended
"""A `Plan` is the note of a transition that relations alone decided. A `Clock` replaces the ticks."""

Item = tuple["DbgTracer", int, Note, int, Plan | None]
"""Tracer, monotonic nanoseconds, note, queue tick, and what followed a plan: the auto transition that came of it."""


@dataclass(slots=True)
class Loss:
    """What was dropped of one machine, summed up: how much, and what clock and schema it has led to.

    `changes` are to be added to `time`, which is None while it is the time before the loss.
    """

    records: int = 0
    lines: int = 0
    time: Ticks | None = None
    changes: Counter[int] = field(default_factory=Counter)
    queue_tick: int = 0
    machine_tick: int | None = None
    described: Described | None = None
    ended: bool = False

    def add(self, note: Note, queue_tick: int, auto: Plan | None = None) -> None:
        """Takes one dropped note in."""
        match note:
            case Plan():
                self.records += 1
                self.queue_tick = queue_tick
                self._follow(note)
                if auto is not None:
                    self.records += 1
                    self._follow(auto)
            case Record():
                self.records += 1
                self.lines += len(note.log) + len(note.pre)
                self.queue_tick = queue_tick
                if note.after is not None:
                    self._set(note.after)
                elif note.plan is not None and note.before is not None:
                    self._set(note.before)
                    self._follow(note.plan)
            case Described():
                self.described = note
                self._restart(note.clock)
            case Clock():
                self._restart(note)
            case Lines():
                self.lines += len(note.entries)
            case Ended():
                self.ended = True

    def ticks(self, before: Sequence[int]) -> list[int]:
        """The ticks after the loss, from those before it."""
        found = list(before if self.time is None else self.time)
        for state, difference in self.changes.items():
            found[state] += difference
        return found

    def _restart(self, clock: Clock) -> None:
        self.queue_tick, self.machine_tick = clock.queue_tick, clock.machine_tick
        self._set(clock.time)

    def _follow(self, plan: Plan) -> None:
        for state, difference in changes_of(plan):
            self.changes[state] += difference

    def _set(self, time: Ticks) -> None:
        self.time = time
        self.changes.clear()


def flags_of(plan: Plan) -> int:
    """The flags of a transition that relations alone decided."""
    return plan.kind | (Flag.AUTO if plan.is_auto else 0) | (Flag.ACCEPTED if plan.accepted else 0)


def changes_of(plan: Plan) -> Iterator[tuple[int, int]]:
    """The states whose tick a plan changes, with the differences."""
    if plan.accepted:
        yield from ((state, 1) for state in plan.settled.rises)
        yield from ((state, 2) for state in plan.settled.again)


def before(plan: Plan, after: Ticks) -> Ticks:
    """The ticks that a transition has begun with."""
    ticks = list(after)
    for state, difference in changes_of(plan):
        ticks[state] -= difference
    return tuple(ticks)


def differences(before: Sequence[int], after: Sequence[int]) -> list[tuple[int, int]]:
    """The same for two lists of ticks."""
    return [(i, new - old) for i, (old, new) in enumerate(zip(before, after, strict=True)) if new != old]
