"""The run as a story: what happened, one frozen record each, and the sentence that a person reads.

The same sentences stand on the page and, in headless mode, in the terminal. They are in lower case and without a full
stop. A record's `tone` tells how it is meant; the page colours by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Tone(StrEnum):
    """Whether a sentence is good news, bad news, trouble that will be mended, or none of them."""

    PLAIN = "plain"
    GOOD = "good"
    TROUBLE = "trouble"
    BAD = "bad"


class Event:
    """Something that happened in a run."""

    tone: ClassVar[Tone] = Tone.PLAIN

    def tell(self) -> str:
        """The event as a sentence."""
        raise NotImplementedError


@dataclass(frozen=True)
class RunBegan(Event):
    """A run began, the first one or one that was asked for."""

    run: int
    seed: int

    def tell(self) -> str:
        return f"run {self.run} begins with seed {self.seed}"


@dataclass(frozen=True)
class RoundBegan(Event):
    """All four nodes start from nothing."""

    round: int

    def tell(self) -> str:
        return f"round {self.round}: browser1 and browser2 start"


@dataclass(frozen=True)
class Delivered(Event):
    """A node's result arrived."""

    round: int
    node: str
    attempt: int

    def tell(self) -> str:
        tries = "" if self.attempt == 1 else f" at attempt {self.attempt}"
        return f"round {self.round}: {self.node} delivered{tries}"


@dataclass(frozen=True)
class Failed(Event):
    """A node failed and gets another attempt."""

    round: int
    node: str
    attempt: int
    tone = Tone.TROUBLE

    def tell(self) -> str:
        return f"round {self.round}: {self.node} failed, attempt {self.attempt}, retried"


@dataclass(frozen=True)
class TimedOut(Event):
    """A node gave no answer in time and gets another attempt."""

    round: int
    node: str
    attempt: int
    seconds: float
    tone = Tone.TROUBLE

    def tell(self) -> str:
        return f"round {self.round}: {self.node} gave no answer in {self.seconds:g} s, attempt {self.attempt}, retried"


@dataclass(frozen=True)
class Broke(Event):
    """A node's machine reports an error and gets another attempt."""

    round: int
    node: str
    attempt: int
    tone = Tone.TROUBLE

    def tell(self) -> str:
        return f"round {self.round}: {self.node} reports an error, attempt {self.attempt}, retried"


@dataclass(frozen=True)
class Lost(Event):
    """Workers went away, and what they were working on with them."""

    round: int
    nodes: Sequence[str]
    tone = Tone.TROUBLE

    def tell(self) -> str:
        return f"round {self.round}: {_names(self.nodes)} {'is' if len(self.nodes) == 1 else 'are'} gone"


@dataclass(frozen=True)
class Resumed(Event):
    """The network is whole again, and a node that lost its attempt or could not begin one starts now."""

    round: int
    node: str
    attempt: int

    def tell(self) -> str:
        how = "starts" if self.attempt == 1 else f"starts over, attempt {self.attempt}"
        return f"round {self.round}: {self.node} {how}"


@dataclass(frozen=True)
class Stale(Event):
    """An answer came that nobody waits for any more; it was dropped."""

    round: int
    node: str
    answered_round: int
    answered_attempt: int
    tone = Tone.TROUBLE

    def tell(self) -> str:
        late = f"round {self.answered_round}, attempt {self.answered_attempt}"
        return f"round {self.round}: dropped a late answer of {self.node} to {late}"


@dataclass(frozen=True)
class CorruptAsked(Event):
    """Somebody asked on the page to corrupt the next result."""

    tone = Tone.TROUBLE

    def tell(self) -> str:
        return "the next result will be corrupted, as you asked"


@dataclass(frozen=True)
class Corrupted(Event):
    """A result was corrupted because somebody asked for it."""

    round: int
    node: str
    tone = Tone.TROUBLE

    def tell(self) -> str:
        return f"round {self.round}: the result of {self.node} was corrupted, as you asked"


@dataclass(frozen=True)
class KillAsked(Event):
    """Somebody asked on the page to kill a worker."""

    node: str
    tone = Tone.TROUBLE

    def tell(self) -> str:
        return f"{self.node} is being killed, as you asked"


@dataclass(frozen=True)
class CutAsked(Event):
    """Somebody asked on the page to cut every connection."""

    seconds: float
    tone = Tone.TROUBLE

    def tell(self) -> str:
        return f"every connection is cut for {self.seconds:g} s, as you asked"


@dataclass(frozen=True)
class Restarted(Event):
    """The round came to nothing; the workflow starts again."""

    round: int
    reason: str
    restart: int
    most: int
    tone = Tone.BAD

    def tell(self) -> str:
        return f"round {self.round}: {self.reason}, restart {self.restart} of at most {self.most}"


@dataclass(frozen=True)
class GaveUp(Event):
    """The workflow ended without the right digests."""

    round: int
    reason: str
    tone = Tone.BAD

    def tell(self) -> str:
        return f"round {self.round}: gave up, {self.reason}"


@dataclass(frozen=True)
class WorkDelivered(Event):
    """Both digests are right: the end of the run."""

    round: int
    restarts: int
    attempts: int
    tone = Tone.GOOD

    def tell(self) -> str:
        cost = f"{_count(self.restarts, 'restart')} and {_count(self.attempts, 'attempt')}"
        return f"round {self.round}: both digests are right, work delivered after {cost}"


def _names(nodes: Sequence[str]) -> str:
    *others, last = nodes
    return f"{', '.join(others)} and {last}" if others else last


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
