"""The mirror's half of a session: clocks are applied in their order, and outcomes wait until the mirror shows them."""

from __future__ import annotations

from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.clock import Change, Clock, ClockReceiver, Verdict
from asyncmachine.rpc.counters import Counters


class Following:
    """Follows a source. Out of step it `asks` for everything once, and again when `deadline` has passed."""

    __slots__ = ("_again_at", "_asked", "_counters", "_held", "_receiver")

    def __init__(self, first: Clock, seq: int, counters: Counters) -> None:
        self._receiver = ClockReceiver(first, seq)
        self._counters = counters
        self._held: list[e.Event] = []
        self._again_at: float | None = None
        self._asked = 0

    @property
    def asks(self) -> bool:
        """True if a full sync has to be asked for now."""
        return not self._receiver.in_step and self._again_at is None

    @property
    def deadline(self) -> float | None:
        """When a full sync that was asked for counts as lost."""
        return self._again_at

    def asked(self, number: int, again_at: float) -> None:
        """Notes that a full sync was asked for, with a call of this number."""
        self._asked = number
        self._again_at = again_at

    def look(self, now: float) -> None:
        """Makes it ask again if the answer is late."""
        if self._again_at is not None and now >= self._again_at:
            self._again_at = None

    def change(self, change: Change) -> list[e.Event]:
        """Takes a clock change. Raises `PeerFault` for an impossible one, and nothing changes then."""
        was_in_step = self._receiver.in_step
        verdict = self._receiver.apply(change)
        if verdict is Verdict.APPLIED:
            return [e.ClockChanged(self._receiver.clock)]
        if verdict is Verdict.DUPLICATE:
            self._counters.duplicates += 1
        elif was_in_step:
            self._counters.out_of_step += 1
            self._counters.wrong_sums += change.seq == self._receiver.seq + 1
        return []

    def full(self, full: m.Full) -> list[e.Event]:
        """Takes a whole clock, and lets go of the outcomes that waited for it. Raises as `change` does."""
        clock = Clock(full.time, full.queue_tick, full.machine_tick)
        asked = full.reply_to == self._asked != 0
        if self._receiver.replace(clock, full.seq, full.hash, asked=asked) is Verdict.DUPLICATE:
            self._counters.duplicates += 1
            return []
        self._counters.full_syncs += 1
        self._again_at = None
        return [e.ClockChanged(clock), *self.left()]

    def told(self, seq: int) -> None:
        """The source has said which clock message was its last (0: it does not say): it must have come."""
        if seq and seq != self._receiver.seq and self._receiver.in_step:
            self._receiver.in_step = False
            self._counters.out_of_step += 1

    def outcome(self, event: e.Event) -> list[e.Event]:
        """What to tell of an outcome now: nothing, while the mirror does not show it."""
        if self._receiver.in_step:
            return [event]
        self._held.append(event)
        return []

    def left(self) -> list[e.Event]:
        """Takes out the outcomes that are held back."""
        held, self._held = self._held, []
        return held
