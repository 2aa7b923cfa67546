"""Silence: when to ask, and when the peer counts as gone."""

from __future__ import annotations

from asyncmachine.rpc.keepalive import Due, Keepalive
from asyncmachine.rpc.timing import Timing


def test_the_time_of_a_peer_that_is_gone_counts_from_the_first_question() -> None:
    keepalive = Keepalive(0.0, Timing(silence=15.0, dead=45.0))
    assert keepalive.due(14.9) is Due.NOTHING
    assert keepalive.due(15.0) is Due.PING
    keepalive.asked(15.0)
    keepalive.asked(40.0)
    assert keepalive.due(44.9) is Due.NOTHING
    assert keepalive.due(45.0) is Due.GONE


def test_whatever_is_heard_begins_anew() -> None:
    keepalive = Keepalive(0.0, Timing(silence=15.0, dead=45.0), patience=1.0)
    number = keepalive.asked(16.0)
    keepalive.answered(number, 16.5)
    keepalive.heard(16.5)
    assert keepalive.rtt == 0.5
    assert keepalive.deadline == 32.5


def test_the_round_trip_is_that_of_the_last_question_whatever_comes_before_its_answer() -> None:
    keepalive = Keepalive(0.0, Timing(silence=15.0, dead=45.0))
    keepalive.answered(0, 1.0)
    unasked = keepalive.rtt
    number = keepalive.asked(15.0)
    keepalive.heard(15.1)
    keepalive.answered(number, 15.5)
    first = keepalive.rtt
    keepalive.answered(number, 20.0)  # a copy, which tells nothing
    assert (unasked, first, keepalive.rtt) == (None, 0.5, 0.5)
