"""The receiving end of one connection: what the sender may say when, and what is known of its machines.

Sans-IO: messages go in, and `StreamFault` comes out for one that the protocol does not allow; nothing has changed then.
A batch is judged as a whole, with no work for each of its records, so that a receiver keeps up with any sender.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from msgspec.structs import replace

from asyncmachine.telemetry.dbg import messages as m
from asyncmachine.telemetry.dbg.codec import decode, encode
from asyncmachine.telemetry.dbg.errors import BAD_VERSION, LIMIT, StreamFault

STEP_TYPES: Final = frozenset({1, 2, 4, 8, 16, 32, 64})


@dataclass(slots=True)
class Track:
    """One machine of a connection: its last description, and what records have led to since.

    Descriptions and pipes are kept as they came, since they are many times as large when they are unpacked.
    """

    id: str
    number: int
    states: int
    description: bytes
    ticks: list[int]
    next: int
    queue_tick: int
    machine_tick: int
    pipes: bytes = b""
    records: int = 0
    lost: int = 0

    @property
    def about(self) -> m.Machine:
        """The last description, unpacked."""
        found = decode(self.description)
        assert isinstance(found, m.Machine)
        return found

    def known(self) -> Iterator[bytes]:
        """Frames that tell somebody else what is known now."""
        clock: dict[str, Any] = {"queue_tick": self.queue_tick, "machine_tick": self.machine_tick}
        yield encode(replace(self.about, time=tuple(self.ticks), next=self.next, **clock))
        if self.pipes:
            yield self.pipes


@dataclass(slots=True)
class Stream:
    """One connection. `most_machines` it may tell of at once."""

    most_machines: int = 1000
    hello: m.Hello | None = None
    tracks: dict[int, Track] = field(default_factory=dict)
    has_ended: bool = False

    def take(self, message: m.AnyMessage, frame: bytes) -> Track | None:
        """Takes one message in, and the frame it came in. Returns the machine it is about, None if it is about none."""
        if self.has_ended:
            raise StreamFault("the sender has said goodbye before")
        if self.hello is None and not isinstance(message, m.Hello):
            raise StreamFault(f"expected Hello first, got {type(message).__name__}")
        match message:
            case m.Hello():
                self._greet(message)
                return None
            case m.Machine():
                return self._describe(message, frame)
            case m.Transitions():
                return self._advance(message)
            case m.Gap():
                return self._jump(message)
            case m.Pipes():
                track = self._track(message.machine)
                track.pipes = frame
                return track
            case m.Log():
                return self._track(message.machine)
            case m.Gone():
                track = self._track(message.machine)
                del self.tracks[message.machine]
                return track
            case m.Bye():
                self.has_ended = True
                return None
            case m.Forwarded():
                raise StreamFault("a forwarded frame does not belong here")

    def known(self) -> Iterator[bytes]:
        """Frames that tell somebody else what is known now."""
        if self.hello is not None:
            yield encode(self.hello)
        for track in self.tracks.values():
            yield from track.known()

    def _greet(self, hello: m.Hello) -> None:
        if self.hello is not None:
            raise StreamFault("Hello comes once")
        if hello.version != m.VERSION:
            raise StreamFault(f"version {m.VERSION} is spoken here, not {hello.version}", BAD_VERSION)
        self.hello = hello

    def _describe(self, found: m.Machine, frame: bytes) -> Track:
        check_machine(found)
        known = self.tracks.get(found.machine)
        if known is None:
            if len(self.tracks) >= self.most_machines:
                raise StreamFault(f"more than {self.most_machines} machines on one connection", LIMIT)
            known = Track(found.id, found.machine, 0, b"", [], found.next, 0, 0)
            self.tracks[found.machine] = known
        elif known.id != found.id:
            raise StreamFault(f"number {found.machine} is that of machine {known.id!r}, not of {found.id!r}")
        elif found.next < known.next:
            raise StreamFault(f"machine {found.id!r}: record {known.next} comes next, not {found.next}")
        known.lost += found.next - known.next
        known.description, known.states = frame, len(found.names)
        known.ticks, known.next = list(found.time), found.next
        known.queue_tick, known.machine_tick = found.queue_tick, found.machine_tick
        return known

    def _advance(self, batch: m.Transitions) -> Track:
        track = self._track(batch.machine)
        if batch.first != track.next:
            raise StreamFault(f"machine {track.id!r}: record {track.next} comes next, not {batch.first}")
        ticks, queue_tick = checked_batch(batch, track.ticks)
        track.ticks, track.queue_tick = ticks, queue_tick
        track.next += len(batch.which)
        track.records += len(batch.which)
        return track

    def _jump(self, gap: m.Gap) -> Track:
        track = self._track(gap.machine)
        if gap.next != track.next + gap.lost:
            raise StreamFault(f"machine {track.id!r}: {track.next} + {gap.lost} lost is not {gap.next}")
        check_time(gap.time, track.states)
        track.lost += gap.lost
        track.ticks, track.next = list(gap.time), gap.next
        track.queue_tick, track.machine_tick = gap.queue_tick, gap.machine_tick
        return track

    def _track(self, number: int) -> Track:
        track = self.tracks.get(number)
        if track is None:
            raise StreamFault(f"no machine has the number {number}")
        return track


def check_machine(found: m.Machine) -> None:
    """Raises `StreamFault` for a description that does not fit together."""
    names = found.names
    if len(set(names)) != len(names):
        raise StreamFault(f"machine {found.id!r} has two states of one name")
    if len(found.rules) != len(names):
        raise StreamFault(f"machine {found.id!r} has {len(names)} states and {len(found.rules)} rules")
    if found.next < 1:
        raise StreamFault(f"machine {found.id!r}: records are counted from 1")
    check_time(found.time, len(names))
    for group in found.groups:
        check_states(group.states, len(names))


def check_time(time: Sequence[int], states: int) -> None:
    """Raises `StreamFault` unless there is a tick for each state."""
    if len(time) != states:
        raise StreamFault(f"{len(time)} ticks for {states} states")


def check_states(states: Sequence[int], count: int) -> None:
    """Raises `StreamFault` for the number of a state that there is not."""
    if states and max(states) >= count:
        raise StreamFault(f"there is no state number {max(states)}, but {count} states")


def checked_batch(batch: m.Transitions, before: Sequence[int]) -> tuple[list[int], int]:
    """The ticks and the queue tick after a batch. Raises `StreamFault` for one that does not fit together."""
    count = len(batch.which)
    if not count or len(batch.times) != count or len(batch.queue_ticks) != count:
        raise StreamFault(f"columns of {count}, {len(batch.times)} and {len(batch.queue_ticks)} records")
    if max(batch.which) >= len(batch.shapes):
        raise StreamFault(f"there is no shape number {max(batch.which)}, but {len(batch.shapes)}")
    if batch.now + sum(batch.times) > m.MOST_NUMBER:
        raise StreamFault("times go beyond what a number can hold")
    for shape in batch.shapes:
        check_shape(shape, len(before))
    for at, detail in batch.details.items():
        if at >= count:
            raise StreamFault(f"there is a detail of record {at}, but {count} records")
        check_steps(detail.steps, len(before))
    queue_ticks = list(accumulate(batch.queue_ticks, initial=batch.queue_tick))
    check_range(queue_ticks, "queue ticks")
    return after_batch(batch, before), queue_ticks[-1]


def check_shape(shape: m.Shape, states: int) -> None:
    """Raises `StreamFault` for a shape that no transition has."""
    if shape.flags & m.KIND_BITS == m.KIND_BITS:
        raise StreamFault("there is no fourth kind of mutation")
    check_states(shape.called, states)
    if len(shape.changes) % 2:
        raise StreamFault("changes come in pairs of state and difference")
    changed = shape.changes[::2]
    if changed and min(changed) < 0:
        raise StreamFault("there is no state below 0")
    check_states(changed, states)


def check_steps(steps: Sequence[int], states: int) -> None:
    """Raises `StreamFault` for steps that no transition has."""
    if not steps:
        return
    if len(steps) % 5:
        raise StreamFault("a step is five numbers")
    places = (*steps[1::5], *steps[2::5])
    relations, flags = steps[3::5], steps[4::5]
    is_sound = (
        STEP_TYPES.issuperset(steps[::5])
        and min(places) >= m.ANY_STATE
        and max(places) < states
        and min(relations) >= -1
        and max(relations) <= 3
        and min(flags) >= 0
        and max(flags) <= m.ALL_STEP_FLAGS
    )
    if not is_sound:
        raise StreamFault("there are steps of an unknown kind, or of unknown states")


def check_range(numbers: Sequence[int], what: str) -> None:
    """Raises `StreamFault` for a number that the wire does not have."""
    if min(numbers) < 0 or max(numbers) > m.MOST_NUMBER:
        raise StreamFault(f"{what} leave the range of 0 to 2**64-1")


def after_batch(batch: m.Transitions, before: Sequence[int]) -> list[int]:
    """The ticks after a batch. Raises `StreamFault` if any tick on the way is none."""
    ticks = list(before)
    changes = [tuple(zip(shape.changes[::2], shape.changes[1::2], strict=True)) for shape in batch.shapes]
    counts = Counter(batch.which)
    if sum(len(changes[number]) * times for number, times in counts.items()) > m.MOST_CHANGES:
        raise StreamFault(f"more than {m.MOST_CHANGES} changes in one message")
    if any(difference < 0 for pairs in changes for _, difference in pairs):
        for number in batch.which:
            for state, difference in changes[number]:
                ticks[state] += difference
                if not 0 <= ticks[state] <= m.MOST_NUMBER:
                    raise StreamFault("ticks leave the range of 0 to 2**64-1")
        return ticks
    # Upwards only: the end tells enough.
    for number, times in counts.items():
        for state, difference in changes[number]:
            ticks[state] += difference * times
    check_range(ticks, "ticks")
    return ticks
