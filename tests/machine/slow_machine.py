"""A second machine, without handlers, written straight from the description: lists of names, no masks, no memory.

It is slow and plain on purpose. The fast one has to agree with it on every target, tick and outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asyncmachine import Outcome, State

SIGNS_OF_LIFE = ("Healthcheck", "Heartbeat")


class SlowMachine:
    """`active` in order, `ticks` by name."""

    def __init__(self, schema: Mapping[str, State]) -> None:
        self.schema = schema
        self.active: list[str] = []
        self.ticks = dict.fromkeys(schema, 0)

    def run(self, kind: str, called: Sequence[str]) -> Outcome:
        """One mutation, and the auto mutation that it may cause."""
        if kind == "toggle":
            kind = "remove" if all(name in self.active for name in called) else "add"
        if kind.startswith("can_"):
            return self.outcome(kind.removeprefix("can_"), called)
        found = self.outcome(kind, called)
        target = targets(self.schema, self.active, kind, called)
        if self.accepts(kind, called, target):
            before = dict(self.ticks)
            self.move(target, called)
            is_sign_of_life = kind == "add" and len(called) == 1 and called[0] in SIGNS_OF_LIFE
            if self.ticks != before and not is_sign_of_life:
                self.run_auto()
        return found

    def outcome(self, kind: str, called: Sequence[str]) -> Outcome:
        target = targets(self.schema, self.active, kind, called)
        done = self.accepts(kind, called, target)
        if kind == "remove":
            done = not any(name in target for name in called)
        return Outcome.EXECUTED if done else Outcome.CANCELED

    def accepts(self, kind: str, called: Sequence[str], target: Sequence[str]) -> bool:
        return kind == "remove" or all(name in target for name in called)

    def run_auto(self) -> None:
        """Calls every inactive Auto state that nobody active removes; is content with some of them."""
        called = [
            name
            for name, state in self.schema.items()
            if state.auto and name not in self.active and not any(name in self.removes(other) for other in self.active)
        ]
        target = targets(self.schema, self.active, "add", called)
        survivors = [name for name in called if name in target]
        if survivors:
            # What only the rejected ones implied must not come with the others.
            self.move(targets(self.schema, self.active, "add", survivors), survivors)

    def move(self, target: list[str], called: Sequence[str]) -> None:
        for name, state in self.schema.items():
            if (name in target) != (name in self.active):
                self.ticks[name] += 1
            elif name in target and name in called and state.multi:
                self.ticks[name] += 2
        self.active = target

    def removes(self, name: str) -> tuple[str, ...]:
        return self.schema[name].remove or ()


def targets(schema: Mapping[str, State], active: Sequence[str], kind: str, called: Sequence[str]) -> list[str]:
    """The states that are active afterwards, in order."""
    if kind == "add":
        found = unique([*called, *active])
    elif kind == "remove":
        found = [name for name in active if name not in called]
    else:
        found = unique(called)

    def with_added(names: list[str]) -> list[str]:
        implied: list[str] = []
        for name in names:
            if name not in active or schema[name].multi:
                implied += schema[name].add or ()
        if kind == "remove":
            implied = [name for name in implied if name not in called]
        return unique([*names, *implied])

    found = with_added(found)
    found = meeting_requirements(schema, found)
    found = not_removed(schema, found[::-1])
    removed = {other for name in found for other in schema[name].remove or ()}
    found = [name for name in with_added(found) if name not in removed]
    found = meeting_requirements(schema, found[::-1])
    return in_order(schema, found)


def meeting_requirements(schema: Mapping[str, State], names: list[str]) -> list[str]:
    while True:
        kept = [name for name in names if all(other in names for other in schema[name].require or ())]
        if kept == names:
            return kept
        names = kept


def not_removed(schema: Mapping[str, State], names: list[str]) -> list[str]:
    """Walks the list; a state leaves when another one that has not left removes it."""
    gone: list[str] = []
    for name in names:
        if any(name in (schema[other].remove or ()) for other in names if other not in gone):
            gone.append(name)
    return [name for name in names if name not in gone]


def in_order(schema: Mapping[str, State], names: list[str]) -> list[str]:
    ranks = require_order(schema)
    names = sorted(names, key=lambda name: ranks.index(name) if name in ranks else -1)
    done: list[str] = []
    for name in names:
        done.append(name)
        at = len(done) - 1
        while at > 0 and goes_before(schema, done[at], done[at - 1]):
            done[at - 1], done[at] = done[at], done[at - 1]
            at -= 1
    return done


def goes_before(schema: Mapping[str, State], name: str, other: str) -> bool:
    return other not in (schema[name].after or ()) and name in (schema[other].after or ())


def require_order(schema: Mapping[str, State]) -> list[str]:
    """States of the Require graph, dependencies first; empty if they go in circles."""
    order: list[str] = []

    def visit(name: str, path: list[str]) -> bool:
        if name in path:
            return False
        for other in schema[name].require or ():
            if not visit(other, [*path, name]):
                return False
        if name not in order:
            order.append(name)
        return True

    for name, state in schema.items():
        if state.require and not visit(name, []):
            return []
    return order


def unique(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))
