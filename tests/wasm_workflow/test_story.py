import pytest

from examples.wasm_workflow import story
from examples.wasm_workflow.story import Event, Tone

SENTENCES: dict[Event, tuple[str, Tone]] = {
    story.RunBegan(1, seed=7): ("run 1 begins with seed 7", Tone.PLAIN),
    story.RoundBegan(2): ("round 2: browser1 and browser2 start", Tone.PLAIN),
    story.Delivered(2, "browser3", 1): ("round 2: browser3 delivered", Tone.PLAIN),
    story.Delivered(2, "browser3", 2): ("round 2: browser3 delivered at attempt 2", Tone.PLAIN),
    story.Failed(2, "browser3", 1): ("round 2: browser3 failed, attempt 1, retried", Tone.TROUBLE),
    story.TimedOut(1, "browser4", 3, 30.0): (
        "round 1: browser4 gave no answer in 30 s, attempt 3, retried",
        Tone.TROUBLE,
    ),
    story.Broke(1, "browser4", 1): ("round 1: browser4 reports an error, attempt 1, retried", Tone.TROUBLE),
    story.Lost(1, ("browser4",)): ("round 1: browser4 is gone", Tone.TROUBLE),
    story.Lost(1, ("browser2", "browser3", "browser4")): (
        "round 1: browser2, browser3 and browser4 are gone",
        Tone.TROUBLE,
    ),
    story.Resumed(1, "browser4", 2): ("round 1: browser4 starts over, attempt 2", Tone.PLAIN),
    story.Resumed(1, "browser4", 1): ("round 1: browser4 starts", Tone.PLAIN),
    story.Stale(3, "browser1", 2, 1): (
        "round 3: dropped a late answer of browser1 to round 2, attempt 1",
        Tone.TROUBLE,
    ),
    story.CorruptAsked(): ("the next result will be corrupted, as you asked", Tone.TROUBLE),
    story.Corrupted(1, "browser2"): ("round 1: the result of browser2 was corrupted, as you asked", Tone.TROUBLE),
    story.KillAsked("browser3"): ("browser3 is being killed, as you asked", Tone.TROUBLE),
    story.CutAsked(2.5): ("every connection is cut for 2.5 s, as you asked", Tone.TROUBLE),
    story.Restarted(1, "wrong digest from browser3", 1, 50): (
        "round 1: wrong digest from browser3, restart 1 of at most 50",
        Tone.BAD,
    ),
    story.GaveUp(51, "wrong digest from browser3 after 50 restarts"): (
        "round 51: gave up, wrong digest from browser3 after 50 restarts",
        Tone.BAD,
    ),
    story.WorkDelivered(3, restarts=2, attempts=1): (
        "round 3: both digests are right, work delivered after 2 restarts and 1 attempt",
        Tone.GOOD,
    ),
}


@pytest.mark.parametrize(("event", "wanted"), SENTENCES.items(), ids=lambda value: type(value).__name__)
def test_events_read_as_sentences(event: Event, wanted: tuple[str, Tone]) -> None:
    assert (event.tell(), event.tone) == wanted


def test_every_kind_of_event_has_its_sentence() -> None:
    assert {type(event) for event in SENTENCES} == set(Event.__subclasses__())
