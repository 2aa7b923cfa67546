"""What a parent does about its worker, message by message and beat by beat, without a browser."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from asyncmachine_web.page.supervision import (
    BEAT,
    PROOF,
    SETTLING,
    STARTING,
    Act,
    Deed,
    End,
    Expect,
    Keep,
    Message,
    Supervision,
    Tell,
)

READY: Message = ("READY", {})
BOOTED: Message = ("PHASE", {"phase": "ready", "attempt": 1})


def new(patience: float = 1.5, *, interruptible: bool = True) -> Supervision:
    """Of a worker that has just been made."""
    supervision = Supervision(patience, interruptible=interruptible)
    assert supervision.begin() == []
    return supervision


def settled(patience: float = 1.5, *, interruptible: bool = True) -> Supervision:
    """Of one whose main runs, and that has just given a sign of life."""
    supervision = new(patience, interruptible=interruptible)
    supervision.heard(*READY)
    supervision.heard("STARTED", {})
    supervision.heard("PONG", {})
    return supervision


def beats(supervision: Supervision, *, looked: bool = False) -> list[list[Deed]]:
    """Until it is dead."""
    told: list[list[Deed]] = []
    while not told or not told[-1] or not isinstance(told[-1][-1], End):
        told.append(supervision.beat(looked=looked))
        assert len(told) < 1000
    return told


def at(told: Sequence[Sequence[Deed]], wanted: object) -> list[int]:
    """The beats, counted from 1, at which this was to be done."""
    return [number for number, deeds in enumerate(told, 1) if wanted in deeds]


def test_a_worker_gets_its_order_when_its_script_runs_and_all_is_told() -> None:
    supervision = new()
    assert supervision.heard(*READY) == [Act.RUN, Act.BEAT, Tell("READY", {})]
    assert supervision.heard(*BOOTED) == [Tell(*BOOTED)]
    assert supervision.heard("STARTED", {}) == [Act.PING, Act.REFILL, Tell("STARTED", {})]
    assert supervision.heard("KEEP", {"id": "a", "secret": "b"}) == [Keep("a", "b")]
    assert supervision.heard("EXIT", {"reason": "returned"}) == [End("EXIT", {"reason": "returned"})]


def test_one_that_is_stuck_is_asked_then_succeeded_then_interrupted_then_ended() -> None:
    """The times that the head of the module tells."""
    told = beats(settled())
    assert at(told, Act.PING) == [1, 2, 3, 4, 5, 6]
    assert at(told, Expect(first=True)) == [4]
    assert at(told, Expect(first=False)) == [5, 6, 7, 8, 9, 10]
    assert at(told, Act.INTERRUPT) == [7]
    assert len(told) == 10
    assert told[-1][-1] == End("ERROR", {"code": "SILENT", "message": "no sign of life for 2.5 s"})


def test_one_that_cannot_be_interrupted_is_ended_sooner() -> None:
    told = beats(settled(interruptible=False))
    assert at(told, Act.INTERRUPT) == []
    assert len(told) == 7
    assert told[-1][-1] == End("ERROR", {"code": "SILENT", "message": "no sign of life for 1.75 s"})


def test_one_that_has_looked_at_the_interrupt_gets_half_its_patience_from_then_on() -> None:
    supervision = settled()
    silent = [supervision.beat(looked=False) for _ in range(9)]
    assert at(silent, Act.INTERRUPT) == [7]
    looked = [supervision.beat(looked=True) for _ in range(3)]
    assert all(isinstance(deed, Expect) for deeds in looked for deed in deeds)
    (*_, dead) = supervision.beat(looked=True)
    assert isinstance(dead, End)


def test_one_that_comes_to_itself_goes_on_and_the_interrupt_is_taken_back() -> None:
    supervision = settled()
    for _ in range(8):
        supervision.beat(looked=False)
    assert supervision.heard("PONG", {}) == [Act.CALM]
    assert len(beats(supervision)) == 10


def test_any_message_is_a_sign_of_life() -> None:
    supervision = settled()
    for message in (BOOTED, ("KEEP", {"id": "a", "secret": "b"}), ("DOWNLOAD", {"over": True})):
        for _ in range(6):
            assert Act.INTERRUPT not in supervision.beat(looked=False)
        supervision.heard(*message)
    assert len(beats(supervision)) == 10


@pytest.mark.parametrize("patience", [0.5, 1.0, 1.5, 10.0])
def test_patience_is_heeded_from_the_next_sign_of_life_on(patience: float) -> None:
    supervision = settled()
    supervision.patience = patience
    supervision.heard("PONG", {})
    limit = math.ceil(patience / BEAT)
    told = beats(supervision)
    assert at(told, Act.INTERRUPT) == [limit + 1]
    assert len(told) == limit + 1 + math.ceil(limit / 2)


def test_a_start_and_a_first_answer_take_their_time_and_nobody_is_to_succeed_before() -> None:
    starting = new(interruptible=False)
    starting.heard(*READY)
    told = beats(starting)
    assert len(told) == STARTING + 1
    assert not any(isinstance(deed, Expect) for deeds in told for deed in deeds)
    started = new(interruptible=False)
    started.heard(*READY)
    started.heard("STARTED", {})
    told = beats(started)
    assert len(told) == SETTLING  # the first of them came with STARTED
    assert at(told, Expect(first=True)) == [SETTLING // 2]


def test_a_download_is_waited_for_nearly_a_minute() -> None:
    supervision = settled()
    assert supervision.heard("DOWNLOAD", {"over": False}) == []
    quiet = [supervision.beat(looked=False) for _ in range(STARTING - 1)]
    assert quiet == [[]] * (STARTING - 1)
    assert isinstance(supervision.beat(looked=False)[-1], End)


def test_patience_is_as_ever_after_a_download() -> None:
    supervision = settled()
    supervision.heard("DOWNLOAD", {"over": False})
    for _ in range(20):
        supervision.beat(looked=False)
    supervision.heard("DOWNLOAD", {"over": True})
    assert len(beats(supervision)) == 10


def warm() -> Supervision:
    """Of a spare whose Python had started when it was taken."""
    supervision = Supervision(1.5, interruptible=True, said=[READY, BOOTED], warm=True)
    assert supervision.begin() == [Act.PING, Act.BEAT]
    return supervision


def test_a_spare_gets_the_order_when_it_has_answered_and_what_it_told_is_told() -> None:
    supervision = warm()
    assert supervision.heard("PONG", {}) == [Act.RUN, Act.BEAT, Tell(*READY), Tell(*BOOTED)]
    assert supervision.heard("PONG", {}) == [Act.CALM]


def test_a_spare_that_had_not_started_yet_gets_it_at_once() -> None:
    supervision = Supervision(1.5, interruptible=True, said=[READY])
    assert supervision.begin() == [Act.RUN, Act.BEAT, Tell(*READY)]


def test_a_spare_that_does_not_answer_is_replaced_by_a_new_worker() -> None:
    supervision = warm()
    told = [supervision.beat(looked=False) for _ in range(PROOF)]
    assert told == [*[[Act.PING]] * (PROOF - 1), [Act.ANEW]]
    assert supervision.heard(*READY) == [Act.RUN, Act.BEAT, Tell(*READY)]


def test_a_spare_that_crashes_before_it_answers_is_replaced_and_nobody_told() -> None:
    supervision = warm()
    assert supervision.heard("ERROR", {"code": "CRASH", "message": ""}) == [Act.ANEW]
    assert supervision.heard("ERROR", {"code": "CRASH", "message": "x"}) == [
        End("ERROR", {"code": "CRASH", "message": "x"})
    ]
