"""The fixture of nightly tests: go on for your share of the night, and have the rounds counted.

    @pytest.mark.nightly
    def test_strict_resolver(rounds: Rounds) -> None:
        for seed in rounds:
            ...

Each round gets a number of its own to draw from. The last one is printed when the test fails, and
`SEED=number` starts there again. Run by hand, without `make nightly`, a test takes a few rounds only.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

BY_HAND = 20
TAKEN = pytest.StashKey[dict[str, int]]()


@dataclass
class Rounds:
    """Iterates over the numbers from `first` on, for `seconds` (None: for BY_HAND rounds), but once at least."""

    first: int
    seconds: float | None
    taken: int = 0

    def __iter__(self) -> Iterator[int]:
        begin = time.monotonic()
        while self.taken == 0 or self.more(time.monotonic() - begin):
            yield self.first + self.taken
            self.taken += 1

    def more(self, elapsed: float) -> bool:
        return self.taken < BY_HAND if self.seconds is None else elapsed < self.seconds


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Iterator[Rounds]:
    """Share the night's minutes equally among the tests that were selected."""
    minutes = os.environ.get("AM_NIGHTLY_MINUTES")
    share = float(minutes) * 60 / len(request.session.items) if minutes else None
    run = Rounds(int(os.environ.get("SEED") or secrets.randbelow(2**32)), share)
    yield run
    request.config.stash.setdefault(TAKEN, {})[request.node.nodeid] = run.taken
    print(f"the last round began with SEED={run.first + run.taken}")
