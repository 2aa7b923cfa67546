"""A feed: one machine as the receiver knows it, and its notes as messages, in columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from operator import itemgetter, sub
from typing import Any, Final

from msgspec.structs import replace

from asyncmachine.machine.levels import LogEntry, Sem
from asyncmachine.machine.mutation import MutationSource
from asyncmachine.machine.plan import Plan
from asyncmachine.machine.schema import Schema
from asyncmachine.machine.steps import ANY, Step
from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.notes import (
    Clock,
    Described,
    Item,
    Record,
    Stack,
    changes_of,
    differences,
    flags_of,
)
from asyncmachine.telemetry.dbg.texts import clipped, names_of

MOST_TEXTS: Final = 128 << 10
"""Characters of texts in one message."""

FEW: Final = 6
"""So many numbers are counted faster one by one."""

MOST_SHAPES: Final = 2_000
"""Plans whose shape is remembered for one machine."""

tracer_of, time_of, queue_tick_of = itemgetter(0), itemgetter(1), itemgetter(3)
note_of: Callable[[Item], Any] = itemgetter(2)


class Feed:
    """One machine on its way to the receiver: its number there, its ticks, and the number of its next record."""

    def __init__(self, number: int, described: Described, trace_filter: str = "") -> None:
        self.number = number
        self.next = 1
        self._trace_filter = trace_filter
        self.pipes: tuple[m.Pipe, ...] = ()
        self._shapes: dict[Plan, m.Shape] = {}
        self._follow_ups: dict[Plan, Plan | None] = {}
        self.describe(described)

    def describe(self, described: Described) -> None:
        """The machine is this one from now on; a new schema has moved the ticks."""
        self.described = described
        self._index = {name: i for i, name in enumerate(described.names)}
        self._most_records = min(m.MOST_RECORDS, max(1, m.MOST_CHANGES // max(1, len(described.names))))
        self._shapes.clear()
        self._follow_ups.clear()
        self.set_clock(described.clock)

    def set_clock(self, clock: Clock) -> None:
        """The clock is this one, whatever was said before."""
        self.ticks = list(clock.time)
        self.queue_tick, self.machine_tick = clock.queue_tick, clock.machine_tick

    def machine(self, now: int) -> m.Machine:
        """The machine, for somebody who does not know it."""
        found, index = self.described, self._index
        return m.Machine(
            machine=self.number,
            id=clipped(found.id, m.ID_LENGTH) or "?",
            names=distinct(names_of(found.names) or ()),
            rules=rules_of(found.schema, found.names),
            time=tuple(self.ticks),
            next=self.next,
            now=now,
            queue_tick=self.queue_tick,
            machine_tick=self.machine_tick,
            parent=clipped(found.parent_id, m.ID_LENGTH),
            tags=(names_of(found.tags) or ())[: m.MOST_TAGS],
            groups=tuple(
                m.Group(clipped(name, m.ID_LENGTH), tuple(index[state] for state in members if state in index))
                for name, members in found.groups[: m.MOST_GROUPS]
            ),
            remote=found.remote,
        )

    def gap(self, now: int, lost: int = 0, lines: int = 0) -> m.Gap:
        """Where the clock has got to, other than by records."""
        return m.Gap(self.number, self.next, lost, tuple(self.ticks), now, self.queue_tick, self.machine_tick, lines)

    @property
    def is_beyond(self) -> bool:
        """True if a tick has become larger than any number of the wire."""
        return max(self.ticks) > m.MOST_NUMBER

    def plans(self, items: Sequence[Item], offset: int) -> Iterator[m.Transitions]:
        """Plans as messages of a bounded size. `offset` makes epoch time of the items' times."""
        # Each may be two records.
        size = max(1, self._most_records // 2)
        for begin in range(0, len(items), size):
            yield Columns.of_plans(self, items[begin : begin + size]).message(offset)

    def records(self, items: Sequence[Item], offset: int) -> Iterator[m.Transitions | m.Gap]:
        """Records and plans as messages. A notice comes before a record whose ticks do not follow from the others."""
        columns = Columns(self)
        for _, time, note, queue_tick, auto in items:
            if isinstance(note, Plan):
                columns.add_plan(note, time, queue_tick)
                if auto is not None:
                    columns.add_plan(auto, time, queue_tick)
            else:
                assert isinstance(note, Record)
                columns.settle()
                follows = note.before is None or list(note.before) == self.ticks
                if not follows or columns.texts + note.texts > MOST_TEXTS:
                    if columns.which:
                        yield columns.message(offset)
                        columns = Columns(self)
                    if note.before is not None and not follows:
                        self.ticks = list(note.before)
                        yield self.gap(time + offset)
                columns.add_record(note, time, queue_tick)
            if len(columns.which) >= self._most_records - 1:
                yield columns.message(offset)
                columns = Columns(self)
        if columns.which:
            yield columns.message(offset)

    def follow_ups(self, plans: Iterable[Plan], items: Sequence[Item]) -> Mapping[Plan, Plan | None]:
        """What follows each of these plans, which are those of the items. A plan is always followed by the same."""
        found = self._follow_ups
        if any(plan not in found for plan in plans):
            if len(found) >= MOST_SHAPES:
                found.clear()
            found.update(map(itemgetter(2, 4), items))
        return found

    def shape(self, plan: Plan) -> m.Shape:
        """What all transitions of a plan have in common."""
        found = self._shapes.get(plan)
        if found is None:
            if len(self._shapes) >= MOST_SHAPES:
                self._shapes.clear()
            changes = tuple([number for change in changes_of(plan) for number in change])
            found = self._shapes[plan] = m.Shape(flags_of(plan), plan.called, changes)
        return found

    def detail(self, record: Record) -> m.Detail:
        """What a record has beside its shape."""
        failure = record.failure
        return m.Detail(
            record.id,
            record.queue_len,
            record.duration,
            None if record.source is None else source_of(record.source),
            record.args,
            failure and replace(failure, trace=self._filtered(failure.trace)),
            lines_of(record.log) if record.log else (),
            lines_of(record.pre) if record.pre else (),
            tuple([number for step in record.steps for number in self._step(step)]) if record.steps else (),
            record.due,
            record.token,
            self._filtered(stack_text(record.stack)) if record.stack else "",
        )

    def _filtered(self, trace: str) -> str:
        return trace.replace(self._trace_filter, "") if self._trace_filter else trace

    def _step(self, step: Step) -> tuple[int, int, int, int, int]:
        flags = (
            (m.FINAL_STEP if step.is_final else 0)
            | (m.SELF_STEP if step.is_self else 0)
            | (m.ENTER_STEP if step.is_enter else 0)
        )
        relation = -1 if step.relation is None else int(step.relation)
        return int(step.type), self._place(step.from_state), self._place(step.to_state), relation, flags

    def _place(self, state: str) -> int:
        if state == ANY and ANY not in self._index:
            return m.ANY_STATE
        return self._index.get(state, m.ABSENT)


class Columns:
    """One message in the making. Ticks of the feed follow plans only when somebody asks (`settle`)."""

    def __init__(self, feed: Feed) -> None:
        self.which: list[int] = []
        self.texts = 0
        self._feed = feed
        self._times: list[int] = []
        self._queue_ticks: list[int] = []
        self._numbers: dict[object, int] = {}
        self._shapes: list[m.Shape] = []
        self._changes: list[tuple[tuple[int, int], ...]] = []
        self._details: dict[int, m.Detail] = {}
        self._settled = 0

    @classmethod
    def of_plans(cls, feed: Feed, items: Sequence[Item]) -> Columns:
        """The columns of plans alone, with no look at each of them."""
        columns, plans = cls(feed), list(map(note_of, items))
        distinct_plans = dict.fromkeys(plans)
        follow_ups = feed.follow_ups(distinct_plans, items)
        rows: dict[Plan, tuple[int, ...]] = {}
        for plan in distinct_plans:
            auto = follow_ups[plan]
            number = columns._number(plan)
            rows[plan] = (number,) if auto is None else (number, columns._number(auto))
        found = list(map(rows.__getitem__, plans))
        lengths = {*map(len, rows.values())}
        columns.which = list(chain.from_iterable(found))
        columns._times = stretched(list(map(time_of, items)), found, lengths)
        columns._queue_ticks = stretched(list(map(queue_tick_of, items)), found, lengths)
        return columns

    def add_plan(self, plan: Plan, time: int, queue_tick: int) -> None:
        """Takes a plan in."""
        self._add(self._number(plan), time, queue_tick)

    def add_record(self, record: Record, time: int, queue_tick: int) -> None:
        """Takes a record in, with its detail, and takes its ticks over. Everything before has to be settled."""
        feed, plan = self._feed, record.plan
        if plan is not None:
            number = self._number(plan)
            for state, difference in self._changes[number]:
                feed.ticks[state] += difference
        else:
            changes: tuple[int, ...] = ()
            if record.before is not None and record.after is not None and record.before != record.after:
                changed = differences(record.before, record.after)
                changes = tuple([number for change in changed for number in change])
                feed.ticks = list(record.after)
            number = self._number((record.flags, record.called, changes))
        if record.id:
            self._details[len(self.which)] = feed.detail(record)
        self.texts += record.texts
        self._add(number, time, queue_tick)
        self._settled = len(self.which)

    def settle(self) -> None:
        """Lets the feed's ticks follow the plans taken in since the last time."""
        which = self.which
        if self._settled < len(which):
            ticks = self._feed.ticks
            for number, times in counted(which[self._settled :], len(self._shapes)):
                for state, difference in self._changes[number]:
                    ticks[state] += difference * times
            self._settled = len(which)

    def message(self, offset: int) -> m.Transitions:
        """The message. `offset` makes epoch time of its times."""
        self.settle()
        times, queue_ticks = self._times, self._queue_ticks
        feed, first = self._feed, self._feed.next
        feed.next += len(times)
        feed.queue_tick = queue_ticks[-1]
        return m.Transitions(
            feed.number,
            first,
            times[0] + offset,
            queue_ticks[0],
            tuple(self._shapes),
            self.which,
            [0, *steps_between(times)],
            [0, *map(sub, queue_ticks[1:], queue_ticks)],
            self._details,
        )

    def _add(self, number: int, time: int, queue_tick: int) -> None:
        self.which.append(number)
        self._times.append(time)
        self._queue_ticks.append(queue_tick)

    def _number(self, key: Plan | tuple[int, tuple[int, ...], tuple[int, ...]]) -> int:
        """The number of a shape in this message: that of a plan, or one that is spelt out."""
        number = self._numbers.get(key)
        if number is None:
            shape = self._feed.shape(key) if isinstance(key, Plan) else m.Shape(*key)
            number = self._numbers[key] = len(self._shapes)
            self._shapes.append(shape)
            self._changes.append(tuple(zip(shape.changes[::2], shape.changes[1::2], strict=True)))
        return number


def stretched(values: list[int], rows: Sequence[tuple[int, ...]], lengths: set[int]) -> list[int]:
    """Each value as often as its row is long; `lengths` are those of all rows."""
    if lengths == {1}:
        return values
    if lengths == {2}:
        found = [0] * (2 * len(values))
        found[::2] = found[1::2] = values
        return found
    return list(chain.from_iterable(map(repeat, values, map(len, rows))))


def counted(numbers: Sequence[int], below: int) -> Iterable[tuple[int, int]]:
    """How often each number occurs."""
    if below > FEW:
        return Counter(numbers).items()
    return [(number, numbers.count(number)) for number in range(below)]


def steps_between(times: Sequence[int]) -> list[int]:
    """From each point in time to the next. Notes of several threads may stand in another order than they were made."""
    found = list(map(sub, times[1:], times))
    return found if not found or min(found) >= 0 else [max(0, step) for step in found]


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, with a number behind those that were cut to the same text."""
    if len(set(names)) == len(names):
        return names
    seen = Counter(names)
    return tuple(f"{name[:-8]}…{i}" if seen[name] > 1 else name for i, name in enumerate(names))


def rules_of(schema: Schema, names: Sequence[str]) -> tuple[m.Rule, ...]:
    """The states of a schema in the order of these names."""
    return tuple(
        m.Rule(
            (m.AUTO_STATE if state.auto else 0) | (m.MULTI_STATE if state.multi else 0),
            names_of(state.require),
            names_of(state.add),
            names_of(state.remove),
            names_of(state.after),
            names_of(state.tags),
        )
        for state in (schema[name] for name in names)
    )


def source_of(source: MutationSource) -> m.Source:
    """Where a mutation came from, as it travels."""
    machine, tx = clipped(source.machine_id, m.ID_LENGTH), clipped(source.tx_id, m.ID_LENGTH)
    return m.Source(machine, tx, min(source.machine_time, m.MOST_NUMBER))


def lines_of(entries: Sequence[LogEntry]) -> tuple[m.Line, ...]:
    """Log entries as they travel."""
    return tuple([m.Line(int(entry.level), entry.text, entry.sem and sem_of(entry.sem)) for entry in entries])


def sem_of(sem: Sem) -> m.Sem:
    """What an entry says, as it travels: names cut, and numbers to those that can be told."""
    most = m.MOST_STATES
    numbers = [min(max(number, 0), m.MOST_NUMBER) for number in sem.numbers[:most]]
    states, names = names_of(sem.states[:most]) or (), names_of(sem.names[:most]) or ()
    return m.Sem(sem.kind, sem.event, states, tuple(numbers), names)


def stack_text(stack: Stack) -> str:
    """A line for each caller."""
    return clipped("\n".join(f"{code.co_filename}:{line} {code.co_qualname}" for code, line in stack))
