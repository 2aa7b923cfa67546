"""The strict resolver: the same three rules, without the limits that habit has to live with.

Differences from the recorded one (`relations`):

* Add is followed all the way, so every implied state takes part in blocking; an active Multi state implies only when it
  is called;
* a state that is dropped takes along what only it implied;
* a vetoed auto state stays out, whatever implies it;
* the order is a stable topological one: After is honoured for every pair it names, Require wherever After allows.

So after every accepted transition each active state's Require is met, no active state removes another active one, and
After holds for all of them. Precedence is the same: called over active over implied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from asyncmachine.machine.errors import SchemaError
from asyncmachine.machine.relations import REMOVE, auto_states, unblocked, wanted_states, with_requirements
from asyncmachine.machine.rules import Rules, bits_of, mask_of


class Strict:
    """A resolver for new schemas. It refuses cycles of After."""

    name = "strict"

    def verify(self, rules: Rules) -> None:
        """Raises `SchemaError` for a cycle of After, which no order can honour."""
        cycle = after_cycle(rules)
        if cycle:
            path = " after ".join(rules.names[i] for i in cycle)
            raise SchemaError(f"After cycle: {path}; drop one of these relations")

    def target_states(
        self, rules: Rules, active: Sequence[int], kind: int, called: Sequence[int], vetoed: int = 0
    ) -> tuple[int, ...]:
        """The states that are active if this mutation is accepted, in order. `vetoed` states stay out."""
        before, called_mask = mask_of(active), mask_of(called)
        wanted = wanted_states(active, kind, called)
        out = vetoed | (called_mask if kind == REMOVE else 0)
        while True:
            found = implied_by(rules, [i for i in wanted if not out >> i & 1], before, called_mask, out)
            kept = unblocked(rules, with_requirements(rules, found))
            kept.reverse()
            kept = with_requirements(rules, kept)
            if len(kept) == len(found):
                return self.in_order(rules, kept)
            out |= mask_of(found) & ~mask_of(kept)

    def in_order(self, rules: Rules, states: Iterable[int]) -> tuple[int, ...]:
        """Each state after all that its After lists, and after what it requires where that leaves a choice."""
        waiting = list(states)
        placed: list[int] = []
        while waiting:
            left = mask_of(waiting)
            free = [i for i in waiting if not rules.after_masks[i] & left & ~(1 << i)]
            first = next((i for i in free if not rules.require_masks[i] & left & ~(1 << i)), free[0])
            waiting.remove(first)
            placed.append(first)
        return tuple(placed)

    def auto_states(self, rules: Rules, active: int) -> tuple[int, ...]:
        """Inactive Auto states that no active state removes."""
        return auto_states(rules, active)


STRICT = Strict()


def implied_by(rules: Rules, found: list[int], before: int, called: int, out: int) -> list[int]:
    """The list with all that its states Add, and what these add, and so on."""
    there = mask_of(found)
    found = list(found)
    for i in found:  # grows while it is walked
        if before >> i & 1 and not (rules.multi >> i & 1 and called >> i & 1):
            continue
        for j in rules.adds[i]:
            if not (there | out) >> j & 1:
                there |= 1 << j
                found.append(j)
    return found


def after_cycle(rules: Rules) -> list[int]:
    """The states of one cycle of After, its first one again at the end; empty if there is none."""
    done: set[int] = set()
    for root in range(len(rules.names)):
        path: dict[int, Iterator[int]] = {}
        ahead: int | None = root
        while True:
            if ahead is None:
                if not path:
                    break
                done.add(path.popitem()[0])
            elif ahead in path:
                cycle = list(path)
                return [*cycle[cycle.index(ahead) :], ahead]
            elif ahead not in done:
                path[ahead] = iter(bits_of(rules.after_masks[ahead]))
            ahead = next(path[next(reversed(path))], None) if path else None
    return []
