"""The drain: the loop that takes mutations from the queue and carries them out, one after another.

Whoever makes a mutation while nobody drains becomes the drainer: it runs its own mutation and then all that was queued
meanwhile, by handlers or by other threads, before its call returns. Everybody else appends and gets *queued*. A lock
guards only the hand-over (the flag, the queue and its numbers); transitions run outside of it, so a handler may call
anything.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from asyncmachine.machine import reasons
from asyncmachine.machine.args import ArgsLike, ErrorArgs, raw_args
from asyncmachine.machine.endless import WATCHED_DEPTH, YIELD_EVERY, ChainWatch, break_chain
from asyncmachine.machine.errors import AmError, HandlerError
from asyncmachine.machine.evaluation import Evaluation
from asyncmachine.machine.event import Event
from asyncmachine.machine.mutation import ADD, REMOVE, Mutation, MutationSource, called_names
from asyncmachine.machine.plan import Plan, auto_plan, configuration, plan_for
from asyncmachine.machine.queue import lets_in, same_as
from asyncmachine.machine.reading import N
from asyncmachine.machine.recovery import add_plain_error
from asyncmachine.machine.result import CANCELED, EXECUTED, Outcome, Result, Why
from asyncmachine.machine.rules import Rules
from asyncmachine.machine.schema import EXCEPTION
from asyncmachine.machine.tracer import Hook
from asyncmachine.machine.transition import Transition, run
from asyncmachine.machine.view import View

if TYPE_CHECKING:
    from asyncmachine.machine.narrator import Narrator

Source = Event | MutationSource | None
"""What a mutation can be traced to."""

T = TypeVar("T")

logger = logging.getLogger("asyncmachine")


class Drain(View[N]):
    """The part of a machine that changes its ticks."""

    _observer: Narrator | None

    __slots__ = (
        "_backoff_until",
        "_closing",
        "_config",
        "_depth",
        "_drainer",
        "_draining",
        "_finished",
        "_guard",
        "_issued",
        "_observer_told",
        "_parked",
        "_queue",
        "_queue_limit",
        "_refuses",
        "_rules",
        "_tx",
    )

    def __init__(self, id: str, rules: Rules, *, tags: Iterable[str], parent_id: str, queue_limit: int) -> None:
        super().__init__(id, rules.schema, tags=tags, parent_id=parent_id, index=rules.index)
        self._rules = rules
        self._config = configuration(rules, ())
        self._queue: deque[Mutation | Evaluation[Any]] = deque()
        self._queue_limit = queue_limit
        self._guard = threading.Lock()
        self._draining = False
        # The last queue tick given out, and the last one whose mutation has finished.
        self._issued = 1
        self._finished = 1
        self._closing = False
        # Whether mutations are canceled: for good while disposing, until `_backoff_until` after a missed deadline.
        self._refuses = False
        self._backoff_until = 0.0
        # The thread whose handlers run (0 without), how deep its mutation is in a chain of them, and the loop that runs
        # while the drain pauses for it.
        self._drainer = 0
        self._depth = 0
        self._parked: asyncio.AbstractEventLoop | None = None
        # Whether an observer's failure has been added as an error in this drain.
        self._observer_told = False
        self._tx: Transition | None = None

    def _mutate(self, kind: int, states: str | Iterable[str], args: ArgsLike, e: Source, kw: dict[str, Any]) -> Result:
        if self._refuses and self._is_refusing():
            return self._refused()
        key = states if states.__class__ is str else called_names(states)
        found = raw_args(args, kw) if args is not None or kw else None
        guard = self._guard
        guard.acquire()
        if self._draining or self._queue or self._closing:
            guard.release()
            return self._enqueue(kind, (key,) if isinstance(key, str) else key, found or {}, e)
        # Claimed: from here to _end_drain this thread is the one that changes states.
        self._draining = True
        plan = self._config.plans[kind].get(key)
        if plan is not None:
            self._issued = tick = self._issued + 1
            guard.release()
        else:
            guard.release()
            try:
                plan = self._new_plan(kind, key)
            except BaseException:
                self._end_drain()
                raise
            with guard:
                self._issued = tick = self._issued + 1
        try:
            self._queue_tick = tick
            subs = self._subs
            unseen = self._table is None and (subs is None or not (subs.args or subs.queue or subs.ends))
            if unseen and not self._tracers and (found is None or ErrorArgs.key not in found):
                outcome, tx = self._run_quietly(plan), None
            elif unseen and found is None and e is None and self._hooks.transition_plain:
                outcome, tx = self._run_quietly(plan, self._hooks.transition_plain), None
            else:
                tx = Transition(self, plan, found or {}, None if e is None else source_of(e), tick)
                if self._tracers:
                    for hook in self._hooks.mutation_queued:
                        self._guarded(hook, self, tx.mutation)
                outcome = self._carry_out(tx)
            if self._queue:
                self._drain()
        except BaseException:
            self._end_drain(interrupted=True)
            raise
        # What `_end_drain` does when nothing has come up, written out.
        guard.acquire()
        if self._queue or self._refuses or self._parked or self._observer_told:
            guard.release()
            self._end_drain()
        else:
            self._tx = None
            self._drainer = 0
            self._draining = False
            guard.release()
            subs = self._subs
            if self._hooks.queue_end or (subs is not None and subs.ends):
                self._tell_rest()
        if outcome is Outcome.EXECUTED:
            return EXECUTED
        return Result.refused(partial(reasons.rejected, self._rules, plan) if tx is None else why_of(tx))

    def _refused(self) -> Result:
        return Result.refused(reasons.disposed(self.id) if self._closing else reasons.BACKING_OFF)

    def _is_refusing(self) -> bool:
        """True from the start of disposal on, and for a while after a handler missed its deadline."""
        if not self._closing and monotonic() >= self._backoff_until:
            self._refuses = False
        return self._refuses

    def _start_backoff(self, seconds: float) -> None:
        self._backoff_until = monotonic() + seconds
        self._refuses = True

    def _new_plan(self, kind: int, key: str | Iterable[str]) -> Plan:
        called = self._indexes(called_names(key))
        # All machines of a schema use one configuration, also after its plans were forgotten (`plan.forget`).
        start = self._config = configuration(self._rules, self._config.active)
        return start.plans[kind].get(key) or plan_for(self._rules, start, kind, called, key)

    def _run_quietly(self, plan: Plan, told: tuple[Hook, ...] = ()) -> Outcome:
        """A transition without a `Transition`: no handlers, arguments or source, at most waits for states.

        `told` are the hooks of tracers that are content with that.
        """
        touched = plan.touched
        if not plan.accepted:
            touched = ()
        elif touched:
            self._advance(plan, touched)
        else:
            self._config = plan.leads_to
        auto: Plan | None = None
        if touched:
            due = plan.leads_to
            if due.auto_called and not plan.quiet:
                auto = auto_plan(self._rules, due)
                if auto.accepted:
                    self._advance(auto.settled, auto.settled.touched)
        self._finished = tick = self._queue_tick
        # `_guarded`, written out.
        for hook in told:
            try:
                hook(self, plan, auto, tick)
            except Exception as error:  # noqa: BLE001 (kept as the machine's error)
                self._observer_failed(error)
        return Outcome.EXECUTED if plan.accepted else Outcome.CANCELED

    def _advance(self, plan: Plan, touched: tuple[int, ...]) -> None:
        ticks = self._ticks
        for i in plan.rises:
            ticks[i] += 1
        for i in plan.again:
            ticks[i] += 2
        self._config = plan.leads_to
        if self._scopes:
            self._end_scopes(touched)
        subs = self._subs
        if subs is not None and (subs.states or subs.queries):
            subs.changed(ticks, touched)

    def _carry_out(self, tx: Transition) -> Outcome:
        """Runs a transition in full and tells those who wait for its end."""
        self._drainer = get_ident()
        try:
            outcome = run(tx)
        finally:
            if tx.queue_tick:
                self._finished = tx.queue_tick
                if self._subs is not None:
                    self._subs.queue_ticked(tx.queue_tick)
        if not tx.plan.accepted and ErrorArgs.key in tx.args:
            add_plain_error(self, tx.mutation)
        return outcome

    def _enqueue(self, kind: int, names: tuple[str, ...], args: dict[str, Any], e: Source) -> Result:
        """Appends behind a running drain, unless the queue is full or the mutation would change nothing."""
        indexes = self._indexes(names)
        mutation = Mutation(kind, indexes, names, args, source_of(e))
        called = set(indexes)
        with self._guard:
            if self._closing:
                return self._refused()
            queue, exception = self._queue, self._index[EXCEPTION]
            if not lets_in(self._queue_limit, len(queue), kind, exception in called, bool(self._ticks[exception] & 1)):
                return Result.refused(reasons.full(self._queue_limit))
            if kind == REMOVE and not queue and not any(self._ticks[i] & 1 for i in indexes):
                return EXECUTED
            multi = any(self._rules.multi >> i & 1 for i in indexes)
            if not args and not multi and (same := same_as(queue, kind, indexes)) is not None:
                same.is_shared = True
                if self._observer is not None:
                    self._observer.skipped(mutation)
                return EXECUTED
            self._issued += 1
            mutation.queue_tick = self._issued
            mutation.depth = self._next_depth()
            mutation.result = result = Result(Outcome.QUEUED, self._issued)
            queue.append(mutation)
            drains = self._claim()
        for hook in self._hooks.mutation_queued:
            self._guarded(hook, self, mutation)
        # Usually not: only if the drain has ended since, or an interrupt has left it unfinished.
        return self._drained(result) if drains else self._postponed(result)

    def _check(self, kind: int, states: str | Iterable[str], args: ArgsLike, e: Source, kw: dict[str, Any]) -> Result:
        names = called_names(states)
        return self._put_first(
            Mutation(kind, self._indexes(names), names, raw_args(args, kw), source_of(e), is_check=True)
        )

    def _put_first(self, mutation: Mutation) -> Result:
        """Puts a mutation from outside to the front of the queue, and drains if nobody does."""
        if self._refuses and self._is_refusing():
            return self._refused()
        mutation.result = result = Result(Outcome.QUEUED)
        with self._guard:
            if self._closing:
                return self._refused()
            mutation.depth = self._next_depth()
            self._queue.appendleft(mutation)
            drains = self._claim()
        for hook in self._hooks.mutation_queued:
            self._guarded(hook, self, mutation)
        return self._drained(result) if drains else self._postponed(result)

    def _postponed(self, result: Result) -> Result:
        if self._observer is not None:
            self._observer.postponed(len(self._queue))
        return result

    def _prepend(self, mutation: Mutation) -> None:
        """Puts a mutation to the front, from within the drain. It takes no queue tick."""
        mutation.depth = self._depth + 1
        with self._guard:
            self._queue.appendleft(mutation)
        for hook in self._hooks.mutation_queued:
            self._guarded(hook, self, mutation)

    def _withdraw(self, result: Result, error: AmError) -> None:
        """Takes back what waits with this result, which fails with the error. What has begun, or another call counts
        on, is not.
        """
        with self._guard:
            waiting = [item for item in self._queue if isinstance(item, Mutation) and item.result is result]
            if not waiting or waiting[0].is_shared:
                return
            self._queue.remove(waiting[0])
        result._fail(error)

    def _evaluate(self, function: Callable[[], T]) -> Evaluation[T]:
        """Queues a function before all that waits; it has run on return if this thread drains."""
        if self._draining and self._drainer == get_ident() and not self._parked:
            raise HandlerError("an evaluation inside of a handler would wait for itself: call the function directly")
        item = Evaluation(function)
        if self._observer is not None:
            self._observer.evaluates(item)
        with self._guard:
            drains = not self._closing and self._claim()
            if not self._closing:
                self._queue.appendleft(item)
            else:
                item.withdraw(self._gone)
        if drains:
            self._drainer = get_ident()
            self._drained(CANCELED)
        return item

    def _next_depth(self) -> int:
        return self._depth + 1 if self._draining and self._drainer == get_ident() else 0

    def _claim(self) -> bool:
        """Makes this thread the drainer if there is none. Only while the guard is held."""
        if self._parked is not None and self._parked.is_closed():
            # The loop that was to go on with the drain is gone.
            self._parked, self._draining = None, False
        drains, self._draining = not self._draining, True
        return drains

    def _drained(self, result: Result) -> Result:
        try:
            self._drain()
        except BaseException:
            self._end_drain(interrupted=True)
            raise
        self._end_drain()
        return result if result.queued else EXECUTED if result.executed else Result.refused(result._why)

    def _drain(self) -> None:
        """Runs what waits, until nothing does. Only the thread that has claimed the drain may call it."""
        queue = self._queue
        watch: ChainWatch | None = None
        ran = 0
        while queue and not self._closing:
            with self._guard:
                if not queue:  # the last one was withdrawn
                    break
                item = queue.popleft()
            if isinstance(item, Evaluation):
                if self._observer is not None:
                    self._observer.eval_runs(item)
                item.run()
                continue
            if item.depth >= WATCHED_DEPTH:
                watch = watch or ChainWatch()
                endless = watch.endless(self._config, item, has_loop=asyncio._get_running_loop() is not None)
                if endless is not None:
                    break_chain(self, item, endless, tells=not watch.has_broken)
                    watch.has_broken = True
                    continue
            self._run_queued(item)
            ran += 1
            if ran >= YIELD_EVERY and queue and self._park():
                return

    def _run_queued(self, mutation: Mutation) -> None:
        if mutation.queue_tick:
            self._queue_tick = mutation.queue_tick
        self._depth = mutation.depth
        config = self._config
        if mutation.is_auto:
            plan = auto_plan(self._rules, config)
        else:
            key = mutation.called[0] if len(mutation.called) == 1 else mutation.called
            plan = config.plans[mutation.kind_id].get(key) or self._new_plan(mutation.kind_id, key)
        outcome = Outcome.CANCELED
        tx = Transition.of(self, plan, mutation)
        try:
            outcome = self._carry_out(tx)
        finally:
            self._depth = 0
            if mutation.result is not None:
                mutation.result._settle(outcome, "" if outcome is Outcome.EXECUTED else why_of(tx))

    def _park(self) -> bool:
        """Lets the event loop run before the drain goes on; False if there is none."""
        loop = asyncio._get_running_loop()
        if loop is None:
            return False
        self._parked = loop
        loop.call_soon(self._resume)
        return True

    def _resume(self) -> None:
        self._parked = None
        self._drained(CANCELED)

    def _end_drain(self, *, interrupted: bool = False) -> None:
        """Gives the drain up. What other threads have queued in the last moment is run first.

        After an interrupt (Ctrl-C in a handler) what waits stays in the queue: the next mutation call goes on with it.
        """
        disposes = unfinished = False
        while True:
            if self._parked:
                return
            self._tx = None
            self._drainer = 0
            with self._guard:
                if interrupted or not self._queue or self._closing:
                    self._draining = False
                    # Decided under the guard, so that either this drain disposes of the machine or `dispose` does.
                    disposes = self._closing
                    unfinished = bool(self._queue) and not disposes
                    break
            try:
                self._drain()
            except BaseException:
                self._end_drain(interrupted=True)
                raise
        if unfinished:
            return
        self._tell_rest()
        if disposes:
            self._dispose_now()
        self._observer_told = False

    def _tell_rest(self) -> None:
        """The queue is empty: those who wait for it are told."""
        if self._subs is not None:
            self._subs.queue_ended()
        for hook in self._hooks.queue_end:
            self._guarded(hook, self)

    def _dispose_now(self) -> None:
        for item in self._queue:
            if isinstance(item, Evaluation):
                item.withdraw(self._gone)
            elif item.result is not None:
                item.result._settle(Outcome.CANCELED, reasons.disposed(self.id))
        self._queue.clear()
        self._dispose_view()

    # For View

    def _active_names(self) -> tuple[str, ...]:
        return self._config.names

    def _is_draining(self) -> bool:
        return self._draining or bool(self._queue)

    def _finished_queue_tick(self) -> int:
        return self._finished

    def _observer_failed(self, error: Exception) -> None:
        self._log_error("an observer raised", error)
        self._err = error
        # Once a drain: an observer that raises at each transition must not keep the machine busy with its errors.
        if not self._closing and not self._observer_told:
            self._observer_told = True
            self._mutate(ADD, EXCEPTION, {ErrorArgs.key: ErrorArgs(err=error)}, None, {})

    def _log_error(self, what: str, error: BaseException) -> None:
        logger.error("%s: %s: %r", self.id, what, error)
        if self._observer is not None:
            self._observer.error(f"{what}: {error!r}")


def source_of(e: Source) -> MutationSource | None:
    """The trace of origin that an event stands for."""
    return e.source if isinstance(e, Event) else e


def why_of(tx: Transition) -> Why:
    """Why a transition was canceled. The transition itself is not kept."""
    return tx._refusal or partial(reasons.rejected, tx.machine._rules, tx.plan)
