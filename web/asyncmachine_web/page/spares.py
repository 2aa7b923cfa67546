"""Workers that nobody has given an order yet, with a Python that has started: so the next that is forked runs at once.

A worker that dies tells nobody, so spares are looked at now and then. That costs a message each way per spare and
look, and nothing else; one that has not answered two looks, or has told of an error, is ended and replaced. One that
dies between two looks is found out when it is taken (`supervision`). What is decided here is done by `threads`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from asyncmachine_web.page.supervision import Detail, Message

LOOK: Final = 5.0
"""Seconds between two looks."""

RETRY: Final = 0.5
"""Seconds until a failed spare is replaced: none after the first failure, then doubled from this one on."""

LONGEST_RETRY: Final = 60.0

EXPECTING: Final = 5.0
"""Seconds that a spare is kept after an order was last expected."""


@dataclass(frozen=True)
class Hatch:
    """Make a worker, whose number this is from now on."""

    number: int
    name: str


@dataclass(frozen=True)
class Ping:
    number: int


@dataclass(frozen=True)
class Drop:
    """End it."""

    number: int


@dataclass(frozen=True)
class Watch:
    """`look` every `LOOK` seconds from now on, or no more."""

    on: bool


@dataclass(frozen=True)
class Refill:
    """`refill` after so many seconds."""

    after: float


@dataclass(frozen=True)
class LetGo:
    """`let_go` after so many seconds, and not when it was told before."""

    after: float


Deed = Hatch | Ping | Drop | Watch | Refill | LetGo


@dataclass(eq=False)
class Spare:
    number: int
    said: list[Message] = field(default_factory=list)
    """What it told before somebody took it."""
    silent: int = 0
    """Looks that it has not answered."""
    warm: bool = False
    """Its Python has started."""


class Spares:
    """How many there are, and are to be. Each call returns what is to be done, in this order."""

    def __init__(self) -> None:
        self._spares: dict[int, Spare] = {}
        self._made = 0
        self._wanted = 0
        self._watching = False
        self._failures = 0
        """Since one has started."""

    def keep(self, count: int) -> Sequence[Deed]:
        """So many, from now on."""
        self._wanted = count
        surplus = [self._drop(spare) for spare in list(self._spares.values())[count:]]
        watch: list[Deed] = []
        if self._watching != bool(count):
            self._watching = bool(count)
            watch.append(Watch(self._watching))
        return [*surplus, *self.refill(), *watch]

    def refill(self) -> Sequence[Deed]:
        """As many as are wanted, after one was taken."""
        return [self._hatch() for _ in range(len(self._spares), self._wanted)]

    def expect(self, *, first: bool) -> Sequence[Deed]:
        """One for an order that may come soon. Called as long as it may; one that fails meanwhile is not replaced."""
        made = [self._hatch()] if first and not self._spares else []
        return [*made, LetGo(EXPECTING)]

    def let_go(self) -> Sequence[Deed]:
        """No order came."""
        return self.keep(self._wanted)

    def take(self) -> Spare | None:
        """One to be given an order, if there is any."""
        return self._spares.pop(next(iter(self._spares))) if self._spares else None

    def heard(self, number: int, kind: str, detail: Detail) -> Sequence[Deed]:
        spare = self._spares[number]
        spare.silent = 0
        if detail.get("phase") == "ready":
            spare.warm = True
        deeds: Sequence[Deed] = ()
        if kind == "ERROR":
            deeds = self._replace(spare)
        elif kind != "PONG":
            spare.said.append((kind, detail))
        if spare.warm:
            self._failures = 0
        return deeds

    def look(self) -> Sequence[Deed]:
        deeds: list[Deed] = []
        for spare in list(self._spares.values()):
            deeds += self._replace(spare) if spare.silent == 2 else [Ping(spare.number)]
            spare.silent += 1
        return deeds

    def _hatch(self) -> Hatch:
        spare = Spare(self._made)
        self._made += 1
        name = f"spare {len(self._spares)}"
        self._spares[spare.number] = spare
        return Hatch(spare.number, name)

    def _replace(self, spare: Spare) -> list[Deed]:
        doublings = min(self._failures, 10)
        wait = min(RETRY * 2**doublings, LONGEST_RETRY) if doublings else 0.0
        self._failures += 1
        return [self._drop(spare), Refill(wait)]

    def _drop(self, spare: Spare) -> Drop:
        del self._spares[spare.number]
        return Drop(spare.number)
