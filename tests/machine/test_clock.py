"""Ticks and tick vectors, with the corner cases: negative differences, indexes out of range, None for all."""

from __future__ import annotations

import pytest

from asyncmachine.machine import clock as c
from asyncmachine.machine.clock import Time, TimeIndex


@pytest.mark.parametrize(
    ("tick", "active", "next_active", "next_inactive"),
    [(0, False, 1, 2), (1, True, 3, 2), (2, False, 3, 4), (7, True, 9, 8)],
)
def test_parity_tells_activity_and_the_way_to_the_next_change(
    tick: int, active: bool, next_active: int, next_inactive: int
) -> None:
    assert c.is_active_tick(tick) is active
    assert c.next_active(tick) == tick + c.next_active_in(tick) == next_active
    assert c.next_inactive(tick) == tick + c.next_inactive_in(tick) == next_inactive


@pytest.mark.parametrize(("ticks", "times"), [(0, 0), (1, 1), (2, 1), (3, 2), (4, 2)])
def test_activations(ticks: int, times: int) -> None:
    assert c.activations(ticks) == times


def test_a_fresh_time_has_ones_at_the_active_indexes_inside_its_length() -> None:
    assert Time.starting(4, [3, 0, 9, -1]) == (1, 0, 0, 1)


def test_results_are_times_again() -> None:
    time = Time([1, 2])
    for made in (time.increment(0), time.add([1, 1]), time.diff_since([0, 0]), time.diff_since([0]), time.filter([1])):
        assert type(made) is Time


def test_text() -> None:
    assert str(Time([3, 0, 12])) == "3 0 12"
    assert str(Time([])) == ""


def test_increment_ignores_an_index_out_of_range() -> None:
    assert Time([1, 2]).increment(1) == (1, 3)
    assert Time([1, 2]).increment(2) == Time([1, 2]).increment(-1) == (1, 2)


def test_add_needs_equal_lengths() -> None:
    assert Time([1, 2]).add([3, 4]) == (4, 6)
    assert Time([1, 2]).add([3]) == (1, 2)


def test_a_difference_may_be_negative() -> None:
    assert Time([1, 7]).diff_since([3, 2]) == (-2, 5)
    assert Time([1, 7]).diff_since([3]) == (0, 0)


def test_sum_over_indexes_skips_those_out_of_range_and_none_means_all() -> None:
    time = Time([1, 2, 4])
    assert time.sum() == 7
    assert time.sum([2, 0, 5, -1]) == 5
    assert time.sum([]) == 0


def test_filter_gives_zero_out_of_range() -> None:
    assert Time([5, 6]).filter([1, 7, -1, 0]) == (6, 0, 0, 5)


def test_touched_and_active() -> None:
    time = Time([1, 0, 2, 3])
    assert time.touched() == (0, 2, 3)
    assert time.active() == (0, 3)


def test_active_honours_the_indexes_it_is_given() -> None:
    assert Time([1, 0, 2, 3]).active([3, 2, 8]) == (3,)


@pytest.mark.parametrize(
    ("left", "right", "after", "after_or_equal", "before", "before_or_equal"),
    [
        ([2, 3], [1, 2], True, True, False, False),
        ([2, 2], [1, 2], False, True, False, False),
        ([1, 1], [2, 2], False, False, True, True),
        ([1, 2], [2, 2], False, False, False, True),
        ([1, 3], [2, 2], False, False, False, False),
        ([2, 0], [1], True, True, False, False),
    ],
)
def test_after_and_before_mean_every_tick_of_the_common_length(
    left: list[int], right: list[int], after: bool, after_or_equal: bool, before: bool, before_or_equal: bool
) -> None:
    time = Time(left)
    assert time.after(right) is after
    assert time.after(right, or_equal=True) is after_or_equal
    assert time.before(right) is before
    assert time.before(right, or_equal=True) is before_or_equal


def test_equal_is_strict_about_lengths_unless_told_otherwise() -> None:
    assert Time([1, 2]).equal([1, 2])
    assert not Time([1, 2]).equal([1, 3], strict=False)
    assert not Time([1, 2]).equal([1])
    assert Time([1, 2]).equal([1], strict=False)
    assert Time([1]).equal([1, 2], strict=False)


def test_predicates_by_index() -> None:
    time = Time([1, 0, 3])
    assert time.is_(0, 2) and not time.is_(0, 1)
    assert not time.is_() and time.not_() and not time.any_()
    assert time.not_(1) and not time.not_(1, 2)
    assert time.any_(1, 2) and not time.any_(1)
    assert time.any_group([0, 1], [2]) and not time.any_group([0, 1], []) and not time.any_group()


def test_an_index_out_of_range_is_neither_active_nor_known_to_be_inactive() -> None:
    time = Time([1, 0])
    for index in (-1, 2):
        assert not time.is_(index)
        assert time.not_(index)
        assert not time.not1(index)
        assert not time.is_(0, index)
        assert time.tick(index) == 0
    assert time.not1(1) and not time.not1(0)


def test_names_beside_the_ticks() -> None:
    index = Time([1, 2, 3]).with_names(["A", "B", "C"])
    assert index == TimeIndex(Time([1, 2, 3]), ("A", "B", "C"))
    assert str(index) == "A C"
    assert index.active() == ("A", "C")
    assert index.active(["C", "B", "Zed"]) == ("C",)
    assert index.touched() == ("A", "B", "C")
    assert index.tick("B") == 2 and index.tick("Zed") == 0
    assert index.name(2) == "C" and index.name(3) == index.name(-1) == ""


def test_predicates_by_name() -> None:
    index = Time([1, 0]).with_names(["A", "B"])
    assert index.is_("A") and not index.is_("A", "B") and not index.is_() and not index.is_("Zed")
    assert index.not_("B", "Zed") and not index.not_("A", "Zed") and index.not_()
    assert index.any_("B", "A") and not index.any_("B", "Zed") and not index.any_()


def test_sum_and_filter_by_name() -> None:
    index = Time([1, 2, 4]).with_names(["A", "B", "C"])
    assert index.sum() == 7
    assert index.sum(["C", "A", "Zed"]) == 5
    assert index.sum([]) == 0
    assert index.filter(["C", "Zed"]) == TimeIndex(Time([4, 0]), ("C", "Zed"))


def test_a_tick_without_a_name_is_shown_as_unknown() -> None:
    assert str(TimeIndex(Time([1, 1]), ("A",))) == "A unknown1"


def test_a_fresh_time_index() -> None:
    assert TimeIndex.starting(["A", "B"], [1]) == TimeIndex(Time([0, 1]), ("A", "B"))
