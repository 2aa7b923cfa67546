"""The outbox: what tracers have noted and nobody has sent yet. It has an end, and nobody ever waits for it.

Tracers append from any thread, without a lock. Above its limits the oldest notes are dropped, whichever machine they
are of, and summed up (`Loss`), so that a reader learns how many there were and where the ticks have got to. One sender
takes what there is.

`mark` is the length at which a tracer has to call `attend`. It is 0 while the sender sleeps, so that the first note
wakes it; then the number at which the sender should hurry; then the limit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncmachine.telemetry.dbg.notes import Item, Lines, Loss, Record

if TYPE_CHECKING:
    from asyncmachine.telemetry.dbg.tracer import DbgTracer


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much may wait: notes, and bytes of texts in them. At `hurry` notes the sender is told not to wait for more.

    A note without texts takes about 200 bytes. Natively the sender runs in a thread of its own, which gets its turn
    every 5 ms if a machine is busy: after about 5,000 notes of the fastest machine.
    """

    notes: int = 65_536
    bytes: int = 16 << 20
    hurry: int = 8_192


class Outbox:
    """Notes on their way to one sender. `wake` is called, from any thread, when it should look: True means at once."""

    def __init__(self, limits: OutboxLimits | None = None, wake: Callable[[bool], None] = lambda _: None) -> None:
        self.limits = limits or OutboxLimits()
        self.wake = wake
        self.items: deque[Item] = deque()
        self.mark = 0
        self.dropped = 0
        """Records dropped since the beginning."""
        self._weight = 0
        self._lock = threading.Lock()
        self._losses: dict[DbgTracer, Loss] = {}

    def __len__(self) -> int:
        """Notes that wait."""
        return len(self.items)

    def __bool__(self) -> bool:
        """True if anything waits, or was dropped and is to be told."""
        return bool(self.items or self._losses)

    def put(self, item: Item, weight: int = 0) -> None:
        """Appends an item that is not made every microsecond. What has no texts may be appended to `items` directly."""
        if weight:
            with self._lock:
                self._weight += weight
        self.items.append(item)
        if len(self.items) > self.mark or self._weight > self.limits.bytes:
            self.attend()

    def attend(self) -> None:
        """Wakes the sender, and drops what is too much."""
        limits = self.limits
        urgent: bool | None = None
        with self._lock:
            count = len(self.items)
            if count > self.mark and self.mark < limits.notes:
                # From asleep to gathering, or from gathering to hurry.
                urgent = count > limits.hurry
                self.mark = limits.notes if urgent else min(limits.hurry, limits.notes)
            while self.items and (len(self.items) > limits.notes or self._weight > limits.bytes):
                self._drop()
        if urgent is not None:
            self.wake(urgent)

    def take(self) -> tuple[Mapping[DbgTracer, Loss], list[Item]]:
        """Takes everything: first what was lost, then what waits. The next note wakes the sender again."""
        with self._lock:
            self.mark = 0
            losses, self._losses = self._losses, {}
            popleft = self.items.popleft
            # No more than there are now: others append meanwhile.
            found = [popleft() for _ in range(len(self.items))]
            self._weight = 0
        return losses, found

    def _drop(self) -> None:
        tracer, _, note, queue_tick, auto = self.items.popleft()
        loss = self._losses.get(tracer)
        if loss is None:
            loss = self._losses[tracer] = Loss()
        before = loss.records
        loss.add(note, queue_tick, auto)
        self.dropped += loss.records - before
        if isinstance(note, Record | Lines):
            self._weight -= note.weight
