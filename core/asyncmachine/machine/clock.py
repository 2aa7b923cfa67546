"""Ticks, and vectors of ticks.

Each state counts how often it has changed. An odd tick means active, an even one inactive, and ticks only grow: what a
machine is and how it got there fits in one list of numbers, in the order of its state names. A re-activation of an
active Multi state counts twice, so it stays odd.

`Time` is such a list, addressed by index. `TimeIndex` puts the names beside it. Both are values: nothing here changes
one, and an index or a name that is not there is no error but inactive at tick 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from asyncmachine.machine.names import indexes_of, names_at


def is_active_tick(tick: int) -> bool:
    """Whether a state with this tick is active."""
    return tick % 2 == 1


def next_active_in(tick: int) -> int:
    """How many ticks away the next activation is. An active state has to leave first."""
    return 2 if is_active_tick(tick) else 1


def next_active(tick: int) -> int:
    """The tick of the next activation."""
    return tick + next_active_in(tick)


def next_inactive_in(tick: int) -> int:
    """How many ticks away the next deactivation is. An inactive state has to come first."""
    return 1 if is_active_tick(tick) else 2


def next_inactive(tick: int) -> int:
    """The tick of the next deactivation."""
    return tick + next_inactive_in(tick)


def activations(ticks: int) -> int:
    """How often a state with this tick has been activated since tick 0."""
    return (ticks + 1) // 2


class Time(tuple[int, ...]):
    """The ticks of several states, by index. A tuple of ints, so `+` and `index` keep a tuple's meaning."""

    __slots__ = ()

    @classmethod
    def starting(cls, length: int, active: Iterable[int] = ()) -> Self:
        """A fresh vector: tick 1 at the active indexes, 0 elsewhere."""
        ones = frozenset(active)
        return cls(int(i in ones) for i in range(length))

    def __str__(self) -> str:
        return " ".join(map(str, self))

    def tick(self, index: int) -> int:
        """The tick at the index; 0 when there is none."""
        return self[index] if 0 <= index < len(self) else 0

    def is_(self, *indexes: int) -> bool:
        """Whether all of these are active. False without any: nothing is claimed of nothing."""
        return bool(indexes) and all(is_active_tick(self.tick(i)) for i in indexes)

    def not_(self, *indexes: int) -> bool:
        """Whether none of these is active. True without any."""
        return not self.any_(*indexes)

    def not1(self, index: int) -> bool:
        """Whether the index is there and inactive; unlike `not_` this is False for one that is not there."""
        return 0 <= index < len(self) and not is_active_tick(self[index])

    def any_(self, *indexes: int) -> bool:
        """Whether at least one of these is active."""
        return any(is_active_tick(self.tick(i)) for i in indexes)

    def any_group(self, *groups: Iterable[int]) -> bool:
        """Whether at least one of the groups is active as a whole."""
        return any(self.is_(*group) for group in groups)

    def active(self, indexes: Iterable[int] | None = None) -> tuple[int, ...]:
        """The active indexes, among the given ones or among all."""
        return tuple(i for i in (range(len(self)) if indexes is None else indexes) if self.is_(i))

    def touched(self) -> tuple[int, ...]:
        """The indexes whose tick is not 0."""
        return tuple(i for i, tick in enumerate(self) if tick)

    def filter(self, indexes: Iterable[int]) -> Self:
        """The ticks at the indexes, in their order."""
        return type(self)(map(self.tick, indexes))

    def sum(self, indexes: Iterable[int] | None = None) -> int:
        """The sum of the ticks at the indexes, or of all of them."""
        return sum(self if indexes is None else map(self.tick, indexes))

    def increment(self, index: int) -> Self:
        """A copy with one more tick at the index; the same ticks when it is not there."""
        return type(self)(tick + (i == index) for i, tick in enumerate(self))

    def add(self, other: Iterable[int]) -> Self:
        """The sums, element by element. Vectors of different lengths do not add up: the result is this one."""
        other = tuple(other)
        if len(other) != len(self):
            return self
        return type(self)(a + b for a, b in zip(self, other, strict=True))

    def diff_since(self, before: Iterable[int]) -> Self:
        """How far each tick went since `before`, negative when it is behind.

        Vectors of different lengths cannot be compared: the result is all zeros.
        """
        before = tuple(before)
        if len(before) != len(self):
            return type(self)([0] * len(self))
        return type(self)(now - then for now, then in zip(self, before, strict=True))

    def after(self, other: Iterable[int], *, or_equal: bool = False) -> bool:
        """Whether every tick is greater than the other's, or as great with `or_equal`. Looks at the common length."""
        return all(a > b or (or_equal and a == b) for a, b in zip(self, other, strict=False))

    def before(self, other: Iterable[int], *, or_equal: bool = False) -> bool:
        """Whether every tick is less than the other's, or as great with `or_equal`. Looks at the common length."""
        return all(a < b or (or_equal and a == b) for a, b in zip(self, other, strict=False))

    def equal(self, other: Iterable[int], *, strict: bool = True) -> bool:
        """Whether the ticks are the same; without `strict` only over the common length."""
        other = tuple(other)
        if strict and len(other) != len(self):
            return False
        return all(a == b for a, b in zip(self, other, strict=False))

    def with_names(self, names: Iterable[str]) -> TimeIndex:
        """The same ticks, addressed by name."""
        return TimeIndex(self, tuple(names))


@dataclass(frozen=True, slots=True)
class TimeIndex:
    """Ticks with the names of their states. An unknown name is inactive at tick 0."""

    time: Time
    names: tuple[str, ...]

    @classmethod
    def starting(cls, names: Iterable[str], active: Iterable[int] = ()) -> Self:
        """A fresh clock for these states: tick 1 at the active indexes, 0 elsewhere."""
        names = tuple(names)
        return cls(Time.starting(len(names), active), names)

    def __str__(self) -> str:
        return " ".join(names_at(self.names, self.time.active()))

    def name(self, index: int) -> str:
        """The name at the index; empty when there is none."""
        return self.names[index] if 0 <= index < len(self.names) else ""

    def tick(self, name: str) -> int:
        """The tick of the state."""
        return self.time.tick(*indexes_of(self.names, (name,)))

    def is_(self, *names: str) -> bool:
        """Whether all of these are active. False without any."""
        return self.time.is_(*indexes_of(self.names, names))

    def not_(self, *names: str) -> bool:
        """Whether none of these is active. True without any, and for unknown names."""
        return self.time.not_(*indexes_of(self.names, names))

    def any_(self, *names: str) -> bool:
        """Whether at least one of these is active."""
        return self.time.any_(*indexes_of(self.names, names))

    def active(self, names: Iterable[str] | None = None) -> tuple[str, ...]:
        """The active names, among the given ones or among all."""
        indexes = None if names is None else indexes_of(self.names, names)
        return names_at(self.names, self.time.active(indexes))

    def touched(self) -> tuple[str, ...]:
        """The names whose tick is not 0."""
        return names_at(self.names, self.time.touched())

    def filter(self, names: Iterable[str]) -> Self:
        """The given names with their ticks, in the given order."""
        names = tuple(names)
        return type(self)(self.time.filter(indexes_of(self.names, names)), names)

    def sum(self, names: Iterable[str] | None = None) -> int:
        """The sum of the ticks of the names, or of all of them."""
        return self.time.sum(None if names is None else indexes_of(self.names, names))
