"""Is a worker well, stuck or dead? What its parent does about each message and each beat; `threads` does it.

    worker → parent   READY                       its script runs
    parent → worker   BOOT {settings, parts, …}   what this thread's Python was started from
    worker → parent   PHASE {phase}*              Python boots; a spare waits here
    parent → worker   RUN {id, main, env, …}      a port goes along
    worker → parent   STARTED                     main runs
    worker → parent   EXIT | ERROR {message}      main returned | something failed
    worker → parent   KEEP {id, secret}           a resume secret, for the tab to keep
    worker → parent   DOWNLOAD {over}             an import waits for a file, and nothing is answered until then
    parent → worker   PORT                        another port, after the first was closed
    parent → worker   PAGE {state}                what happens to the page (`lifecycle.mjs`)

PING and PONG go over the same pair from READY on, since neither a crash nor an endless loop closes a port. A worker
that keeps silent for longer than its patience is stuck: where pages are isolated an error is raised in what it does.
It is dead when that has not helped within half its patience more, or cannot be. A computer that is slow gets more: this
half begins when Python has looked. A spare has to answer a PING before it gets the order; one that has died meanwhile
does not, and a new worker gets it.

So with a patience of 1.5 s, counted from the last sign of life, which is up to a beat before it got stuck:

    0.25 s   the first PING that is not answered
    1 s      a spare begins to start, if there is none
    1.75 s   the error; where that cannot be raised, dead
    2.5 s    dead, or up to three beats later if Python has looked; who forked it forks again, the spare gets the order
    2.8 s    the new one's main runs

A worker that is stuck cannot tell so: its parent asks, whose Python runs in another thread. Beats are counted, not
seconds: after a freeze of the parent's thread many seconds are one beat.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

Detail = Mapping[str, Any]
Message = tuple[str, Detail]

BEAT: Final = 0.25
"""Seconds between two looks at a worker."""

STARTING: Final = 240
"""Beats that it may keep silent until main runs, and in a download: a busy computer and a slow network take time."""

SETTLING: Final = 40
"""From there on to the first answer."""

PROOF: Final = 4
"""Beats for a spare's first answer."""


class Act(Enum):
    """What is to be done at once, and needs no more said."""

    PING = auto()
    BEAT = auto()
    """Count beats, from now on."""
    RUN = auto()
    """Give it the order."""
    ANEW = auto()
    """End it: what was a spare is dead. A new worker takes its place, and no beats are counted until it is ready."""
    INTERRUPT = auto()
    CALM = auto()
    """Take back an interrupt that it has not seen yet."""
    REFILL = auto()
    """A spare may start in place of the one that was taken."""


@dataclass(frozen=True)
class Expect:
    """It seems to be stuck: a spare should be there soon. `first` of the beats that say so."""

    first: bool


@dataclass(frozen=True)
class Keep:
    id: str
    secret: str


@dataclass(frozen=True)
class Tell:
    """To who forked it."""

    kind: str
    detail: Detail


@dataclass(frozen=True)
class End:
    """End it, wherever it is, and tell who forked it EXIT or ERROR. Nothing follows."""

    kind: str
    detail: Detail


Deed = Act | Expect | Keep | Tell | End


class Supervision:
    """Of one worker, from its fork to its end. Each call returns what is to be done, in this order."""

    def __init__(
        self, patience: float, *, interruptible: bool, said: Sequence[Message] = (), warm: bool = False
    ) -> None:
        """`said` is what a spare told before, `warm` whether its Python had started: it may have died since."""
        self.patience = patience
        """Seconds. Heeded from the next sign of life on."""
        self._interruptible = interruptible
        self._said = said
        self._proven = not warm
        self._started = False
        self._silent = 0
        self._limit = STARTING
        self._downloading = False
        self._interrupted = False
        self._last = 0
        """At this beat it is dead, when it was interrupted."""

    def begin(self) -> list[Deed]:
        return self._catch_up() if self._proven else [Act.PING, Act.BEAT]

    def heard(self, kind: str, detail: Detail) -> list[Deed]:
        self._silent = 0
        if not self._proven:
            if kind == "ERROR":
                return self._anew()
            self._proven = True
            return self._catch_up()
        match kind:
            case "PONG":
                if self._started:
                    self._limit = math.ceil(self.patience / BEAT)
                return [Act.CALM]  # it came to itself
            case "DOWNLOAD":
                self._downloading = not detail["over"]
                return []
            case "KEEP":
                return [Keep(detail["id"], detail["secret"])]
            case "EXIT" | "ERROR":
                return [End(kind, detail)]
            case "READY":
                return [Act.RUN, Act.BEAT, Tell(kind, detail)]
            case "STARTED":
                self._started = True
                self._limit = SETTLING
                return [*self.beat(looked=False), Act.REFILL, Tell(kind, detail)]
        return [Tell(kind, detail)]

    def beat(self, *, looked: bool) -> list[Deed]:
        """`looked`: its Python has taken the interrupt, if there was one."""
        self._silent += 1
        if not self._proven and self._silent == PROOF:
            return self._anew()
        if self._downloading and self._silent < STARTING:
            return []
        half = math.ceil(self._limit / 2)
        deeds: list[Deed] = []
        if self._started and self._silent > half:
            deeds.append(Expect(first=self._silent == half + 1))
        if self._silent <= self._limit:
            return [*deeds, Act.PING]  # the first of these that was not answered was sent at the first beat
        if self._interruptible and self._silent == self._limit + 1:
            self._interrupted = True
            self._last = self._silent + half
            return [*deeds, Act.INTERRUPT]
        if self._interrupted and looked:
            self._interrupted = False
            self._last = self._silent + half  # it has looked since the last beat
        if not self._interruptible or self._silent >= self._last:
            message = f"no sign of life for {self._silent * BEAT:g} s"
            deeds.append(End("ERROR", {"code": "SILENT", "message": message}))
        return deeds

    def _catch_up(self) -> list[Deed]:
        return [deed for message in self._said for deed in self.heard(*message)]

    def _anew(self) -> list[Deed]:
        self._proven = True
        self._said = ()
        return [Act.ANEW]
