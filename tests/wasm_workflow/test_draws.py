from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.wasm_workflow.dag import NODES
from examples.wasm_workflow.draws import LOWEST_RATE, Draw, draw
from examples.wasm_workflow.run import Attempt

FIRST = Attempt("", 1, 1)

FROZEN = [
    *(Draw.FAILED, Draw.FAILED, Draw.CORRUPT),
    *(Draw.CORRUPT, Draw.GOOD, Draw.GOOD),
    *(Draw.GOOD, Draw.GOOD, Draw.GOOD),
    *(Draw.GOOD, Draw.GOOD, Draw.CORRUPT),
]
"""With seed 7, in the first round: three attempts of each node."""


def test_a_draw_is_the_same_for_ever() -> None:
    # Frozen: a seed that a test or a person has noted down must go on telling the same story.
    assert [draw(7, 5, node, Attempt("", 1, number)) for node in NODES for number in (1, 2, 3)] == FROZEN


def test_shares_follow_the_rate() -> None:
    drawn = Counter(draw(seed, 5, "browser1", FIRST) for seed in range(10_000))
    assert drawn[Draw.GOOD] == pytest.approx(6000, abs=200)
    assert drawn[Draw.CORRUPT] == pytest.approx(2000, abs=200)
    assert drawn[Draw.FAILED] == pytest.approx(2000, abs=200)


@given(seed=st.integers(min_value=0), attempt=st.builds(Attempt, st.just(""), st.integers(1, 99), st.integers(1, 99)))
def test_rates_below_the_lowest_can_never_give_a_good_draw(seed: int, attempt: Attempt) -> None:
    for rate in range(1, LOWEST_RATE):
        assert draw(seed, rate, "browser1", attempt) is not Draw.GOOD


def test_the_lowest_rate_can_give_a_good_draw() -> None:
    assert Draw.GOOD in {draw(seed, LOWEST_RATE, "browser1", FIRST) for seed in range(20)}


def test_each_part_of_the_key_counts() -> None:
    def story(seed: int, node: str, number: int) -> list[Draw]:
        return [draw(seed, 5, node, Attempt("", number, attempt)) for attempt in range(1, 30)]

    stories = [story(1, "browser1", 1), story(2, "browser1", 1), story(1, "browser2", 1), story(1, "browser1", 2)]
    assert all(one != other for i, one in enumerate(stories) for other in stories[:i])
    assert len(set(stories[0])) == len(Draw)
