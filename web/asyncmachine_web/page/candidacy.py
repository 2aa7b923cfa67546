"""Which of the pages of an application leads: what one of them does about each thing it hears; `leading` does it.

The one leads that has the Web Lock. The browser gives it to the page that has waited longest, as soon as its holder
lets it go, is closed, or has crashed. Without Web Locks (an insecure origin) each leads.

A page that stands still keeps its lock. So visible pages that wait ask the leader for an answer now and then, which
costs a message each way, and the first that has had none for long enough takes the lock away. Whoever waits in vain
counts questions, not seconds: its own time may have stood still. What a leader does that has lost its lock and does
not know yet is of no effect: see the marks of `store.mjs`.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

ASK: Final = 2.0
"""Seconds between two questions."""
PATIENCE: Final = 4
"""Questions without an answer."""


class Act(Enum):
    """The first two are what pages say to each other."""

    HERE = "here"
    """I lead: by one that begins to, and in answer."""
    THERE = "there?"
    """An answer is due."""
    STEAL = "steal"
    """Wait no longer: ask for the lock by taking it from whoever has it."""
    LEAD = "lead"
    END = "end"
    """Let go of the lock or of the wait for it, and hear no more."""
    OUSTED = "ousted"
    """Another page leads."""


class Candidacy:
    """Of one page, from its wait for the lock until it leads no more. Each call returns what is to be done, in order.

    Requests of the lock have numbers: that the first one has failed, which was given up, may be told after the second
    one was granted, and then it is not the lock that is lost.
    """

    def __init__(self) -> None:
        self._request: int | None = None
        """The one by which it leads."""
        self._over = False
        self._silent = 0

    @property
    def leads(self) -> bool:
        return self._request is not None and not self._over

    def granted(self, request: int) -> list[Act]:
        """Nothing to be done: the lock is of no use any more, or a second one of the same, and goes back at once."""
        if self._over or self.leads:
            return []
        self._request = request
        return [Act.HERE, Act.LEAD]

    def lost(self, request: int) -> list[Act]:
        """It was given up, or could not be granted, or what it was granted is another page's now."""
        return [*self.leave(), Act.OUSTED] if self.leads and request == self._request else []

    def heard(self, word: str) -> list[Act]:
        if word == Act.HERE.value:
            self._silent = 0
            return []
        return [Act.HERE] if self.leads else []

    def tick(self, *, visible: bool) -> list[Act]:
        """Every `ASK` seconds, as far as the browser lets them pass. Hidden pages' timers are slowed down."""
        self._silent = 0 if self.leads or not visible else self._silent + 1
        if self._silent == 0:
            return []
        if self._silent <= PATIENCE:
            return [Act.THERE]
        self._silent = 0
        return [Act.STEAL]

    def leave(self) -> list[Act]:
        """For good."""
        if self._over:
            return []
        self._over = True
        return [Act.END]
