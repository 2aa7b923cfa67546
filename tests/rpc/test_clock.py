"""The clock on its way: differences, checksum, sequence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmachine.rpc.clock import (
    TICK_MAX,
    Change,
    Clock,
    ClockReceiver,
    ClockSender,
    Verdict,
    advanced,
    checksum,
    differences,
    key,
    moved_checksum,
    seal,
)
from asyncmachine.rpc.errors import PeerFault


def test_only_what_changed_is_told() -> None:
    assert differences((0, 1, 2, 3), (0, 2, 2, 9)) == (1, 1, 3, 6)
    assert differences((1, 2), (1, 2)) == ()


def test_the_checksum_is_the_documented_one() -> None:
    # H = (Σ tick[i]·K(i) + queue·Kq + machine·Km) mod 2**32
    assert [key(i) for i in range(4)] == [0x514E28B7, 0x30F4C307, 0x85F0B427, 0x249CB285]
    assert checksum(Clock((1, 0, 0))) == key(0)
    assert checksum(Clock((0, 1, 0))) == key(1)
    assert checksum(Clock((0, 0, 2))) == key(2) * 2 % 2**32
    assert checksum(Clock((), 1)) == 0x85EBCA6B
    assert checksum(Clock((), 0, 1)) == 0xC2B2AE35
    many = Clock(tuple(range(1000)), 5, 6)
    expected = sum(i * key(i) for i in range(1000)) + 5 * 0x85EBCA6B + 6 * 0xC2B2AE35
    assert checksum(many) == expected % 2**32


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=8, unique=True))
def test_swapped_ticks_give_another_checksum(ticks: list[int]) -> None:
    swapped = (ticks[1], ticks[0], *ticks[2:])
    # All factors are odd, so they differ by an even number: of ticks 2**28 or more apart, some escape.
    if abs(ticks[0] - ticks[1]) < 2**28:
        assert checksum(Clock(tuple(ticks))) != checksum(Clock(swapped))


@given(st.lists(st.integers(-9, 9), min_size=12, max_size=12).filter(any))
def test_small_mistakes_do_not_cancel_out(mistakes: list[int]) -> None:
    before = Clock((10,) * 12)
    after = Clock(tuple(10 + mistake for mistake in mistakes))
    if sum(map(bool, mistakes)) <= 2:
        assert checksum(before) != checksum(after)


_ticks = st.lists(st.integers(0, 1000), min_size=5, max_size=5).map(tuple)
_clocks = st.builds(Clock, _ticks, st.integers(0, 50), st.integers(0, 3))


@given(_clocks, st.lists(_clocks, max_size=10))
def test_a_receiver_that_gets_everything_is_equal(first: Clock, later: list[Clock]) -> None:
    sender, receiver = ClockSender(first), ClockReceiver(first)
    for clock in later:
        change = sender.change(clock)
        if change is None:
            seq = sender.seq + 1
            sender.sent(clock, seq, seal(checksum(clock), seq))
            assert receiver.replace(clock, seq, seal(checksum(clock), seq)) is Verdict.APPLIED
        else:
            assert change.hash == seal(checksum(clock), change.seq)
            assert moved_checksum(checksum(sender.last), change.queue, change.machine, change.changes) == checksum(
                clock
            )
            sender.sent(clock, change.seq, change.hash)
            assert receiver.apply(change) is Verdict.APPLIED
        assert receiver.clock == sender.last == clock


def test_a_number_that_goes_down_cannot_be_told_as_a_difference() -> None:
    sender = ClockSender(Clock((5, 5), 5, 1))
    assert sender.change(Clock((5, 4), 6, 1)) is None
    assert sender.change(Clock((5, 5), 4, 1)) is None
    assert sender.change(Clock((5, 5), 6, 0)) is None


def change_of(sender: ClockSender, clock: Clock) -> Change:
    change = sender.change(clock)
    assert change is not None
    sender.sent(clock, change.seq, change.hash)
    return change


def test_a_gap_is_noticed_and_nothing_is_taken_until_everything_comes() -> None:
    sender, receiver = ClockSender(Clock((0, 0))), ClockReceiver(Clock((0, 0)))
    change_of(sender, Clock((1, 0)))
    second, third = change_of(sender, Clock((1, 1))), change_of(sender, Clock((2, 1)))
    assert receiver.apply(second) is Verdict.OUT_OF_STEP
    assert receiver.clock == Clock((0, 0))
    assert receiver.apply(third) is Verdict.OUT_OF_STEP
    assert receiver.replace(Clock((2, 1)), 4, seal(checksum(Clock((2, 1))), 4)) is Verdict.APPLIED
    assert receiver.in_step


def test_a_wrong_checksum_is_out_of_step_and_changes_nothing() -> None:
    receiver = ClockReceiver(Clock((0, 0)))
    assert receiver.apply(Change(1, 0, 0, (0, 1), 12345)) is Verdict.OUT_OF_STEP
    assert (receiver.clock, receiver.seq) == (Clock((0, 0)), 0)


def test_a_whole_clock_that_was_asked_for_is_taken_whatever_its_number() -> None:
    receiver = ClockReceiver(Clock((0,)), 9)
    whole = Clock((4,))
    assert receiver.replace(whole, 3, seal(checksum(whole), 3)) is Verdict.DUPLICATE
    assert receiver.replace(whole, 3, seal(checksum(whole), 3), asked=True) is Verdict.APPLIED
    assert (receiver.clock, receiver.seq) == (whole, 3)


def test_the_number_of_a_message_is_under_its_seal() -> None:
    sender, receiver = ClockSender(Clock((0,))), ClockReceiver(Clock((0,)))
    change = change_of(sender, Clock((1,)))
    assert receiver.apply(change._replace(seq=1)) is Verdict.APPLIED
    with pytest.raises(PeerFault, match="checksum"):
        receiver.replace(Clock((1,)), 2, change.hash)


def test_a_second_copy_is_dropped() -> None:
    sender, receiver = ClockSender(Clock((0,))), ClockReceiver(Clock((0,)))
    change = change_of(sender, Clock((1,)))
    assert receiver.apply(change) is Verdict.APPLIED
    assert receiver.apply(change) is Verdict.DUPLICATE
    assert receiver.replace(Clock((1,)), 1, change.hash) is Verdict.DUPLICATE
    assert receiver.clock == Clock((1,))


@pytest.mark.parametrize("changes", [(0,), (2, 1), (0, 1, 1), (0, TICK_MAX)])
def test_an_impossible_change_is_a_fault_and_changes_nothing(changes: tuple[int, ...]) -> None:
    receiver = ClockReceiver(Clock((1, 1)))
    with pytest.raises(PeerFault):
        receiver.apply(Change(1, 0, 0, changes, 0))
    assert (receiver.clock, receiver.seq, receiver.in_step) == (Clock((1, 1)), 0, True)


def test_a_whole_clock_must_fit_and_not_contradict_itself() -> None:
    receiver = ClockReceiver(Clock((1, 1)))
    with pytest.raises(PeerFault, match="3 states"):
        receiver.replace(Clock((1, 1, 1)), 1, 0)
    with pytest.raises(PeerFault, match="checksum"):
        receiver.replace(Clock((1, 2)), 1, 0)
    assert (receiver.clock, receiver.seq) == (Clock((1, 1)), 0)


def test_ticks_reach_the_largest_number_of_the_wire() -> None:
    assert advanced(Clock((TICK_MAX - 2,)), 1, 0, (0, 2)) == Clock((TICK_MAX,), 1, 0)
