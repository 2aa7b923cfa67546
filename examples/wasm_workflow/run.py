"""What the orchestrator knows about a run: plain values, and the decisions that follow from them.

A *run* begins when the workers are first ready or when somebody asks for it, and ends with both digests right or with
too many restarts. It consists of *rounds*: a round that ends with a wrong digest is followed by another one. Within a
round a node gets *attempts*, one at a time, until it delivers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from examples.wasm_workflow import dag

MAX_RETRIES = 5
"""Failures and time-outs of a node in one round, beyond which the round is given up."""


@dataclass(frozen=True)
class Attempt:
    """One try of a node. It travels with the order and comes back with the answer, so that a late answer is told.

    `run` differs for each run of each orchestrator process, so an answer to a process that died is told, too.
    """

    run: str
    round: int
    number: int


@dataclass(frozen=True)
class Run:
    """A run as it stands. Every method that changes something returns the changed run."""

    id: str
    round: int = 0
    restarts: int = 0
    tries: int = 0
    attempts: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    results: Mapping[str, bytes] = field(default_factory=dict)
    finals: Mapping[str, bytes] = field(default_factory=dict)
    finals_round: int = 0

    def next_round(self, number: int) -> Run:
        """Begins a round: no node has a result, none was tried. Each round but the first of a run is a restart."""
        restarts = self.restarts + 1 if self.round else 0
        return replace(self, round=number, restarts=restarts, attempts={}, failures={}, results={})

    def next_attempt(self, node: str) -> Run:
        """Counts one more attempt: of the node in this round, and of all nodes in all rounds."""
        return replace(self, tries=self.tries + 1, attempts={**self.attempts, node: self.attempts.get(node, 0) + 1})

    def fail(self, node: str) -> Run:
        """Counts a failure or a time-out of the node. An attempt that was lost with its worker is none of them."""
        return replace(self, failures={**self.failures, node: self.failures.get(node, 0) + 1})

    def exhausted(self, node: str) -> bool:
        """Whether the node has failed too often for another attempt in this round."""
        return self.failures.get(node, 0) > MAX_RETRIES

    def attempt(self, node: str) -> Attempt:
        """The node's current attempt; its number is 0 before the first."""
        return Attempt(self.id, self.round, self.attempts.get(node, 0))

    def payload(self, node: str) -> bytes | None:
        """What the node has to work on. None as long as the node that feeds it has not delivered."""
        feed = dag.FEEDS.get(node)
        return dag.SEEDS[node] if feed is None else self.results.get(feed)

    def expects(self, node: str, attempt: Attempt) -> bool:
        """Whether an answer is the one waited for; all others are stale and must be dropped."""
        return attempt.number > 0 and attempt == self.attempt(node) and node not in self.results

    def deliver(self, node: str, result: bytes) -> Run:
        """Keeps a node's result. The final ones are kept beyond their round, as long as there are no newer ones."""
        results = {**self.results, node: result}
        if not all(final in results for final in dag.FINAL):
            return replace(self, results=results)
        finals = {final: results[final] for final in dag.FINAL}
        return replace(self, results=results, finals=finals, finals_round=self.round)

    def ready(self) -> tuple[str, ...]:
        """The nodes that have a payload and no result yet."""
        return tuple(node for node in dag.NODES if node not in self.results and self.payload(node) is not None)

    def wrong(self) -> tuple[str, ...]:
        """The final nodes without the expected digest."""
        return dag.wrong(self.results)
