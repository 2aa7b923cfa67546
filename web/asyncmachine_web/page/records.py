"""What is written of a durable machine, and how it is read again.

    000000000064s   snapshot: names, all ticks, counters, data
    000000000065c   change: the ticks that differ from those of 64, and the data if it does
    …

The log goes on through a snapshot (64 has a change as well), and the snapshot before the last one is kept with all
changes since: should the last one be damaged, the older one and the log lead to the same state. What is older is
dropped, so there are never more than two snapshots and about twice `EVERY` changes. Each record begins with eight bytes
of a hash over its key and its content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import msgspec

import asyncmachine as am

EVERY: Final = 64
"""Changes after which there is a snapshot."""
SNAPSHOT, CHANGE, ASIDE = "s", "c", "damaged "
"""How keys of the first two end, and what stands before the keys of records that were put aside."""
HASH_SIZE: Final = 8
LONGEST: Final = 1 << 16
"""Bytes of changes after which there is a snapshot, or four times those of the data if that is more."""


class RecordsDamaged(am.AmError):
    """Records cannot be read. `keys` names them; they were put aside, not thrown away.

    `is_complete` tells that nothing was lost, since others lead to the same state.
    """

    state = "ErrDamaged"

    def __init__(self, keys: tuple[str, ...], *, is_complete: bool) -> None:
        told = "all of its state was there twice" if is_complete else "what came after the last good one is lost"
        super().__init__(f"{len(keys)} records cannot be used ({', '.join(keys[:3])}): {told}")
        self.keys = keys
        self.is_complete = is_complete


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """All there is to know. `data` is what the application has handed over, as msgpack; `hash` that of the schema."""

    names: tuple[str, ...]
    hash: str
    ticks: tuple[int, ...]
    queue_tick: int
    machine_tick: int
    data: bytes

    def changed(self, change: Change) -> Snapshot | None:
        """The state after a change; None if it does not fit."""
        if not all(0 <= place < len(self.ticks) for place in change.ticks):
            return None
        ticks = tuple([change.ticks.get(place, tick) for place, tick in enumerate(self.ticks)])
        data = self.data if change.data is None else change.data
        return Snapshot(self.names, self.hash, ticks, change.queue_tick, change.machine_tick, data)

    def change_to(self, now: Snapshot) -> Change:
        """What leads from here to `now`, which has the same names."""
        ticks = {i: new for i, (old, new) in enumerate(zip(self.ticks, now.ticks, strict=True)) if old != new}
        return Change(ticks, now.queue_tick, now.machine_tick, None if now.data == self.data else now.data)

    def whole(self) -> Change:
        """What leads here from anywhere."""
        return Change(dict(enumerate(self.ticks)), self.queue_tick, self.machine_tick, self.data)


class Change(msgspec.Struct, frozen=True, array_like=True):
    """Ticks by the place of their state, and the data if it has changed."""

    ticks: dict[int, int]
    queue_tick: int
    machine_tick: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the records of a machine lead to: its last state (None for none), the number of that, and what is amiss."""

    state: Snapshot | None
    number: int = 0
    damage: RecordsDamaged | None = None
    aside: Mapping[str, bytes] = field(default_factory=dict)
    """Records that cannot be used, by the keys under which they are to be kept."""


def key_of(number: int, kind: str) -> str:
    return f"{number:012d}{kind}"


def number_of(key: str) -> int:
    """-1 for a key of none of ours."""
    number = key[:-1]
    return int(number) if key[-1:] in (SNAPSHOT, CHANGE) and number.isascii() and number.isdigit() else -1


_snapshots = msgspec.msgpack.Decoder(Snapshot)
_changes = msgspec.msgpack.Decoder(Change)


def sealed(key: str, record: Snapshot | Change) -> bytes:
    """The record as it is stored."""
    content = msgspec.msgpack.encode(record)
    return _hash(key, content) + content


def unsealed(key: str, stored: bytes) -> Snapshot | Change | None:
    """None if it is damaged."""
    content = stored[HASH_SIZE:]
    if number_of(key) < 0 or stored[:HASH_SIZE] != _hash(key, content):
        return None
    try:
        return _snapshots.decode(content) if key.endswith(SNAPSHOT) else _changes.decode(content)
    except msgspec.MsgspecError:
        return None


def _hash(key: str, content: bytes) -> bytes:
    return sha256(key.encode() + b"\0" + content).digest()[:HASH_SIZE]


def recover(stored: Mapping[str, bytes]) -> Recovered:
    """The last state that the records lead to."""
    entries = {key: found for key, found in stored.items() if not key.startswith(ASIDE)}
    good = {key: record for key, found in entries.items() if (record := unsealed(key, found)) is not None}
    last = max(map(number_of, entries), default=0)
    state: Snapshot | None = None
    number = -1
    for key, record in good.items():
        if isinstance(record, Snapshot) and number_of(key) > number:
            state, number = record, number_of(key)
    while state is not None and isinstance(change := good.get(key_of(number + 1, CHANGE)), Change):
        after = state.changed(change)
        if after is None:
            break
        state, number = after, number + 1
    bad = tuple(sorted(key for key in entries if key not in good or number_of(key) > number))
    damage = RecordsDamaged(bad, is_complete=number == last) if bad else None
    return Recovered(state, last, damage, {ASIDE + key: entries[key] for key in bad})


@dataclass(frozen=True, slots=True)
class Batch:
    """One write: what is put and dropped, and the state that is kept by it."""

    number: int
    state: Snapshot
    puts: Mapping[str, bytes]
    drops: frozenset[str]


class Log:
    """What is to be written next, beside what is there. Nothing counts as written before `done` is told."""

    def __init__(self, stored: Mapping[str, bytes], recovered: Recovered) -> None:
        self._keys = frozenset(stored)
        self._number = recovered.number
        self._written = recovered.state
        self._aside = recovered.aside
        self._since = EVERY  # a machine begins with a snapshot
        self._size = 0
        self._behind = -1
        """The number of the last one that was handed over behind another. Which of the two is there is not known."""

    def next(self, now: Snapshot) -> Batch:
        """Keeps `now`, by a change if that is enough."""
        number, before = max(self._number, self._behind) + 1, self._written
        unsure = self._behind >= self._number
        follows = before is not None and (before.names, before.hash) == (now.names, now.hash)
        puts, drops = dict(self._aside), self._unusable()
        if before is not None and follows:
            key = key_of(number, CHANGE)
            puts[key] = sealed(key, now.whole() if unsure else before.change_to(now))
        if not follows or unsure or self._since >= EVERY or self._size > max(LONGEST, 4 * len(now.data)):
            key = key_of(number, SNAPSHOT)
            puts[key] = sealed(key, now)
            drops |= self._outdated() if follows else {key for key in self._keys if number_of(key) >= 0}
        return Batch(number, now, puts, frozenset(drops))

    def anew(self, now: Snapshot) -> Batch:
        """Keeps `now` where nothing is any more."""
        self._keys, self._written, self._aside = frozenset(), None, {}
        return self.next(now)

    def done(self, batch: Batch) -> None:
        """It is on disk."""
        self._keys = self._keys - batch.drops | batch.puts.keys()
        self._number, self._written, self._aside = batch.number, batch.state, {}
        if key_of(batch.number, SNAPSHOT) in batch.puts:
            self._since = self._size = 0
        else:
            self._since += 1
            self._size += sum(map(len, batch.puts.values()))

    def also(self, batch: Batch) -> None:
        """It was handed over behind another one of the same number: what it puts has to be dropped one day, too."""
        self._keys |= batch.puts.keys()
        self._behind = batch.number

    def _unusable(self) -> set[str]:
        """What is put aside now, and what was put aside the last time."""
        if not self._aside:
            return set()
        return {key.removeprefix(ASIDE) for key in self._aside} | {
            key for key in self._keys if key.startswith(ASIDE) and key not in self._aside
        }

    def _outdated(self) -> set[str]:
        """What is not needed to come here from the last snapshot there is."""
        last = max(number_of(key) for key in self._keys if key.endswith(SNAPSHOT) and ASIDE + key not in self._aside)
        return {key for key in self._keys if 0 <= number_of(key) <= last and key != key_of(last, SNAPSHOT)}
