from examples.wasm_workflow import seeds
from examples.wasm_workflow.draws import Draw
from examples.wasm_workflow.settings import Settings


def test_the_eventful_seed_is_the_first_one_with_such_a_story() -> None:
    assert seeds.eventful_seed(Settings.success_rate, rounds=3) == seeds.EVENTFUL_SEED


def test_a_foretold_story_ends_with_the_round_that_delivers() -> None:
    *earlier, last = seeds.foretell(seeds.EVENTFUL_SEED, Settings.success_rate, rounds=50)
    assert len(earlier) == 2
    assert all(draws[-1] is Draw.GOOD for draws in last.values())
    assert not any(all(draws[-1] is Draw.GOOD for draws in drawn.values()) for drawn in earlier)
