"""The relation resolver: which states does a mutation lead to?

Theory of operation. A mutation names states; relations turn these, together with what is active, into an ordered list
of *target* states. Three rules shape it:

* **Add** pulls states in. It is followed from states that were not active before (or are Multi), two levels deep: once
  before the blocking phase, once after it.
* **Remove** pushes states out. Walking from the end of the list, a state goes when another one in the list removes it,
  unless that one has already gone. As called states stand first, then active ones, then implied ones, this gives the
  order of precedence: called over active over implied, and among called ones the first over the later.
* **Require** takes out every state with a missing requirement, again and again until nothing changes; it is applied
  both before blocking and at the end.

The survivors are put in order: required states before those that require them, then After between neighbours. The order
is the order of handlers and of the list of active states. All functions here are pure; states are indexes, sets of them
masks (`Rules`). This reproduces recorded behaviour exactly, including its limits (Add stops at two levels, After is
honoured between neighbours only).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asyncmachine.machine.rules import Rules, mask_of

ADD, REMOVE, SET = 0, 1, 2
"""Kinds of mutation, as used for dispatch inside of the machine."""


class Recorded:
    """The default resolver: what the reference did, to the letter."""

    name = "recorded"

    def verify(self, rules: Rules) -> None:
        """Nothing to refuse: a cycle of Require only leaves its states unsorted."""

    def target_states(
        self, rules: Rules, active: Sequence[int], kind: int, called: Sequence[int], vetoed: int = 0
    ) -> tuple[int, ...]:
        """See `target_states`. A vetoed auto state may come back when another one implies it."""
        return target_states(rules, active, kind, called)

    def in_order(self, rules: Rules, states: Iterable[int]) -> tuple[int, ...]:
        """See `in_order`."""
        return in_order(rules, states)

    def auto_states(self, rules: Rules, active: int) -> tuple[int, ...]:
        """See `auto_states`."""
        return auto_states(rules, active)


RECORDED = Recorded()


def target_states(rules: Rules, active: Sequence[int], kind: int, called: Sequence[int]) -> tuple[int, ...]:
    """The states that are active if this mutation is accepted, in order."""
    before = mask_of(active)
    leaving = mask_of(called) if kind == REMOVE else 0
    found = with_implied(rules, wanted_states(active, kind, called), before, leaving)
    found = with_requirements(rules, found)
    found = unblocked(rules, found)
    removed = 0
    for i in found:
        removed |= rules.remove_masks[i]
    implied = with_implied(rules, found, before, leaving)
    if len(implied) != len(found):
        found = [i for i in implied if not removed >> i & 1]
    found.reverse()
    found = with_requirements(rules, found)
    return in_order(rules, found)


def wanted_states(active: Sequence[int], kind: int, called: Sequence[int]) -> list[int]:
    """What a mutation asks for before relations have their say: called states first, then those that stay."""
    if kind == ADD:
        return list(dict.fromkeys((*called, *active)))
    if kind == REMOVE:
        return [i for i in active if i not in called]
    return list(dict.fromkeys(called))


def with_implied(rules: Rules, found: list[int], before: int, leaving: int) -> list[int]:
    """The list with what its states Add, one level. States active before imply nothing, unless they are Multi."""
    adds = rules.adds
    implied: list[int] = []
    for i in found:
        if adds[i] and (not before >> i & 1 or rules.multi >> i & 1):
            implied += [j for j in adds[i] if not leaving >> j & 1]
    return list(dict.fromkeys((*found, *implied))) if implied else found


def with_requirements(rules: Rules, found: list[int]) -> list[int]:
    """The list without states whose Require is not met within it, until nothing changes."""
    masks, unmet = rules.require_masks, rules.unmet
    while True:
        there = mask_of(found)
        kept = [i for i in found if not masks[i] & ~there and not unmet >> i & 1]
        if len(kept) == len(found):
            return kept
        found = kept


def unblocked(rules: Rules, found: list[int]) -> list[int]:
    """The survivors of Remove, in reverse order."""
    blockers = rules.blockers
    alive = mask_of(found)
    kept = []
    for i in reversed(found):
        if blockers[i] & alive:
            alive &= ~(1 << i)
        else:
            kept.append(i)
    return kept


def in_order(rules: Rules, found: Iterable[int]) -> tuple[int, ...]:
    """Required states first, then a state after those its After lists, as far as neighbours tell."""
    ordered = list(found)
    if len(ordered) < 2:
        return tuple(ordered)
    ranks = rules.ranks
    if ranks is not None:
        ordered.sort(key=ranks.__getitem__)
    if rules.any_after & mask_of(ordered):
        after = rules.after_masks
        for end in range(1, len(ordered)):
            at = end
            # A neighbour's After lists this one; `goes_before` tells whether that counts.
            while at and after[ordered[at - 1]] >> ordered[at] & 1 and goes_before(after, ordered[at], ordered[at - 1]):
                ordered[at - 1], ordered[at] = ordered[at], ordered[at - 1]
                at -= 1
    return tuple(ordered)


def goes_before(after: Sequence[int], x: int, y: int) -> bool:
    """True if `y` lists `x` in its After and not the other way round."""
    return bool(after[y] >> x & 1) and not after[x] >> y & 1


def auto_states(rules: Rules, active: int) -> tuple[int, ...]:
    """Inactive Auto states that no active state removes: what the next auto transition calls."""
    return tuple(i for i in rules.auto if not active >> i & 1 and not rules.blockers[i] & active)
