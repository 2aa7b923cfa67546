"""A schema compiled to indexes and bit masks.

Every state has an index, its position in the machine's order of names. A set of states is an `int` with one bit a
state, so that *is any of these active* is one `&`. Compiling also sanitises: a state never removes or follows itself,
and Add wins over Remove.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from asyncmachine.machine.schema import EXCEPTION, Schema, State
from asyncmachine.machine.verify import UnknownNames, cleaned, verify

if TYPE_CHECKING:
    from asyncmachine.machine.plan import Configuration

QUIET_STATES = frozenset({"Healthcheck", "Heartbeat"})
"""Adding just one of these is a sign of life and never starts auto states."""


class Resolver(Protocol):
    """Decides where mutations lead. Pure: the same question always gets the same answer, so that plans may keep it.

    `recorded` and `strict` are shipped; a machine takes any other object of this form as its `relations`.
    """

    @property
    def name(self) -> str:
        """How it is called in settings and in the debugger."""
        ...

    def verify(self, rules: Rules) -> None:
        """Raises `SchemaError` for a schema it cannot resolve."""
        ...

    def target_states(
        self, rules: Rules, active: Sequence[int], kind: int, called: Sequence[int], vetoed: int = 0
    ) -> tuple[int, ...]:
        """States that will be active, in order. `vetoed` are states that a handler refused in this auto transition."""
        ...

    def in_order(self, rules: Rules, states: Iterable[int]) -> tuple[int, ...]:
        """States in the order of their handlers."""
        ...

    def auto_states(self, rules: Rules, active: int) -> tuple[int, ...]:
        """States that the next auto transition calls, given a mask of the active ones."""
        ...


class Rules:
    """What the resolver reads. Made once for a schema and shared by all of its machines.

    `requires`, `adds`, `removes`, `afters` hold index tuples by state; `remove_masks`, `after_masks` the same as masks;
    `blockers[i]` are the states that remove `i`; `unmet` the states that require a name nobody defines.
    """

    __slots__ = (
        "add_masks",
        "adds",
        "after_masks",
        "any_after",
        "auto",
        "blockers",
        "configurations",
        "index",
        "multi",
        "names",
        "plan_count",
        "quiet",
        "ranks",
        "remove_masks",
        "require_masks",
        "requires",
        "resolver",
        "schema",
        "unmet",
    )

    def __init__(self, schema: Schema, resolver: Resolver, unknown_names: UnknownNames = "error") -> None:
        if EXCEPTION not in schema:
            schema = schema.merge({EXCEPTION: State(multi=True)})
        verify(schema, unknown_names)
        schema = cleaned(schema)
        names = schema.names
        self.schema = schema
        self.resolver = resolver
        self.names = names
        self.index = schema.index
        index, states = self.index, [schema[name] for name in names]

        def indexes(found: tuple[str, ...] | None) -> tuple[int, ...]:
            return tuple(index[name] for name in found or () if name in index)

        self.requires = [indexes(found.require) for found in states]
        self.adds = [indexes(found.add) for found in states]
        removes = [indexes(found.remove) for found in states]
        afters = [indexes(found.after) for found in states]
        self.require_masks = [mask_of(found) for found in self.requires]
        self.add_masks = [mask_of(found) for found in self.adds]
        self.remove_masks = [mask_of(found) for found in removes]
        self.after_masks = [mask_of(found) for found in afters]
        self.any_after = mask_of(i for i, found in enumerate(afters) if found)
        self.blockers = [0] * len(names)
        for i, found in enumerate(removes):
            for removed in found:
                self.blockers[removed] |= 1 << i
        self.multi = mask_of(i for i, found in enumerate(states) if found.multi)
        self.auto = tuple(i for i, found in enumerate(states) if found.auto)
        self.quiet = mask_of(index[name] for name in QUIET_STATES if name in index)
        self.unmet = mask_of(i for i, s in enumerate(states) if any(name not in index for name in s.require or ()))
        self.ranks = require_ranks(self.requires)
        self.configurations: dict[tuple[int, ...], Configuration] = {}
        self.plan_count = 0
        resolver.verify(self)


def mask_of(indexes: Iterable[int]) -> int:
    """The set of these indexes as an int."""
    mask = 0
    for i in indexes:
        mask |= 1 << i
    return mask


def bits_of(mask: int) -> tuple[int, ...]:
    """The indexes in a set, ascending."""
    found = []
    while mask:
        lowest = mask & -mask
        found.append(lowest.bit_length() - 1)
        mask ^= lowest
    return tuple(found)


def rules_of(schema: Schema, resolver: Resolver, unknown_names: UnknownNames = "error") -> Rules:
    """The compiled schema, kept on the schema object so that the next machine of it starts at once."""
    cache: dict[tuple[Resolver, UnknownNames], Rules] = schema.__dict__.setdefault("_rules", {})
    found = cache.get((resolver, unknown_names))
    if found is None:
        found = cache[resolver, unknown_names] = Rules(schema, resolver, unknown_names)
    return found


def require_ranks(requires: list[tuple[int, ...]]) -> list[int] | None:
    """Position of each state in a depth-first order of the Require graph, dependencies first; None if it has a cycle.

    States outside of the graph rank -1, before all others. The walk starts from the states that require something, in
    their order.
    """
    done: dict[int, int] = {}
    for root, required in enumerate(requires):
        if not required or root in done:
            continue
        path = {root: iter(required)}
        while path:
            i = next(reversed(path))
            j = next(path[i], None)
            if j is None:
                done[i] = len(done)
                del path[i]
            elif j in path:
                return None
            elif j not in done:
                path[j] = iter(requires[j])
    return [done.get(i, -1) for i in range(len(requires))]
