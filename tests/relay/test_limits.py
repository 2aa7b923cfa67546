"""The numbers, and the counters that enforce a rate."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncmachine_relay import Limits, RelayConfigError
from asyncmachine_relay.limits import MAX_PEERS, PeerRate, RateGate, TokenBucket


def test_defaults() -> None:
    assert asdict(Limits()) == {
        "frame": 1_048_576,
        "tunnels": 512,
        "tunnels_per_peer": 32,
        "tunnels_per_id": 4,
        "opens_per_second": 10.0,
        "opens_burst": 20,
        "bytes_per_second": 8_388_608,
        "frames_per_second": 5_000,
        "over_rate": 3600.0,
        "buffer_high": 1_048_576,
        "buffer_low": 262_144,
        "congested": 30.0,
        "idle": 120.0,
        "ping": 20.0,
        "pong": 20.0,
        "hello": 5.0,
        "upgrade": 5.0,
        "head": 16_384,
        "body": 4_096,
        "token": 60.0,
        "close": 5.0,
        "leave": 5.0,
        "connect": 5.0,
        "lifetime": 86_400.0,
        "connections": 32,
        "window": 131_072,
        "sockets": 2_048,
        "sockets_per_peer": 128,
    }


@pytest.mark.parametrize("name", asdict(Limits()))
def test_a_limit_of_nothing_is_a_mistake(name: str) -> None:
    for value in (0, -1):
        with pytest.raises(RelayConfigError, match=f"limit {name}={value} must be greater than 0"):
            Limits(**{name: value})


def test_marks_are_in_order_and_tokens_short_lived() -> None:
    with pytest.raises(RelayConfigError, match="buffer_low=4 must be below buffer_high=4"):
        Limits(buffer_low=4, buffer_high=4)
    with pytest.raises(RelayConfigError, match="token=61 must be at most 60"):
        Limits(token=61)


@settings(deadline=None)
@given(
    rate=st.floats(0.5, 100),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_a_bucket_gives_its_burst_and_then_its_rate(rate: float, burst: int, pauses: list[float]) -> None:
    now, bucket = 0.0, TokenBucket(rate, burst, 0.0)
    given_out = 0
    for pause in pauses:
        now += pause
        given_out += bucket.take(1, now)
    assert given_out <= burst + rate * now + 1e-6


def test_a_debt_is_paid_by_waiting() -> None:
    bucket = TokenBucket(rate=10, burst=10, now=0)
    assert bucket.owe(10, 0) == 0
    assert bucket.owe(5, 0) == pytest.approx(0.5)
    assert bucket.owe(5, 0.5) == pytest.approx(0.5)
    assert bucket.owe(1, 10) == 0


def gate(over_rate: float = 10) -> RateGate:
    return RateGate(Limits(frame=100, bytes_per_second=1000, frames_per_second=100, over_rate=over_rate), now=0)


def sent(limit: RateGate, size: int, frames: int) -> float:
    """Seconds until a peer that never pauses has sent so many frames."""
    now = 0.0
    for _ in range(frames):
        wait = limit.admit(size, now)
        assert wait is not None
        now += wait
    return now


@pytest.mark.parametrize("size", [1 << 20, 64 << 10], ids=["1 MiB", "64 KiB"])
def test_large_payloads_pass_at_the_rate_however_many_follow_each_other(size: int) -> None:
    """At the limits that everybody has: payloads of up to 64 MiB come from pages."""
    limits = Limits()
    for payloads in (1, 8):
        total = payloads * (64 << 20)
        due = max(total / limits.bytes_per_second, total / size / limits.frames_per_second) - 1
        assert sent(RateGate(limits, now=0), size, total // size) == pytest.approx(due, abs=0.2)


def test_however_long_a_flood_lasts_no_more_than_the_rate_is_read() -> None:
    for size, frames in ((100, 50_000), (0, 50_000)):
        took = sent(gate(math.inf), size, frames)
        assert size * frames <= 1000 * (took + 1) + 100
        assert frames <= 100 * (took + 1) + 1


def test_below_the_rate_nobody_waits() -> None:
    limit = gate()
    for step in range(2000):
        assert limit.admit(100, step / 10) == 0


def test_above_the_rate_reading_stops_and_the_tunnel_ends_after_a_time_that_was_set() -> None:
    limit = gate()
    now, waits = 0.0, []
    while (wait := limit.admit(100, now)) is not None:
        waits.append(wait)
        now += wait
    assert waits[:10] == [0] * 10  # a second's worth
    assert all(wait > 0 for wait in waits[10:])
    assert 10 <= now < 11
    assert len(waits) * 100 <= 1000 + 1000 * now + 100


def test_many_small_frames_count_too() -> None:
    limit = gate()
    assert [limit.admit(0, 0) for _ in range(100)] == [0] * 100
    assert limit.admit(0, 0) == pytest.approx(0.01)


def test_a_pause_forgives() -> None:
    limit = gate()
    now = 0.0
    for _ in range(20):
        for _ in range(20):  # a burst of two seconds' worth
            wait = limit.admit(100, now)
            assert wait is not None
            now += wait
        now += 1
    assert now > 20


def test_reading_late_is_no_pause() -> None:
    """A timer that fires late lets a few permits come back; that must not count as the peer having stopped."""
    limit = gate()
    now = 0.0
    for _ in range(2000):
        wait = limit.admit(100, now)
        if wait is None:
            break
        now += wait * 1.5
    else:
        pytest.fail("the flood went on for ever")
    assert now < 20


def test_a_burst_never_is_smaller_than_a_frame() -> None:
    limit = RateGate(Limits(frame=1_000_000, bytes_per_second=1000), now=0)
    assert limit.admit(1_000_000, 0) == 0


def test_each_address_has_its_own_rate() -> None:
    rate = PeerRate(Limits(opens_per_second=1, opens_burst=2))
    assert [rate.take("a", 0) for _ in range(3)] == [True, True, False]
    assert rate.take("b", 0)
    assert rate.take("a", 1)


def test_addresses_are_not_collected_for_ever() -> None:
    rate = PeerRate(Limits())
    for number in range(MAX_PEERS * 2):
        rate.take(f"10.0.{number}", 0)
    assert len(rate) == MAX_PEERS
