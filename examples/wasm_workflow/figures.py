"""What the page shows and is no state: counts, sizes, times, sentences, digests. Travels as a payload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from examples.wasm_workflow import dag
from examples.wasm_workflow.run import Run
from examples.wasm_workflow.story import Event, RunBegan

if TYPE_CHECKING:
    from examples.wasm_workflow.settings import Settings  # the page has no command line

FIGURES = "figures"
"""Name of the payload."""

MOST_LINES = 500
"""Sentences kept; of a longer story the beginning is forgotten."""


@dataclass(frozen=True)
class Line:
    """A sentence of the story. `number` counts from 0, `at` is in seconds since the run began."""

    number: int
    at: float
    tone: str
    text: str


@dataclass
class Story:
    """The story so far. `clock` is in seconds."""

    clock: Callable[[], float]
    lines: list[Line] = field(default_factory=list)
    _began: float = 0.0

    def tell(self, event: Event) -> None:
        """Adds a sentence."""
        if isinstance(event, RunBegan) or not self.lines:
            self._began = self.clock()
        number = self.lines[-1].number + 1 if self.lines else 0
        line = Line(number, self.clock() - self._began, str(event.tone), event.tell())
        self.lines = [*self.lines, line][-MOST_LINES:]

    def since(self, number: int) -> list[Line]:
        """The sentences from this number on."""
        return [line for line in self.lines if line.number >= number]


@dataclass
class Gauges:
    """What is measured of each node: bytes on its connection, and seconds from an order until it is at work."""

    clock: Callable[[], float]
    bytes: dict[str, int] = field(default_factory=dict)
    latency: dict[str, float] = field(default_factory=dict)
    _asked: dict[str, float] = field(default_factory=dict)

    def carried(self, node: str, size: int) -> None:
        """So many more bytes were carried."""
        self.bytes[node] = self.bytes.get(node, 0) + size

    def asked(self, node: str) -> None:
        """The node was given an order."""
        self._asked[node] = self.clock()

    def at_work(self, node: str) -> None:
        """The node is seen at work."""
        if node in self._asked:
            self.latency[node] = self.clock() - self._asked.pop(node)


def pack(run: Run, settings: Settings, gauges: Gauges, lines: Sequence[Line]) -> dict[str, Any]:
    """The figures as plain values. `lines` are the sentences that the page does not have yet."""
    return {
        "seed": settings.seed,
        "restarts": run.restarts,
        "most_restarts": settings.max_restarts,
        "attempts": dict(run.attempts),
        "bytes": dict(gauges.bytes),
        "latency": dict(gauges.latency),
        "finals": dict(run.finals),
        "finals_round": run.finals_round,
        "wrong": list(dag.wrong(run.finals)),
        "lines": [[line.number, line.at, line.tone, line.text] for line in lines],
    }
