"""The narrator: the log lines and steps of a local machine's transitions.

What follows from relations comes from the plan's `Explanation`, ready-made; handlers, vetoes and failures are told as
they happen. Hooks that no tracer has (`applied`, `vetoed`, …) are called by the transition directly; they ignore a
transition that had begun before the narrator was there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from asyncmachine.machine.args import ErrorArgs, typed
from asyncmachine.machine.errors import HandlerDeadline, HandlerTimeout, InvalidArgs
from asyncmachine.machine.explain import Explanation, explanation, state_line
from asyncmachine.machine.handlers import Slot, final_slots, negotiation_slots, slot_name
from asyncmachine.machine.levels import CHANGES, DECISIONS, EVERYTHING, EXTERNAL, OPS, LogEntry, LogLevel, Sem
from asyncmachine.machine.log_args import args_text
from asyncmachine.machine.observer import RAISED, MirrorObserver, Observer
from asyncmachine.machine.recovery import taken_back
from asyncmachine.machine.schema import EXCEPTION
from asyncmachine.machine.steps import Step, handler_step

if TYPE_CHECKING:
    from asyncmachine.machine.evaluation import Evaluation
    from asyncmachine.machine.handlers import Call, Turn
    from asyncmachine.machine.log import Log
    from asyncmachine.machine.mutation import Mutation
    from asyncmachine.machine.plan import Configuration, Plan
    from asyncmachine.machine.schema import Schema
    from asyncmachine.machine.transition import Transition
    from asyncmachine.machine.view import View

READY_MADE = 1_000
"""Lines about the queue, and about auto states, that are kept for the next time."""


def observer_of(machine: Any, log: Log) -> Observer:
    """The observer for a machine of this kind."""
    return Narrator(machine, log) if machine.is_local else MirrorObserver(machine, log)


class Narrator(Observer):
    """Tells what one local machine does."""

    _machine: Any

    def __init__(self, machine: Any, log: Log) -> None:
        super().__init__(machine, log)
        # Of the transition that runs.
        self._args = ""
        self._is_auto = False
        self._recording = False
        self._steps: list[Step] | None = None
        self._vetoed = 0
        self._applied = False
        self._binding = ""
        # Handler names that are asked for next, with the bindings that are asked; only at the highest level.
        self._asked: Iterator[tuple[str, str]] | None = None
        self._queued: dict[tuple[bool, int, tuple[str, ...]], LogEntry] = {}
        self._due: dict[Configuration, tuple[LogEntry, ...]] = {}
        self._check_require()

    def set_level(self, level: LogLevel) -> None:
        super().set_level(level)
        self._due.clear()

    # The queue

    def mutation_queued(self, machine: View[Any], mutation: Mutation) -> None:
        log = self._log
        if self._level < OPS:
            return
        key = (mutation.queue_tick > 0, mutation.kind_id, mutation.called)
        line = self._queued.get(key)
        if line is None:
            if len(self._queued) >= READY_MADE:
                self._queued.clear()
            where = "queue" if mutation.queue_tick else "prepend"
            text = f"[{where}:{mutation.kind}] {' '.join(mutation.called)}"
            line = self._queued[key] = LogEntry(OPS, text)
        if mutation.args and log.args_mapper is not None:
            line = LogEntry(OPS, line.text + args_text(mutation.args, log.args_mapper))
        log.write_all((line,))

    def skipped(self, mutation: Mutation) -> None:
        """A mutation was not queued because the same one waits."""
        said = Sem("queue", "skipped", mutation.called, names=(mutation.kind,))
        self._log.write(OPS, f"[queue:skipped] Duplicate detected for {mutation!r}", said)

    def postponed(self, waiting: int) -> None:
        """A mutation waits for the running drain."""
        self._log.write(OPS, f"[postpone] queue running ({waiting} item{'' if waiting == 1 else 's'})")

    def auto_due(self) -> None:
        """A transition has ended after which auto states are looked for."""
        if self._asked is not None:
            self._ask_rest()
        log, config = self._log, self._machine._config
        if self._level < OPS:
            return
        lines = self._due.get(config)
        if lines is None:
            if len(self._due) >= READY_MADE:
                self._due.clear()
            lines = self._due[config] = self._due_lines(config)
        if lines:
            log.write_all(lines)

    def _due_lines(self, config: Configuration) -> tuple[LogEntry, ...]:
        names, rules = self._machine.names, self._machine._rules
        lines = []
        for i in rules.auto if self._level >= EVERYTHING else ():
            by = [names[b] for b in config.active if rules.blockers[i] >> b & 1]
            if by and not config.mask >> i & 1:
                said = Sem("rel", "remove", (names[i],), names=tuple(by))
                lines.append(LogEntry(EVERYTHING, f"[auto:rel:remove] {names[i]} by {' '.join(by)}", said))
        if config.auto_called:
            lines.append(LogEntry(OPS, f"[auto] {' '.join(names[i] for i in config.auto_called)}"))
        return tuple(lines)

    def evaluates(self, item: Evaluation[Any]) -> None:
        """A function is to be called between transitions."""
        if self._level < OPS:
            return
        source = item.source

        def tell(level: LogLevel, label: str, event: str) -> None:
            self._log.write(level, f"[{label}] {source}", Sem("eval", event, names=(source,)))

        tell(OPS, "eval", "new")

        def ended() -> None:
            if item.has_run:
                tell(EVERYTHING, "eval:end", "end")
            else:
                tell(OPS, "eval:timeout", "timeout")

        item.then(ended)

    def eval_runs(self, item: Evaluation[Any]) -> None:
        """It is its turn, unless it has been withdrawn."""
        if not item.done():
            self._log.write(EXTERNAL, f"[exter] eval: {item.source}", Sem("eval", "run", names=(item.source,)))

    # The phases of a transition

    def transition_init(self, tx: Transition) -> None:
        log, plan = self._log, tx.plan
        level = self._level
        self._tx = tx
        self._vetoed = 0
        self._applied = False
        self._is_auto = plan.is_auto
        found = plan.explained or self._explained(plan)
        self._recording = log.steps and (log.can or not tx.is_check)
        if self._recording:
            tx.steps = found.steps
            self._steps = None
        self._args = args_text(tx.args, log.args_mapper) if tx.args else ""
        lines = found.shown(level)
        if (self._args or tx.source is not None) and level >= OPS:
            lines = self._dressed(tx, lines)
        tx.log_entries = log.begin(lines)
        self._asked = None
        if level >= EVERYTHING and tx.accepted and self._machine._table is not None:
            self._ask(negotiation_slots(plan))

    def _explained(self, plan: Plan) -> Explanation:
        return explanation(self._machine._rules, plan, is_auto=self._is_auto, vetoed=self._vetoed)

    def _dressed(self, tx: Transition, lines: tuple[LogEntry, ...]) -> tuple[LogEntry, ...]:
        """The opening lines with arguments and source."""
        level, text, said = lines[0]
        first, rest = [LogEntry(level, text + self._args, said)], lines[1:]
        if tx.source is not None:
            source = tx.source
            first.append(LogEntry(OPS, f"[source] {source.machine_id}/{source.tx_id}/{source.machine_time}"))
        return (*first, *rest)

    def handler_started(self, tx: Transition, turn: Turn, call: Call) -> None:
        """A handler is about to be called."""
        if tx is not self._tx:
            return
        self._binding = call.binding
        if self._recording:
            first = turn.name.removesuffix(turn.about) if turn.kind == "Pair" else ""
            self._add_steps(tx, (handler_step(turn.kind, turn.about, first),))
        if self._level >= OPS:
            self._ask_until(call.binding, turn.name)
            self.called(call.binding, turn.name)

    def handler_ended(self, tx: Transition, turn: Turn, call: Call) -> None:
        """A handler has returned, or raised."""
        if tx is self._tx and self._level >= EVERYTHING:
            self._log.write(EVERYTHING, f"[handler:end] {turn.name} from {call.binding}")

    def vetoed(self, tx: Transition, turn: Turn) -> None:
        """A negotiation handler said no."""
        if tx is self._tx:
            label, event = ("cancel:self", "self") if turn.kind == "Self" else ("cancel", "veto")
            self._cancel(label, event, tx, turn.name, turn.name)
            if self._is_auto:
                self._vetoed |= 1 << turn.state

    def applied(self, tx: Transition) -> None:
        """Ticks have changed; scopes have not ended yet."""
        if tx is not self._tx:
            return
        log, plan = self._log, tx.plan
        self._applied = True
        found = plan.explained or self._explained(plan)
        if self._asked is not None:
            self._ask_rest()
            self._ask(final_slots(plan))
        if self._is_auto:
            self._resolve_again(tx, found)
        if self._level >= CHANGES:
            line = found.whole_change if self._level >= EVERYTHING else found.change
            if line is not None:
                log.write_all((LogEntry(CHANGES, line.text + self._args) if self._args else line,))
            if self._machine._index[EXCEPTION] in plan.enters:
                log.write(CHANGES, *self._error_line(tx))

    def transition_end(self, tx: Transition) -> None:
        if tx is self._tx:
            if self._is_auto and not self._applied:
                self._resolve_again(tx, tx.plan.explained or self._explained(tx.plan))
            if self._asked is not None and tx.accepted:
                self._ask_rest()
            self._tx = None
            tx.pre_log_entries = self._log.end()

    def _resolve_again(self, tx: Transition, found: Explanation) -> None:
        """An auto mutation is resolved a second time, without what was rejected or vetoed."""
        log = self._log
        if self._recording and found.resolver_steps:
            self._add_steps(tx, found.resolver_steps)
        lines = found.resolver_shown(self._level)
        if lines:
            log.write_all(lines)

    def _add_steps(self, tx: Transition, steps: tuple[Step, ...]) -> None:
        # The first ones are the explanation's own, shared by all transitions of the plan.
        if self._steps is None:
            tx.steps = self._steps = list(tx.steps)
        self._steps += steps

    def _target(self, tx: Transition) -> tuple[str, ...]:
        names, vetoed = self._machine.names, self._vetoed
        return tuple(names[i] for i in tx.plan.target if not vetoed >> i & 1)

    # Failures

    def broke(self, tx: Transition, turn: Turn, error: Exception) -> None:
        """A handler raised, or took too long. What it breaks has not been taken back yet."""
        log = self._log
        if tx is not self._tx or self._level < CHANGES:
            return
        timeout = isinstance(error, HandlerTimeout)
        if timeout:
            self._cancel("cancel", "timeout", tx, "timeout", turn.name)
            log.write(DECISIONS, f"[handler:timeout]: {turn.name} from {self._binding}")
            if isinstance(error, HandlerDeadline):
                log.write(EVERYTHING, f"[handler:deadline] {turn.name} from {self._binding}")
        else:
            log.write(OPS, "[recover] handling panic...")
        taken = taken_back(tx.plan, turn)
        if taken:
            names = self._machine.names
            left = " ".join(names[i] for i in tx.plan.target if i not in taken)
            log.write(OPS, f"[recover] partial final states as ({left})")
            line = state_line([f"-{names[i]}" for i in tx.plan.target if i in taken], is_auto=self._is_auto)
            log.write(CHANGES, line.text + self._args)
        if not timeout:
            self._cancel("cancel", "recover", tx, "recover", turn.name)

    def _cancel(self, label: str, event: str, tx: Transition, by: str, handler: str) -> None:
        target = self._target(tx)
        said = Sem("cancel", event, target, names=(handler,))
        self._log.write(OPS, f"[{label}] ({' '.join(target)}) by {by}", said)

    def _error_line(self, tx: Transition) -> tuple[str, Sem]:
        try:
            found = typed(tx.args, ErrorArgs)
        except InvalidArgs:
            found = None
        if found is None:
            return "[error] missing error in args to ExceptionState", RAISED
        message = str(found.err) or type(found.err).__name__
        text = f"[error:{found.kind}] {' '.join(found.called)} ({message})" if found.kind else f"[error] {message}"
        said = Sem("error", found.kind, tuple(found.called)) if found.kind else RAISED
        return f"{text}\n{found.trace.rstrip()}" if self._log.traces and found.trace else text, said

    # Names that are asked for

    def _ask(self, slots: Iterator[Slot]) -> None:
        names, bindings = self._machine.names, self._machine._table.bindings
        self._asked = (
            (binding.id, name)
            for name in (slot_name(slot, names) for slot in slots)
            for binding in bindings
            if not binding.prefix or name.startswith(binding.prefix)
        )

    def _ask_until(self, binding: str, name: str) -> None:
        """Tells of the names that were asked for in vain, up to the one that is called now."""
        for asked in self._asked or ():
            self._log.write(EVERYTHING, f"[handle:{asked[0]}] {asked[1]}")
            if asked == (binding, name):
                return

    def _ask_rest(self) -> None:
        for binding, name in self._asked or ():
            self._log.write(EVERYTHING, f"[handle:{binding}] {name}")

    # The machine

    def schema_change(self, machine: View[Any], old: Schema) -> None:
        self._check_require()

    def imported(self) -> None:
        """The machine was restored from an export."""
        machine = self._machine
        times, ticks = machine.machine_tick, sum(machine.time())
        self._log.write(CHANGES, f"[import] imported {times} times, now at {ticks} ticks")

    def exported(self) -> None:
        """The machine's time was exported."""
        self._log.write(OPS, f"[import] exported at {sum(self._machine.time())} ticks")

    def disposing(self, state: str) -> None:
        """The machine is told to end by the removal of a state."""
        self._log.write(OPS, f"[dispose] graceful shutdown via {state}")

    def _check_require(self) -> None:
        """Tells of a cycle of Require, which leaves states unsorted."""
        rules = self._machine._rules
        if rules.ranks is None and rules.resolver.name == "recorded":
            state = rules.names[require_cycle(rules.requires)]
            text = f"[resolver] relation error: state {state} has a Require cycle for {self._machine.id}"
            self._log.write(CHANGES, text)


def require_cycle(requires: list[tuple[int, ...]]) -> int:
    """The first state that comes back to itself by Require; -1 if none does."""
    for goal, found in enumerate(requires):
        ahead, seen = list(found), set(found)
        while ahead:
            i = ahead.pop()
            if i == goal:
                return goal
            fresh = [j for j in requires[i] if j not in seen]
            seen.update(fresh)
            ahead += fresh
    return -1
