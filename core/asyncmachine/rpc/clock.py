"""The clock of a machine on its way to its mirrors: differences, a checksum, and both ends of the sequence.

A sender keeps what its peer was told last and sends only what changed since, numbered. A receiver applies a change only
if its number is the next one and the checksum fits afterwards. Whatever else happens (a gap, a wrong sum) makes it *out
of step*: it then takes no more changes until it has been sent everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from operator import mul
from typing import NamedTuple

from msgspec import Struct

from asyncmachine.rpc.errors import PeerFault, TickRange

TICK_MAX = 2**64 - 1
"""The largest tick that the wire can carry."""

_QUEUE_KEY = 0x85EBCA6B
_MACHINE_KEY = 0xC2B2AE35
_SEQ_KEY = 0x27D4EB2F
_MASK = 0xFFFFFFFF


class Clock(Struct, frozen=True):
    """All that can be observed of a machine: a tick for each state of the session, and the two counters."""

    ticks: tuple[int, ...]
    queue_tick: int = 0
    machine_tick: int = 0


class Change(NamedTuple):
    """What a clock message says. `changes` is a flat list of index and difference, `hash` its seal."""

    seq: int
    queue: int
    machine: int
    changes: tuple[int, ...]
    hash: int


class Verdict(Enum):
    """What became of a clock message."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    OUT_OF_STEP = "out of step"


def key(index: int) -> int:
    """The factor of a state in the checksum: 32 well mixed bits of its index (the finalizer of MurmurHash3), made odd.

    Factors in a simple progression would let small mistakes cancel out: with 1, 3, 5, 7 the first state seven ticks too
    far looks like the fourth one tick too far.
    """
    bits = index + 1
    bits = (bits ^ bits >> 16) * 0x85EBCA6B & _MASK
    bits = (bits ^ bits >> 13) * 0xC2B2AE35 & _MASK
    return (bits ^ bits >> 16) | 1


class _Keys:
    """The factors by state index, made as they are needed."""

    def __init__(self) -> None:
        self._known: tuple[int, ...] = ()

    def first(self, count: int) -> Sequence[int]:
        if count > len(self._known):
            self._known = tuple(map(key, range(max(count, 64))))
        return self._known


_keys = _Keys()


def checksum(clock: Clock) -> int:
    """32 bits over all ticks and counters. Swapped ticks give another sum."""
    # The table may be longer than the ticks: `map` ends with the shorter one.
    ticks: int = sum(map(mul, clock.ticks, _keys.first(len(clock.ticks))))
    return (ticks + clock.queue_tick * _QUEUE_KEY + clock.machine_tick * _MACHINE_KEY) & _MASK


def seal(hash: int, seq: int) -> int:
    """The checksum of a clock message: that of the clock after it, with the message's number mixed in."""
    return (hash + seq * _SEQ_KEY) & _MASK


def moved_checksum(hash: int, queue: int, machine: int, changes: Sequence[int]) -> int:
    """The sum after a change, made from the sum before it."""
    total = hash + queue * _QUEUE_KEY + machine * _MACHINE_KEY
    if changes:
        keys = _keys.first(changes[-2] + 1)  # indexes ascend
        for at in range(0, len(changes), 2):
            total += keys[changes[at]] * changes[at + 1]
    return total & _MASK


def differences(before: Sequence[int], after: Sequence[int]) -> tuple[int, ...]:
    """Index and difference of each tick that changed, as one flat list."""
    flat: list[int] = []
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        if new != old:
            flat += (i, new - old)
    return tuple(flat)


def advanced(clock: Clock, queue: int, machine: int, changes: Sequence[int]) -> Clock:
    """The clock after a change. Raises `PeerFault` for what cannot be one; nothing is changed then."""
    if len(changes) % 2:
        raise PeerFault("clock changes come in pairs of index and difference")
    ticks = list(clock.ticks)
    for at in range(0, len(changes), 2):
        index = changes[at]
        if index >= len(ticks):
            raise PeerFault(f"clock change of state {index}, the session has {len(ticks)}")
        ticks[index] += changes[at + 1]
        if ticks[index] > TICK_MAX:
            raise PeerFault(f"tick of state {index} beyond 2**64-1")
    return Clock(tuple(ticks), clock.queue_tick + queue, clock.machine_tick + machine)


class ClockSender:
    """The source's end. `last` is what the peer knows once it has read everything that was sent."""

    __slots__ = ("_hash", "last", "seq")

    def __init__(self, first: Clock, seq: int = 0) -> None:
        self.last = first
        self.seq = seq
        self._hash = checksum(first)

    def change(self, now: Clock) -> Change | None:
        """What brings the peer from `last` to `now`; None if a number went down, which only a full clock can tell.

        Raises `TickRange` for a tick that the peer could not hold.
        """
        last = self.last
        queue, machine = now.queue_tick - last.queue_tick, now.machine_tick - last.machine_tick
        if queue < 0 or machine < 0:
            return None
        changes = differences(last.ticks, now.ticks)
        if changes and max(now.ticks) > TICK_MAX:
            raise TickRange("a tick is beyond 2**64-1, the largest number of the wire")
        for by in changes[1::2]:
            if by < 0:
                return None
        seq, moved = self.seq + 1, moved_checksum(self._hash, queue, machine, changes)
        return Change(seq, queue, machine, changes, seal(moved, seq))

    def sent(self, now: Clock, seq: int, hash: int) -> None:
        """Notes that the peer has been sent this, under this seal."""
        self.last, self.seq, self._hash = now, seq, seal(hash, -seq)


class ClockReceiver:
    """The mirror's end. `clock` is always one that the source had, as far as the messages tell."""

    __slots__ = ("clock", "in_step", "seq")

    def __init__(self, first: Clock, seq: int = 0) -> None:
        self.clock = first
        self.seq = seq
        self.in_step = True

    def apply(self, change: Change) -> Verdict:
        """Takes a change if it is the next one. Raises `PeerFault` for an impossible one, and changes nothing then."""
        if change.seq == self.seq + 1 and self.in_step:
            return self.move(
                change.seq, advanced(self.clock, change.queue, change.machine, change.changes), change.hash
            )
        return self.move(change.seq, self.clock, change.hash)

    def move(self, seq: int, clock: Clock, hash: int) -> Verdict:
        """Goes on to a clock that was made of a message, if that is the next one and its seal fits."""
        if seq <= self.seq:
            return Verdict.DUPLICATE
        if not self.in_step:
            return Verdict.OUT_OF_STEP
        if seq == self.seq + 1 and seal(checksum(clock), seq) == hash:
            self.clock, self.seq = clock, seq
            return Verdict.APPLIED
        self.in_step = False
        return Verdict.OUT_OF_STEP

    def replace(self, clock: Clock, seq: int, hash: int, *, asked: bool = False, grown: bool = False) -> Verdict:
        """Takes a whole clock, unless it is older than what is here.

        One that was asked for is taken in any case: should the number here be wrong, this mends it. One that has
        `grown` may have more states. Raises `PeerFault` if it contradicts itself.
        """
        if seq <= self.seq and not asked:
            return Verdict.DUPLICATE
        here, there = len(self.clock.ticks), len(clock.ticks)
        if there < here or (there > here and not grown):
            raise PeerFault(f"a full clock of {there} states, the session has {here}")
        if seal(checksum(clock), seq) != hash:
            raise PeerFault("a full clock whose checksum does not fit")
        self.clock, self.seq, self.in_step = clock, seq, True
        return Verdict.APPLIED
