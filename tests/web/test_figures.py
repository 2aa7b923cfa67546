"""Seconds that the documents tell are those of the code."""

from __future__ import annotations

from math import ceil
from pathlib import Path

from asyncmachine_web.page import candidacy, supervision

ROOT = Path(__file__).parents[2]


def words(name: str) -> str:
    """A document, without its line breaks."""
    return " ".join((ROOT / name).read_text().split())


def test_how_long_a_leader_may_stand_still() -> None:
    """It has answered up to one question's time before it stops, and one more is waited for than it may miss."""
    least = candidacy.PATIENCE * candidacy.ASK
    told = f"after {least:g} to {least + candidacy.ASK:g} s"
    assert f"{told} a visible one takes its place" in words("docs/cookbook.md")
    assert told in words("web/asyncmachine_web/page/shared.py")


def dead(patience: float) -> tuple[float, float]:
    """When a stuck worker is ended, and how much later at most: `supervision`, timed in test_patience.py."""
    beat = supervision.BEAT
    limit = ceil(patience / beat)
    return (limit + 1 + ceil(limit / 2)) * beat, ceil(limit / 2) * beat


def test_when_a_stuck_worker_is_ended() -> None:
    after, more = dead(1.5)
    assert f"{after:g} s after its last sign of life, or up to {more:g} s later" in words("docs/pages.md")
    workflow = words("examples/wasm_workflow/README.md")
    assert f"{after:g} s after its last sign of life (up to {more:g} s later" in workflow
    assert f"the same with 5 s instead of 1.5: it is ended after {dead(5)[0]:g} s" in workflow
    assert supervision.STARTING * supervision.BEAT == 60, "a minute"
