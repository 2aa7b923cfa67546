"""What a mirror concludes from its schema: which mutations cannot be, and which states there must be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

from asyncmachine.machine.mutation import KINDS, Kind
from asyncmachine.machine.plan import configuration, plan_for
from asyncmachine.machine.reading import Reading
from asyncmachine.machine.reasons import rejected
from asyncmachine.machine.relations import RECORDED
from asyncmachine.machine.result import Why
from asyncmachine.machine.rules import rules_of


def refusal(mirror: Reading[Any], kind: Kind, names: Sequence[str]) -> Why:
    """Why the relations of the schema do not let this mutation through, in the states that are active now; or ""."""
    rules = rules_of(mirror.schema, RECORDED, "keep")
    active = [rules.index[name] for name in mirror.active_states()]
    start, called = configuration(rules, sorted(active)), tuple(rules.index[name] for name in names)
    number, key = KINDS.index(kind), tuple(names)
    plan = start.plans[number].get(key) or plan_for(rules, start, number, called, key)
    return "" if plan.accepted else partial(rejected, rules, plan)


def implied(mirror: Reading[Any], known: Collection[int], ticks: Sequence[int]) -> Iterator[int]:
    """Places of states outside of `known` that active states require, directly or through one another."""
    waiting = [place for place in known if ticks[place] & 1]
    seen = set(waiting)
    while waiting:
        state = mirror.schema[mirror.names[waiting.pop()]]
        for place in [mirror.index(name) for name in state.require or ()]:
            if place >= 0 and place not in seen and place not in known:
                seen.add(place)
                waiting.append(place)
                yield place
