"""Many stories drawn by their numbers, and what has happened in all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable


def all_of(story: Callable[[int], Counter[str]], scenarios: int) -> Counter[str]:
    """Counts over all; one that fails tells its number."""
    total: Counter[str] = Counter()
    for seed in range(scenarios):
        try:
            total += story(seed)
        except BaseException as error:
            error.add_note(f"in scenario {seed}")
            raise
    return total


def rare(total: Counter[str], happens: Iterable[str], least: int) -> dict[str, int]:
    """What has hardly happened, so that little is shown of it."""
    return {what: total[what] for what in happens if total[what] <= least}
