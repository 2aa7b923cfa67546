"""Which story a seed tells, found without running anything: draws do not depend on timing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from examples.wasm_workflow import dag
from examples.wasm_workflow.draws import Draw, draw
from examples.wasm_workflow.run import MAX_RETRIES, Attempt

EVENTFUL_SEED = 1104
"""With the default rate every node corrupts and fails at least once, and the third round delivers."""


def foretell(seed: int, success_rate: int, rounds: int) -> Iterator[dict[str, list[Draw]]]:
    """The draws of each node, round by round, up to the round that delivers or to so many rounds."""
    for number in range(1, rounds + 1):
        drawn = {node: list(_attempts(seed, success_rate, node, number)) for node in dag.NODES}
        yield drawn
        if all(draws[-1] is Draw.GOOD for draws in drawn.values()):
            return


def eventful_seed(success_rate: int, rounds: int) -> int:
    """The first seed in whose story every node corrupts a result and fails, and which delivers within these rounds."""
    for seed in count():
        story = list(foretell(seed, success_rate, rounds))
        everything = {node: {draw for drawn in story for draw in drawn[node]} for node in dag.NODES}
        if all(draws == set(Draw) for draws in everything.values()) and _delivers(story[-1]):
            return seed
    raise AssertionError("unreachable: there is always another number")


def _attempts(seed: int, success_rate: int, node: str, round_: int) -> Iterator[Draw]:
    for number in range(1, MAX_RETRIES + 2):
        drawn = draw(seed, success_rate, node, Attempt("", round_, number))
        yield drawn
        if drawn is not Draw.FAILED:
            return


def _delivers(drawn: dict[str, list[Draw]]) -> bool:
    return all(draws[-1] is Draw.GOOD for draws in drawn.values())
