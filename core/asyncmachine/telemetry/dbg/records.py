"""Records as a reader wants them: one object each, with names and ticks in the place of numbers and differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import asdict

from asyncmachine.machine.mutation import KINDS
from asyncmachine.machine.steps import ANY, Relation, Step, StepType
from asyncmachine.telemetry.dbg import messages as m

Kind = Literal["add", "remove", "set"]
NO_DETAIL: Final = m.Detail()


class Record(Struct, frozen=True):
    """One transition, dry run or queued mutation.

    `number` counts the machine's records from 1. `id` is that of the transition; one that was decided by relations
    alone has none, and goes by ``n`` and its number. `sent` and `received` are nanoseconds since 1970, by the sender's
    and the receiver's clock, `duration` is in nanoseconds too. `queue_len` mutations waited at the end. A queued
    mutation runs at queue tick `due`, or, at the front of the queue, is the transition with the same `token`.
    """

    machine: str
    number: int
    id: str
    kind: Kind
    called: tuple[str, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    is_auto: bool
    is_accepted: bool
    is_check: bool
    is_queued: bool
    is_broken: bool
    queue_tick: int
    sent: int
    received: int
    queue_len: int = 0
    duration: int = 0
    source: m.Source | None = None
    args: dict[str, str] = {}
    failure: m.Failure | None = None
    log: tuple[m.Line, ...] = ()
    pre: tuple[m.Line, ...] = ()
    steps: tuple[Step, ...] = ()
    due: int = 0
    token: int = 0
    stack: str = ""

    @property
    def time_sum(self) -> int:
        """The sum of all ticks after it."""
        return sum(self.after)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; steps are texts."""
        found = asdict(self)
        found["source"] = self.source and asdict(self.source)
        found["failure"] = self.failure and asdict(self.failure)
        found["log"] = [_entry(line) for line in self.log]
        found["pre"] = [_entry(line) for line in self.pre]
        found["steps"] = [str(step) for step in self.steps]
        return found


def _entry(line: m.Line) -> dict[str, Any]:
    return {**asdict(line), "sem": line.sem and asdict(line.sem)}


def records_of(batch: m.Transitions, machine: m.Machine, before: Sequence[int], received: int = 0) -> Iterator[Record]:
    """The records of a batch that a `Stream` has taken, one by one; `before` are the ticks it began with."""
    names = machine.names
    called = [tuple(names[state] for state in shape.called) for shape in batch.shapes]
    changes = [tuple(zip(shape.changes[::2], shape.changes[1::2], strict=True)) for shape in batch.shapes]
    times = accumulate(batch.times, initial=batch.now)
    next(times)
    queue_ticks = accumulate(batch.queue_ticks, initial=batch.queue_tick)
    next(queue_ticks)
    ticks = tuple(before)
    for at, (which, time, queue_tick) in enumerate(zip(batch.which, times, queue_ticks, strict=True)):
        flags, start = batch.shapes[which].flags, ticks
        if changes[which]:
            now = list(ticks)
            for state, difference in changes[which]:
                now[state] += difference
            ticks = tuple(now)
        detail = batch.details.get(at, NO_DETAIL)
        number = batch.first + at
        yield Record(
            machine.id,
            number,
            detail.id or f"n{number}",
            KINDS[flags & m.KIND_BITS],
            called[which],
            start,
            ticks,
            bool(flags & m.Flag.AUTO),
            bool(flags & m.Flag.ACCEPTED),
            bool(flags & m.Flag.CHECK),
            bool(flags & m.Flag.QUEUED),
            bool(flags & m.Flag.BROKEN),
            queue_tick,
            time,
            received,
            detail.queue_len,
            detail.duration,
            detail.source,
            detail.args,
            detail.failure,
            detail.log,
            detail.pre,
            tuple(steps_of(detail.steps, names)),
            detail.due,
            detail.token,
            detail.stack,
        )


def steps_of(numbers: Sequence[int], names: Sequence[str]) -> Iterator[Step]:
    """The steps of a record."""
    for at in range(0, len(numbers), 5):
        kind, start, end, relation, flags = numbers[at : at + 5]
        yield Step(
            StepType(kind),
            state_of(start, names),
            state_of(end, names),
            None if relation < 0 else Relation(relation),
            bool(flags & m.FINAL_STEP),
            bool(flags & m.SELF_STEP),
            bool(flags & m.ENTER_STEP),
        )


def state_of(number: int, names: Sequence[str]) -> str:
    """The name of a state in a step."""
    return names[number] if number >= 0 else ANY if number == m.ANY_STATE else ""
