"""How much anybody may have: the numbers, and the two counters that enforce a rate.

Every limit is on by default and every one can be changed: `Limits(tunnels=2_000)`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from asyncmachine.rpc.transport.shares import share_of
from asyncmachine_relay.policy import RelayConfigError

MIN_WINDOW = 64 << 10
"""What may be sent before anything was granted (`asyncmachine.rpc.transport.many_frames`)."""
MAX_PEERS = 4096
"""Addresses whose opens are counted at a time; the one unseen for longest is forgotten first."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    frame: int = 1 << 20
    """Largest message either way; a larger one ends the tunnel with 1009."""
    tunnels: int = 512
    tunnels_per_peer: int = 32
    """Tunnels one IP address may hold."""
    tunnels_per_id: int = 4
    opens_per_second: float = 10.0
    """Tunnels, and likewise tokens, that one IP address may ask for in the long run."""
    opens_burst: int = 20
    bytes_per_second: int = 8 << 20
    """What one tunnel may send to us; more is not read until it is due."""
    frames_per_second: int = 5_000
    """Messages likewise. Who sends more pings, pongs and parts of messages than that is closed: they are no work."""
    over_rate: float = 3600.0
    """How long a tunnel may want more than its rate before it is closed; slowed as it is, it does no harm till then."""
    buffer_high: int = 1 << 20
    """Bytes held for one tunnel in one direction; at this mark the writing side waits until `buffer_low`."""
    buffer_low: int = 256 << 10
    congested: float = 30.0
    """How long either side may wait for the other to take something."""
    idle: float = 120.0
    """How long a tunnel may carry no frame either way."""
    ping: float = 20.0
    pong: float = 20.0
    hello: float = 5.0
    """How long a caller (`dial`) may take for its first frame, and any request for its body."""
    upgrade: float = 5.0
    """How long a request may take to arrive with all its headers."""
    head: int = 16 << 10
    """A request's line and headers."""
    body: int = 4 << 10
    """A token request's body."""
    token: float = 60.0
    """How long a token may wait for its tunnel to be opened."""
    close: float = 5.0
    """How long a closing handshake may take."""
    leave: float = 5.0
    """How long a matcher may go on when its tunnel is gone, before it is cancelled."""
    connect: float = 5.0
    """How long a TCP target may take to resolve and to answer."""
    lifetime: float = 24 * 3600.0
    """How long a tunnel may live; its peer is told before, and dials again."""
    connections: int = 32
    """TCP connections at a time inside of one tunnel."""
    window: int = 128 << 10
    """Bytes that each of them may send ahead of its reader; 64 KiB at least."""
    sockets: int = 2048
    """TCP connections to the relay's own port, whatever they are used for."""
    sockets_per_peer: int = 128
    """Those of one IP address, unless it is a trusted proxy."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                wrong = f"limit {field.name}={getattr(self, field.name)!r} must be greater than 0"
                raise RelayConfigError(wrong, field=field.name)
        if self.buffer_low >= self.buffer_high:
            wrong = f"limit buffer_low={self.buffer_low} must be below buffer_high={self.buffer_high}"
            raise RelayConfigError(wrong, field="buffer_low", needs=("buffer_high",))
        if self.window < MIN_WINDOW:
            raise RelayConfigError(f"limit window={self.window} must be at least {MIN_WINDOW}", field="window")
        if self.token > 60:
            wrong = f"limit token={self.token} must be at most 60: a token opens one tunnel, now"
            raise RelayConfigError(wrong, field="token")

    def lasting(self, lifetime: float | None) -> Limits:
        """Those of a tunnel that may live so long, if that is shorter."""
        return self if lifetime is None or lifetime >= self.lifetime else replace(self, lifetime=lifetime)


class TokenBucket:
    """Holds up to `burst` permits and gains `rate` of them a second. Time is given, in seconds, and never runs back."""

    __slots__ = ("_burst", "_level", "_rate", "_seen")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._seen = now

    def take(self, amount: float, now: float) -> bool:
        """Takes `amount` permits if there are as many; else changes nothing and returns False."""
        self._fill(now)
        if amount > self._level:
            return False
        self._level -= amount
        return True

    def owe(self, amount: float, now: float) -> float:
        """Takes `amount` permits even if there are too few; returns the seconds until the debt is paid, 0 for none."""
        self._fill(now)
        self._level -= amount
        return max(0.0, -self._level / self._rate)

    def is_calm(self, now: float) -> bool:
        """True when at least half of the burst is there."""
        self._fill(now)
        return self._level >= self._burst / 2

    def _fill(self, now: float) -> None:
        self._level = min(self._burst, self._level + (now - self._seen) * self._rate)
        self._seen = now


class RateGate:
    """The rate of one tunnel: bytes and frames, with a second's worth of burst."""

    __slots__ = ("_bytes", "_frames", "_limit", "_since")

    def __init__(self, limits: Limits, now: float) -> None:
        # A burst below one frame would make every large frame look like a flood.
        burst = max(limits.bytes_per_second, limits.frame)
        self._bytes = TokenBucket(limits.bytes_per_second, burst, now)
        self._frames = TokenBucket(limits.frames_per_second, limits.frames_per_second, now)
        self._limit = limits.over_rate
        self._since: float | None = None

    def admit(self, size: int, now: float) -> float | None:
        """Counts a frame that arrived and returns the seconds to wait before reading on: that is what bounds a flood.

        None says that the peer has wanted more than its rate for longer than `over_rate`, without a pause in which half
        of its burst would have come back.
        """
        if self._since is not None and self._bytes.is_calm(now) and self._frames.is_calm(now):
            self._since = None
        wait = max(self._bytes.owe(size, now), self._frames.owe(1, now))
        if wait and self._since is None:
            self._since = now
        return None if self._since is not None and now - self._since > self._limit else wait


class Sockets:
    """How many TCP connections there are, and of whom. Those of trusted proxies count in the total only."""

    def __init__(self, limits: Limits, is_exempt: Callable[[str], bool]) -> None:
        self._limits = limits
        self._is_exempt = is_exempt
        self._shares: dict[object, str] = {}
        self._by_share: Counter[str] = Counter()

    def enter(self, key: object, address: str) -> bool:
        """Counts a connection. False says that it is one too many; then it is not counted."""
        share = "" if self._is_exempt(address) else share_of(address)
        if len(self._shares) >= self._limits.sockets or self._by_share[share] >= self._limits.sockets_per_peer:
            return False
        self._shares[key] = share
        if share:
            self._by_share[share] += 1
        return True

    def leave(self, key: object) -> None:
        """A connection has ended. Does nothing for one that was not counted."""
        share = self._shares.pop(key, "")
        if share:
            self._by_share[share] -= 1
            if not self._by_share[share]:
                del self._by_share[share]

    def __len__(self) -> int:
        return len(self._shares)


class PeerRate:
    """How often each address may ask. Memory is bounded by `MAX_PEERS`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, address: str, now: float) -> bool:
        """True when this address may ask once more now."""
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = TokenBucket(self._limits.opens_per_second, self._limits.opens_burst, now)
            if len(self._buckets) > MAX_PEERS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(address)
        return bucket.take(1, now)

    def __len__(self) -> int:
        return len(self._buckets)
