"""Delays between attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmachine.rpc.backoff import BROWSER, NATIVE, Backoff


def middle() -> float:
    """A draw without jitter."""
    return 0.5


def test_native_delays_double_up_to_ten_seconds() -> None:
    delays = [NATIVE.delay(attempt, 0.0, middle) for attempt in range(6)]
    assert delays == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_page_is_quick_for_a_minute_and_then_patient() -> None:
    assert [BROWSER.delay(attempt, 59.9, middle) for attempt in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    assert BROWSER.delay(9, 60.0, middle) == 10.0
    assert BROWSER.delay(10_000, 1e9, middle) == 10.0


@pytest.mark.parametrize(("draw", "share"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_jitter_is_a_fifth_both_ways(draw: float, share: float) -> None:
    assert NATIVE.delay(2, 0.0, lambda: draw) == pytest.approx(4.0 * share)


def test_it_gives_up_after_so_many_attempts_or_so_long() -> None:
    assert NATIVE.delay(49, 0.0) is not None
    assert NATIVE.delay(50, 0.0) is None
    assert NATIVE.delay(0, 299.9) is not None
    assert NATIVE.delay(0, 300.0) is None


@given(st.integers(0, 10**6), st.floats(0, 1e9), st.floats(0, 1))
def test_a_delay_is_never_longer_than_its_cap_with_jitter(attempt: int, elapsed: float, draw: float) -> None:
    delay = Backoff(tries=None, total=None).delay(attempt, elapsed, lambda: draw)
    assert delay is not None
    assert 0.79 <= delay <= 12.01
