"""Plans: the outcome of relations, resolved once and remembered.

For a given schema the outcome of relations depends only on the active states in their order, the kind of mutation, the
called states and whether it is an auto mutation. So each `Configuration` (ordered active states) keeps the *plans*
that start from it, a plan names the configuration it leads to, and a warm mutation is one dictionary look-up.
Configurations are shared by all machines of a schema; their number is bounded, beyond which the whole memory is
dropped and built anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from asyncmachine.machine.relations import ADD, REMOVE
from asyncmachine.machine.rules import Rules, bits_of, mask_of

if TYPE_CHECKING:
    from asyncmachine.machine.explain import Explanation

PLAN_LIMIT = 20_000
"""Plans remembered for one schema."""


class Plan:
    """What relations make of one mutation in one configuration. Immutable once made.

    `target`, `enters`, `exits` are indexes in order; `rises` the states whose tick grows by one, `again` the called
    Multi states that were active (their tick grows by two); `touched` both. `accepted` tells whether relations let it
    through; handlers may still veto. `settled` is what takes effect: the plan itself, or for an auto plan the
    resolution without the states that relations rejected. `explained` tells why, once somebody has asked (`explain`).
    """

    __slots__ = (
        "accepted",
        "again",
        "called",
        "called_mask",
        "enters",
        "exits",
        "explained",
        "is_auto",
        "kind",
        "leads_to",
        "quiet",
        "rises",
        "settled",
        "start",
        "target",
        "touched",
    )

    def __init__(
        self,
        rules: Rules,
        start: Configuration,
        kind: int,
        called: tuple[int, ...],
        *,
        is_auto: bool = False,
        settles: bool = False,
        vetoed: int = 0,
    ) -> None:
        self.start = start
        self.kind = kind
        self.called = called
        self.is_auto = is_auto
        self.called_mask = mask_of(called)
        self.target = rules.resolver.target_states(rules, start.active, kind, called, vetoed)
        there = mask_of(self.target)
        self.accepted = settles or self._accepted(there)
        again = there & start.mask & self.called_mask & rules.multi
        self.enters: tuple[int, ...] = ()
        self.exits: tuple[int, ...] = ()
        if self.accepted:
            self.enters = tuple(i for i in self.target if not start.mask >> i & 1 or again >> i & 1)
            self.exits = rules.resolver.in_order(rules, (i for i in start.active if not there >> i & 1))
        self.rises = bits_of(there ^ start.mask)
        self.again = bits_of(again)
        self.touched = self.rises + self.again
        self.quiet = kind == ADD and bool(self.called_mask & rules.quiet) and len(called) == 1
        self.leads_to = configuration(rules, self.target)
        self.settled = self
        self.explained: Explanation | None = None
        rejected = self.called_mask & ~there
        if is_auto and rejected:
            self.settled = settled_plan(rules, start, self.called_mask & there)

    def _accepted(self, there: int) -> bool:
        if self.kind == REMOVE or not self.called_mask & ~there:
            return True
        # An auto mutation is content with any of its states, all others are all or nothing.
        return self.is_auto and bool(self.called_mask & there)


class Configuration:
    """Active states in their order, and the plans known to start from here, by kind and names."""

    __slots__ = ("active", "auto_called", "auto_plan", "mask", "names", "plans", "settled")

    def __init__(self, rules: Rules, active: tuple[int, ...]) -> None:
        self.active = active
        self.mask = mask_of(active)
        self.names = tuple(rules.names[i] for i in active)
        self.plans: tuple[dict[object, Plan], ...] = ({}, {}, {})
        self.auto_called = rules.resolver.auto_states(rules, self.mask)
        self.auto_plan: Plan | None = None
        self.settled: dict[tuple[int, int], Plan] = {}


def configuration(rules: Rules, active: Sequence[int]) -> Configuration:
    """The one configuration with these active states in this order."""
    key = tuple(active)
    found = rules.configurations.get(key)
    if found is None:
        found = rules.configurations.setdefault(key, Configuration(rules, key))
    return found


def plan_for(rules: Rules, start: Configuration, kind: int, called: tuple[int, ...], key: object) -> Plan:
    """A new plan, remembered under `key` (what the caller looks up: a name, or a tuple of names)."""
    if rules.plan_count >= PLAN_LIMIT:
        forget(rules)
        rules.configurations[start.active] = start
    rules.plan_count += 1
    made = start.plans[kind][key] = Plan(rules, start, kind, called)
    return made


def auto_plan(rules: Rules, start: Configuration) -> Plan:
    """The plan of the auto mutation that is due in this configuration."""
    found = start.auto_plan
    if found is None:
        found = start.auto_plan = Plan(rules, start, ADD, start.auto_called, is_auto=True)
    return found


def settled_plan(rules: Rules, start: Configuration, left: int, vetoed: int = 0) -> Plan:
    """The auto mutation resolved again with only the called states in `left`; what the others implied is gone."""
    found = start.settled.get((left, vetoed))
    if found is None:
        rules.plan_count += 1
        called = tuple(i for i in start.auto_called if left >> i & 1)
        found = start.settled[left, vetoed] = Plan(rules, start, ADD, called, settles=True, vetoed=vetoed)
    return found


def forget(rules: Rules) -> None:
    """Drops all remembered plans. Machines keep their configuration and resolve anew from it."""
    for found in list(rules.configurations.values()):
        found.auto_plan = None
        found.settled.clear()
        for plans in found.plans:
            plans.clear()
    rules.configurations.clear()
    rules.plan_count = 0
