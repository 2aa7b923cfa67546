"""Why relations decided as they did: slow twins of the resolvers, which tell what they consult.

`relations` and `strict` are on the hot path and say nothing. When somebody listens, the twin of the resolver runs again
over the same question, consults the same relations in the same order, and yields a *fact* for each: a `Step`, or what
makes a log line. Its result has to be the resolver's; should it not (a resolver derived from a shipped one), the facts
are dropped rather than told wrongly.

An `Explanation` is a function of the plan alone, so it is made once and kept with it: log lines and steps of a warm
transition are copied, not made.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from asyncmachine.machine.levels import CHANGES, DECISIONS, OPS, LogEntry, LogLevel, Sem
from asyncmachine.machine.mutation import KINDS
from asyncmachine.machine.plan import Plan
from asyncmachine.machine.relations import REMOVE, SET, Recorded, wanted_states
from asyncmachine.machine.rules import Rules, mask_of
from asyncmachine.machine.steps import Relation, Step, StepType
from asyncmachine.machine.strict import Strict


class Dropped(NamedTuple):
    """States that the Require rule took out, each with what it missed."""

    states: tuple[tuple[str, tuple[str, ...]], ...]


class Blocked(NamedTuple):
    """A state that others remove."""

    state: str
    by: tuple[str, ...]
    was_active: bool


Fact = Step | Dropped | Blocked
States = Generator[Fact, None, list[int]]
"""Yields facts, returns states."""

Twin = Callable[[Rules, Sequence[int], int, Sequence[int], int], States]
"""The arguments of `Resolver.target_states`."""


@runtime_checkable
class Explaining(Protocol):
    """A resolver of one's own that can explain itself. Without these two its decisions are logged without reasons."""

    def explain(self, rules: Rules, active: Sequence[int], kind: int, called: Sequence[int], vetoed: int = 0) -> States:
        """`target_states`, with facts."""

    def explain_order(self, rules: Rules, states: Iterable[int]) -> States:
        """`in_order`, with facts."""


class Explanation:
    """Log lines and steps that follow from a plan.

    `lines` begin with the one that names the mutation, `steps` come before those of handlers. `resolver_lines` and
    `resolver_steps` are the part of them that the resolver made: an auto mutation is resolved again after negotiation.
    `change` is the `[state]` line, `whole_change` the same for the highest level, which shows unchanged states too;
    None if there is nothing to show. Arguments are not part of a plan, so they are not part of these lines.
    """

    __slots__ = (
        "_resolver_shown",
        "_shown",
        "change",
        "lines",
        "resolver_lines",
        "resolver_steps",
        "steps",
        "whole_change",
    )

    def __init__(self, rules: Rules, plan: Plan, *, is_auto: bool = False, vetoed: int = 0) -> None:
        names, start = rules.names, plan.start
        there = mask_of(plan.target)
        facts = resolver_facts(rules, plan, vetoed)
        self.resolver_steps = tuple(fact for fact in facts if isinstance(fact, Step))
        self.resolver_lines = tuple(line for fact in facts for line in fact_lines(fact, is_auto=is_auto))
        lines = [opening_line(rules, plan, is_auto=is_auto), *self.resolver_lines]
        steps = [*opening_steps(rules, plan), *self.resolver_steps]
        implied = there & ~mask_of(wanted_states(start.active, plan.kind, plan.called))
        if implied:
            lines.append(LogEntry(OPS, f"[implied] {_joined(names, plan.target, implied)}"))
        if plan.accepted:
            leaving = (i for i in start.active if not there >> i & 1)
            steps += (fact for fact in order_facts(rules, leaving, plan.exits) if isinstance(fact, Step))
        else:
            rejected = [i for i in plan.called if not there >> i & 1]
            said = Sem("cancel", "reject", tuple(names[i] for i in rejected))
            lines.append(LogEntry(OPS, f"[cancel:reject] {_joined(names, rejected)}", said))
            steps += (Step(StepType.CANCEL, to_state=names[i]) for i in rejected)
        self.lines = tuple(lines)
        self.steps = tuple(steps)
        again = mask_of(plan.again)
        changes = (
            [f"+{names[i]}" for i in plan.target if not start.mask >> i & 1]
            + [f"+{names[i]}" for i in plan.target if again >> i & 1]
            + [f"-{names[i]}" for i in start.active if not there >> i & 1]
        )
        unchanged = [names[i] for i in plan.target if start.mask >> i & 1]
        self.change = state_line(changes, is_auto=is_auto) if changes else None
        self.whole_change = state_line(changes + unchanged, is_auto=is_auto) if changes or unchanged else None
        self._shown: dict[LogLevel, tuple[LogEntry, ...]] = {}
        self._resolver_shown: dict[LogLevel, tuple[LogEntry, ...]] = {}

    def shown(self, level: LogLevel) -> tuple[LogEntry, ...]:
        """The lines that a log of this level shows."""
        found = self._shown.get(level)
        return _up_to(level, self.lines, self._shown) if found is None else found

    def resolver_shown(self, level: LogLevel) -> tuple[LogEntry, ...]:
        """The resolver's part of them."""
        found = self._resolver_shown.get(level)
        return _up_to(level, self.resolver_lines, self._resolver_shown) if found is None else found


def explanation(rules: Rules, plan: Plan, *, is_auto: bool = False, vetoed: int = 0) -> Explanation:
    """The one explanation of a plan, made when it is first asked for."""
    found = plan.explained
    if found is None:
        found = plan.explained = Explanation(rules, plan, is_auto=is_auto, vetoed=vetoed)
    return found


def resolver_facts(rules: Rules, plan: Plan, vetoed: int = 0) -> list[Fact]:
    """What the resolver consulted for a plan; empty if it cannot tell."""
    twin = twins_of(rules)[0]
    return _facts_if(twin(rules, plan.start.active, plan.kind, plan.called, vetoed), plan.target) if twin else []


def order_facts(rules: Rules, states: Iterable[int], ordered: Sequence[int]) -> list[Fact]:
    """What the resolver consulted to put states in order."""
    twin = twins_of(rules)[1]
    return _facts_if(twin(rules, states), ordered) if twin else []


def twins_of(rules: Rules) -> tuple[Twin | None, Callable[[Rules, Iterable[int]], States] | None]:
    """The twins of `target_states` and `in_order`."""
    resolver = rules.resolver
    if isinstance(resolver, Explaining):
        return resolver.explain, resolver.explain_order
    if isinstance(resolver, Recorded):
        return explain_recorded, explain_recorded_order
    if isinstance(resolver, Strict):
        return explain_strict, explain_strict_order
    return None, None


def _facts_if(run: States, expected: Sequence[int]) -> list[Fact]:
    facts: list[Fact] = []
    while True:
        try:
            facts.append(next(run))
        except StopIteration as end:
            return facts if tuple(end.value) == tuple(expected) else []


def fact_lines(fact: Fact, *, is_auto: bool) -> list[LogEntry]:
    """The log line of a fact; steps have none."""
    if isinstance(fact, Dropped):
        reasons = " ".join(f"{state}(-{' -'.join(missing)})" for state, missing in fact.states)
        states, missed = zip(*fact.states, strict=True)
        said = Sem("reject", "auto" if is_auto else "called", states, tuple(map(len, missed)), sum(missed, ()))
        level, label = (DECISIONS, "reject:auto") if is_auto else (OPS, "reject")
        return [LogEntry(level, f"[{label}] {reasons}", said)]
    if isinstance(fact, Blocked):
        level = OPS if fact.was_active else DECISIONS
        said = Sem("rel", "remove", (fact.state,), names=tuple(fact.by))
        return [LogEntry(level, f"[rel:remove] {fact.state} by {' '.join(fact.by)}", said)]
    return []


def opening_line(rules: Rules, plan: Plan, *, is_auto: bool) -> LogEntry:
    """The line that names a mutation."""
    called = _joined(rules.names, plan.called)
    kind = KINDS[plan.kind]
    return LogEntry(DECISIONS, f"[{kind}:auto] {called}") if is_auto else LogEntry(OPS, f"[{kind}] {called}")


def state_line(changes: Sequence[str], *, is_auto: bool) -> LogEntry:
    """The line that tells which states have changed."""
    return LogEntry(CHANGES, f"[{'auto_' if is_auto else 'state'}] {' '.join(changes)}")


def _up_to(
    level: LogLevel, lines: tuple[LogEntry, ...], known: dict[LogLevel, tuple[LogEntry, ...]]
) -> tuple[LogEntry, ...]:
    found = known[level] = tuple(line for line in lines if line.level <= level)
    return found


def opening_steps(rules: Rules, plan: Plan) -> list[Step]:
    """What the mutation asks for, before relations have their say."""
    names, active = rules.names, plan.start.mask
    steps = [Step(StepType.CALLED, to_state=names[i]) for i in plan.called]
    if plan.kind == REMOVE:
        return steps + [Step(StepType.DEACTIVATE, to_state=names[i]) for i in plan.called]
    steps += [Step(StepType.ACTIVATE, to_state=names[i]) for i in plan.called if not active >> i & 1]
    if plan.kind == SET:
        left_out = [i for i in plan.start.active if not plan.called_mask >> i & 1]
        steps += [Step(StepType.DEACTIVATE, to_state=names[i]) for i in left_out]
    return steps


def _joined(names: Sequence[str], states: Iterable[int], mask: int = -1) -> str:
    return " ".join(names[i] for i in states if mask >> i & 1)


# The twins. Each reads beside the function that it tells about, named in its first line.


def explain_recorded(rules: Rules, active: Sequence[int], kind: int, called: Sequence[int], vetoed: int = 0) -> States:
    """`relations.target_states`."""
    before, called_mask = mask_of(active), mask_of(called)
    leaving = called_mask if kind == REMOVE else 0
    found = yield from _with_implied(rules, wanted_states(active, kind, called), before, leaving)
    found = yield from _with_requirements(rules, found, called_mask)
    found = yield from _unblocked(rules, found, before)
    removed = 0
    for i in found:
        removed |= rules.remove_masks[i]
    implied = yield from _with_implied(rules, found, before, leaving)
    if len(implied) != len(found):
        found = [i for i in implied if not removed >> i & 1]
    found.reverse()
    found = yield from _with_requirements(rules, found, called_mask)
    return (yield from explain_recorded_order(rules, found))


def explain_recorded_order(rules: Rules, states: Iterable[int]) -> States:
    """`relations.in_order`."""
    ordered, after = list(states), rules.after_masks
    if rules.ranks is not None:
        ordered.sort(key=rules.ranks.__getitem__)
    for end in range(1, len(ordered)):
        for at in range(end, 0, -1):
            x, y = ordered[at], ordered[at - 1]
            if after[x] >> y & 1:
                yield _after(rules, y, x)
                break
            if not after[y] >> x & 1:
                break
            yield _after(rules, x, y)
            ordered[at - 1], ordered[at] = x, y
    return ordered


def explain_strict(rules: Rules, active: Sequence[int], kind: int, called: Sequence[int], vetoed: int = 0) -> States:
    """`Strict.target_states`."""
    before, called_mask = mask_of(active), mask_of(called)
    wanted = wanted_states(active, kind, called)
    out = vetoed | (called_mask if kind == REMOVE else 0)
    while True:
        staying = [i for i in wanted if not out >> i & 1]
        found = yield from _implied_by(rules, staying, before, called_mask, out)
        kept = yield from _with_requirements(rules, found, called_mask)
        kept = yield from _unblocked(rules, kept, before)
        kept.reverse()
        kept = yield from _with_requirements(rules, kept, called_mask)
        if len(kept) == len(found):
            return (yield from explain_strict_order(rules, kept))
        out |= mask_of(found) & ~mask_of(kept)


def explain_strict_order(rules: Rules, states: Iterable[int]) -> States:
    """`Strict.in_order`."""
    placed: list[int] = []
    for i in rules.resolver.in_order(rules, states):
        for j in placed:
            if rules.after_masks[i] >> j & 1:
                yield _after(rules, j, i)
        placed.append(i)
    return placed


def _with_implied(rules: Rules, found: list[int], before: int, leaving: int) -> States:
    """`relations.with_implied`."""
    implied: list[int] = []
    for i in found:
        if not before >> i & 1 or rules.multi >> i & 1:
            for j in rules.adds[i]:
                if not leaving >> j & 1:
                    yield from _add(rules, i, j)
                    implied.append(j)
    return list(dict.fromkeys((*found, *implied)))


def _implied_by(rules: Rules, found: list[int], before: int, called: int, out: int) -> States:
    """`strict.implied_by`."""
    there = mask_of(found)
    for i in found:  # grows while it is walked
        if before >> i & 1 and not (rules.multi >> i & 1 and called >> i & 1):
            continue
        for j in rules.adds[i]:
            if not out >> j & 1:
                yield from _add(rules, i, j)
                if not there >> j & 1:
                    there |= 1 << j
                    found.append(j)
    return found


def _with_requirements(rules: Rules, found: list[int], called: int) -> States:
    """`relations.with_requirements`. One fact for all states that are dropped."""
    names, dropped = rules.names, []
    while True:
        there = {names[i] for i in found}
        kept = []
        for i in found:
            missing = []
            for required in rules.schema[names[i]].require or ():
                yield Step(StepType.RELATION, names[i], required, Relation.REQUIRE)
                if required not in there:
                    missing.append(required)
                    yield Step(StepType.DEACTIVATE_PASSIVE, to_state=names[i])
                    if called >> i & 1:
                        yield Step(StepType.CANCEL, to_state=required)
            if missing:
                dropped.append((names[i], tuple(missing)))
            else:
                kept.append(i)
        if len(kept) == len(found):
            break
        found = kept
    if dropped:
        yield Dropped(tuple(dropped))
    return kept


def _unblocked(rules: Rules, found: list[int], before: int) -> States:
    """`relations.unblocked`."""
    names, alive, kept = rules.names, mask_of(found), []
    for i in reversed(found):
        by = [b for b in found if rules.blockers[i] & alive & 1 << b]
        if not by:
            kept.append(i)
            continue
        alive &= ~(1 << i)
        was_active = bool(before >> i & 1)
        for b in by:
            yield Step(StepType.RELATION, names[b], names[i], Relation.REMOVE)
        yield Step(StepType.DEACTIVATE if was_active else StepType.DEACTIVATE_PASSIVE, to_state=names[i])
        yield Blocked(names[i], tuple(names[b] for b in by), was_active)
    return kept


def _add(rules: Rules, i: int, j: int) -> Generator[Fact, None, None]:
    yield Step(StepType.RELATION, rules.names[i], rules.names[j], Relation.ADD)
    yield Step(StepType.ACTIVATE, to_state=rules.names[j])


def _after(rules: Rules, first: int, then: int) -> Step:
    return Step(StepType.RELATION, rules.names[first], rules.names[then], Relation.AFTER)
