"""The tracer of one machine: notes what happens, for whoever empties the outbox.

Nothing here waits for anything or raises into the machine. A transition that relations alone decided is noted as its
plan, which costs a few hundred nanoseconds; any other one as a record, with its arguments made texts at once.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from time import monotonic_ns
from types import CodeType, FrameType
from typing import Any, Final

from asyncmachine.machine.levels import NOTHING, LogEntry, Sem
from asyncmachine.machine.log import Log
from asyncmachine.machine.mutation import Mutation
from asyncmachine.machine.plan import Plan
from asyncmachine.machine.schema import Schema
from asyncmachine.machine.tracer import Tracer
from asyncmachine.machine.transition import Transition
from asyncmachine.machine.view import View
from asyncmachine.telemetry.dbg.messages import MOST_LINES, MOST_STEPS, Flag
from asyncmachine.telemetry.dbg.notes import (
    Clock,
    Described,
    Ended,
    Lines,
    Note,
    Record,
    Stack,
    before,
    flags_of,
)
from asyncmachine.telemetry.dbg.outbox import Outbox
from asyncmachine.telemetry.dbg.texts import arg_texts, failure_of, told

MOST_FAILURES: Final = 10
"""A tracer that has failed more often stops."""

MOST_TOKENS: Final = 1000
"""Mutations at the front of the queue whose transition is waited for."""

DEEPEST_STACK: Final = 32
MOST_TEXT: Final = 64 << 10
"""Characters of all log entries of one record."""

RECORD_WEIGHT, LINE_WEIGHT, STEP_WEIGHT, FRAME_WEIGHT, TICK_WEIGHT = 128, 64, 16, 128, 16
"""About the bytes of a record, a log entry, a step, and a stack frame, without their texts, and of a record's ticks."""

AUTO, ACCEPTED, CHECK, QUEUED, BROKEN = (
    int(flag) for flag in (Flag.AUTO, Flag.ACCEPTED, Flag.CHECK, Flag.QUEUED, Flag.BROKEN)
)

OWN_MODULES: Final = ("asyncmachine.machine", "asyncmachine.telemetry")
SWITCHED: Final = {"[when": "when", "[ctx": "state_ctx", "[pipe": "graph"}
"""Log entries that are sent only while a switch of the log is on."""

logger = logging.getLogger("asyncmachine.telemetry")


class DbgTracer(Tracer):
    """Bound to one machine, for one outbox. What is noted depends on `machine.log`: its level, and its switches."""

    def __init__(
        self, machine: View[Any], outbox: Outbox, submachine: Callable[[View[Any]], object] = lambda _: None
    ) -> None:
        self.machine: weakref.ref[View[Any]] = weakref.ref(machine)
        self.machine_id = machine.id
        self.described = Described.of(machine)
        self._outbox = outbox
        self._items = outbox.items
        self._submachine = submachine
        # Until the first record has told the ticks, which may have moved on since they were read above.
        self._is_fresh = True
        self._begun = 0
        self._failures = 0
        self.has_ended = False
        self._put(self.described)
        self._finalizer = weakref.finalize(machine, self._collected)
        self._finalizer.atexit = False

    def end(self) -> None:
        """Says that the machine is not watched any more. For whoever takes the tracer away; once is enough."""
        if not self.has_ended:
            self.has_ended = True
            self._finalizer.detach()
            self._put(Ended())

    def look(self) -> None:
        """Notes what no hook tells of: pending log entries, and other groups. For the sender's timer."""
        machine = self.machine()
        if machine is not None and not machine.is_disposed:
            self._try(self._look, machine)

    # Hooks

    def transition_plain(self, machine: View[Any], plan: Plan, auto: Plan | None, queue_tick: int) -> None:
        """The hot one."""
        if self._is_fresh:
            self._try(self._note_whole, machine, plan, auto, queue_tick)
            return
        items = self._items
        items.append((self, monotonic_ns(), plan, queue_tick, auto))
        if len(items) > self._outbox.mark:
            self._outbox.attend()

    def transition_init(self, tx: Transition) -> None:
        self._begun = monotonic_ns()

    def transition_end(self, tx: Transition) -> None:
        self._try(self._note_transition, tx)

    def schema_change(self, machine: View[Any], old: Schema) -> None:
        self._try(self._describe, machine)

    def machine_restore(self, machine: View[Any]) -> None:
        self._try(self._note_clock, machine)

    def new_submachine(self, parent: View[Any], machine: View[Any]) -> None:
        self._try(self._submachine, machine)

    def machine_dispose(self, machine_id: str) -> None:
        machine = self.machine()
        if machine is not None:
            self._try(self._put_pending, machine.log)
        self._try(self.end)

    # Notes

    def _try(self, function: Callable[..., object], *args: object) -> None:
        """A watched machine runs as if it were not."""
        try:
            function(*args)
        except Exception as error:  # noqa: BLE001
            self._failed(error)

    def _collected(self) -> None:
        """The machine was collected, and nobody had disposed of it. Runs anywhere, so it takes no lock."""
        if not self.has_ended:
            self.has_ended = True
            self._items.append((self, monotonic_ns(), Ended(), 0, None))

    def _look(self, machine: View[Any]) -> None:
        self._put_pending(machine.log)
        if groups_of(machine) != self.described.groups:
            self._describe(machine)

    def _describe(self, machine: View[Any], clock: Clock | None = None) -> None:
        self.described = Described.of(machine, clock)
        self._put(self.described)

    def _note_clock(self, machine: View[Any]) -> None:
        self._put(Clock.of(machine))

    def _put(self, note: Note, weight: int = 0, queue_tick: int = 0) -> None:
        self._outbox.put((self, monotonic_ns(), note, queue_tick, None), weight)

    def _put_pending(self, log: Log) -> None:
        pending = shown(log, log.take_pending()) if log.level is not NOTHING else ()
        if pending:
            weight = weight_of(pending)
            self._put(Lines(pending, weight), weight)

    def _note_whole(self, machine: View[Any], plan: Plan, auto: Plan | None, queue_tick: int) -> None:
        """The first one: with all ticks."""
        self._is_fresh = False
        after = machine.time()
        between = after if auto is None else before(auto, after)
        self._put_record(Record(flags_of(plan), plan.called, before(plan, between), between), queue_tick)
        if auto is not None:
            self._put_record(Record(flags_of(auto), auto.called, between, after), queue_tick)

    def _note_transition(self, tx: Transition) -> None:
        machine, log = tx.machine, tx.machine.log
        if tx.is_check and not log.can:
            return
        self._is_fresh = False
        ticks, accepted, is_auto = tx.before, tx.accepted, tx.is_auto
        plan: Plan | None = None
        if is_auto or not machine.is_local:
            kind, called = tx.mutation.kind_id, tx.mutation.indexes
        else:
            plan = tx.plan
            kind, called = plan.kind, plan.called
            if not accepted or tx.is_check:
                plan = None
        flags = (
            kind
            | (AUTO if is_auto else 0)
            | (ACCEPTED if accepted else 0)
            | (CHECK if tx.is_check else 0)
            | (BROKEN if tx.broken else 0)
        )
        duration = monotonic_ns() - self._begun if self._begun else 0
        self._begun = 0
        after = None if plan is not None else tx.after
        record = Record(flags, called, ticks, after, plan, tx.id, tx.queue_len, duration, tx.source)
        if tx.log_entries or tx.pre_log_entries or tx.steps:
            record.log, record.pre = shown(log, tx.log_entries), shown(log, tx.pre_log_entries)
            record.steps = tx.steps[:MOST_STEPS]
            record.texts = weight_of(record.log) + weight_of(record.pre) + STEP_WEIGHT * len(record.steps)
        self._finish(record, tx)
        if tx.args:
            self._add_args(record, tx.args, log)
        self._put_record(record, machine.queue_tick)

    def _finish(self, record: Record, tx: Transition) -> None:
        """For tracers that know more of a transition."""

    def _add_args(self, record: Record, args: Mapping[str, Any], log: Log) -> None:
        record.failure = failure_of(args)
        if record.failure is not None:
            record.texts += len(record.failure.message) + len(record.failure.trace)
        if log.args:
            record.args = arg_texts(args, log.args_mapper)
            record.texts += sum(map(len, record.args.values()))

    def _put_record(self, record: Record, queue_tick: int) -> None:
        record.texts += RECORD_WEIGHT
        record.weight = record.texts + TICK_WEIGHT * len(self.described.names)
        self._put(record, record.weight, queue_tick)

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if self._failures <= MOST_FAILURES:
            logger.error("%s: not told to the debugger: %r", self.machine_id, error, exc_info=error)
            return
        machine = self.machine()
        if machine is not None:
            machine.untrace(self.id)
        logger.error("%s is not watched any more: too many failures, the last one is %r", self.machine_id, error)
        with suppress(Exception):
            self.end()


class QueueTracer(DbgTracer):
    """Notes mutations also when they enter the queue. Then every transition has to be made whole."""

    transition_plain = Tracer.transition_plain

    def __init__(
        self,
        machine: View[Any],
        outbox: Outbox,
        submachine: Callable[[View[Any]], object] = lambda _: None,
        *,
        stacks: bool = True,
    ) -> None:
        super().__init__(machine, outbox, submachine)
        self._stacks = stacks
        # Mutations queued since the last transition, and those without a queue tick whose transition is to come.
        self._last_id = "0"
        self._queued = count()
        self._tokens: dict[int, tuple[Mutation, int]] = {}
        self._next_token = count(1)

    def mutation_queued(self, machine: View[Any], mutation: Mutation) -> None:
        self._try(self._note_mutation, machine, mutation)

    def _note_mutation(self, machine: View[Any], mutation: Mutation) -> None:
        log = machine.log
        if mutation.is_check and not log.can:
            return
        record = Record(
            mutation.kind_id | QUEUED | (AUTO if mutation.is_auto else 0) | (CHECK if mutation.is_check else 0),
            mutation.indexes,
            id=f"{self._last_id}-{next(self._queued)}",
            queue_len=queue_len_of(machine),
            source=mutation.source,
            due=mutation.queue_tick,
            stack=stack_here() if self._stacks else (),
        )
        record.texts = FRAME_WEIGHT * len(record.stack)
        if not mutation.queue_tick:
            record.token = next(self._next_token)
            while len(self._tokens) >= MOST_TOKENS:
                self._tokens.pop(next(iter(self._tokens)), None)
            self._tokens[id(mutation)] = mutation, record.token
        if mutation.args:
            self._add_args(record, mutation.args, log)
        self._put_record(record, machine.queue_tick)

    def _finish(self, record: Record, tx: Transition) -> None:
        self._last_id, self._queued = tx.id, count()
        if self._tokens and not tx.queue_tick:
            _, record.token = self._tokens.pop(id(tx.mutation), (tx.mutation, 0))


def tracer_for(
    machine: View[Any],
    outbox: Outbox,
    submachine: Callable[[View[Any]], object] = lambda _: None,
    *,
    stacks: bool = True,
) -> DbgTracer:
    """The tracer that fits the switches of the machine's log as they are now."""
    if machine.log.queued:
        return QueueTracer(machine, outbox, submachine, stacks=stacks)
    return DbgTracer(machine, outbox, submachine)


def shown(log: Log, entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
    """The entries that the log's switches ask for, cut to what one record may hold."""
    if not entries:
        return ()
    off = tuple(prefix for prefix, switch in SWITCHED.items() if not getattr(log, switch))
    found: list[LogEntry] = []
    room = MOST_TEXT
    for entry in entries:
        if off and entry.text.startswith(off):
            continue
        text = told(entry.text)
        room -= len(text)
        if room < 0 or len(found) == MOST_LINES - 1:
            found.append(LogEntry(entry.level, "(further entries are not sent)"))
            break
        found.append(LogEntry(entry.level, text, entry.sem))
    return found


def weight_of(entries: Sequence[LogEntry]) -> int:
    """About the bytes of these entries."""
    return sum(LINE_WEIGHT + len(entry.text) + (0 if entry.sem is None else sem_weight(entry.sem)) for entry in entries)


def sem_weight(sem: Sem) -> int:
    """About the bytes of what an entry says."""
    return LINE_WEIGHT + 10 * len(sem.numbers) + sum(map(len, sem.states)) + sum(map(len, sem.names))


def groups_of(machine: View[Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The machine's groups of states, as they are described."""
    return tuple((name, tuple(members)) for name, members in getattr(machine, "groups", {}).items())


def queue_len_of(machine: View[Any]) -> int:
    """Mutations that wait; a mirror has no queue."""
    return getattr(machine, "queue_len", 0)


def stack_here() -> Stack:
    """Who makes this mutation: the frames outside of the library, the innermost first."""
    found: list[tuple[CodeType, int]] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and len(found) < DEEPEST_STACK:
        if not str(frame.f_globals.get("__name__", "")).startswith(OWN_MODULES):
            found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(found)
