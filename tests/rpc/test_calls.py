"""Calls and requests: the two ends of *each once, and in order*."""

from __future__ import annotations

import pytest

from asyncmachine.rpc.calls import MAX_BYTES, MAX_CALLS, NEVER, Calls
from asyncmachine.rpc.errors import CallRefused, Overloaded
from asyncmachine.rpc.requests import Known, Requests


def made(count: int, deadline: float = 60.0) -> Calls:
    calls = Calls(3.0)
    for _ in range(count):
        calls.next()
        calls.made(b"frame", 0.0, deadline)
    return calls


def test_numbers_count_from_one() -> None:
    calls = made(2)
    assert (calls.last, len(calls), calls.next()) == (2, 2, 3)
    assert [calls.was_made(number) for number in (0, 1, 2, 3)] == [False, True, True, False]


def test_an_answer_counts_once() -> None:
    calls = made(1)
    found = calls.answered(1, 1.0)
    assert found is not None
    assert found.made_at == 0.0
    assert calls.answered(1, 1.0) is None
    assert calls.deadline == NEVER


def test_expired_calls_are_told_once_and_stay_open_without_their_frames() -> None:
    calls = made(1)
    calls.made(b"later", 1.0, 70.0)
    assert calls.expired(59.9) == []
    assert calls.expired(60.0) == [1]
    assert calls.expired(60.0) == []
    assert calls.expires_at == 70.0
    assert calls.missing(0, 100.0) == [(1, b""), (2, b"later")]
    assert calls.expired(70.0) == [2], "the first has been told"
    assert calls.answered(1, 71.0) is None, "its caller has given up"


def test_notifications_are_done_with_when_they_have_arrived() -> None:
    calls = made(1)
    for _ in range(3):
        calls.made(b"n", 0.0, NEVER)
    assert (calls.notifications, calls.expired(1e9)) == (3, [1])
    calls.arrived(3, 1.0)
    assert (calls.notifications, len(calls)) == (1, 2)
    calls.made(b"call", 1.0, 60.0)
    assert calls.answered(5, 2.0) is not None
    assert calls.notifications == 0, "an answer tells of all before it"


def test_the_last_open_notification_that_has_arrived_is_told() -> None:
    calls, told = made(2, NEVER), list[int]()
    calls.told = lambda: told.append(calls.notifications)
    calls.made(b"call", 0.0, 60.0)
    calls.arrived(1, 1.0)
    assert told == []
    calls.arrived(3, 1.0)
    assert (told, len(calls)) == ([0], 1)


def test_an_answer_gives_the_others_the_whole_time_again() -> None:
    calls = made(3)
    assert calls.deadline == 3.0
    assert calls.looks(3.0)
    assert calls.deadline == 9.0
    calls.answered(1, 5.0)
    assert calls.deadline == 8.0


def test_only_what_was_made_before_the_question_is_missing() -> None:
    calls = made(2)
    calls.made(b"new", 3.5, 60.0)
    assert calls.missing(1, 3.0) == [(1, b""), (2, b"frame")]


def test_giving_up_tells_each_caller_once_and_keeps_the_numbers() -> None:
    calls = made(2)
    calls.made(b"n", 0.0, NEVER)
    assert calls.give_up() == [1, 2, 3], "the notification too, which may be lost"
    assert calls.give_up() == []
    assert not calls.failed(3), "an error of it that comes later is no news"
    assert calls.next() == 4
    assert calls.missing(0, 1.0) == [(1, b""), (2, b""), (3, b"")]
    calls.reset()
    assert (calls.next(), len(calls)) == (1, 0)


def test_limits() -> None:
    with pytest.raises(Overloaded, match=str(MAX_CALLS)):
        made(MAX_CALLS + 1)
    calls = Calls(3.0)
    calls.made(bytes(MAX_BYTES), 0.0, 60.0)
    with pytest.raises(Overloaded):
        calls.next()
    calls.answered(1, 0.0)
    calls.next()


def test_requests_are_judged_by_their_numbers() -> None:
    requests = Requests()
    assert [requests.judge(number) for number in (1, 2)] == [Known.NEW, Known.EARLY]
    requests.take(1)
    assert requests.judge(1) is Known.RUNNING
    requests.answered(1, True)
    requests.take(2)
    requests.answered(2, False)
    requests.take(3)
    requests.answered(3, CallRefused("FORBIDDEN", "no"))
    assert [requests.judge(number) for number in (1, 2, 3, 4)] == [Known.ANSWERED] * 3 + [Known.NEW]
    assert [str(requests.answer(number)) for number in (1, 2, 3)] == ["True", "False", "FORBIDDEN: no"]


def test_answers_are_remembered_for_as_many_calls_as_may_be_open() -> None:
    requests = Requests()
    for number in range(1, MAX_CALLS + 2):
        requests.take(number)
        if number > 1:
            requests.answered(number, number % 2 == 0)
    assert requests.judge(1) is Known.RUNNING
    assert requests.judge(2) is Known.ANSWERED
    requests.take(MAX_CALLS + 2)
    requests.answered(MAX_CALLS + 2, True)
    assert requests.judge(2) is Known.FORGOTTEN
    requests.answered(1, True)  # at last
    assert (requests.judge(1), requests.answer(1)) == (Known.ANSWERED, True)
    assert len(requests._others) <= MAX_CALLS
