"""The mirror's half of a session: clocks are applied in their order, and outcomes wait until the mirror shows them."""

from __future__ import annotations

from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.clock import Change, Clock, ClockReceiver, Verdict, advanced
from asyncmachine.rpc.counters import Counters
from asyncmachine.rpc.errors import PeerFault


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
        if self._applied(self._receiver.apply(change), change.seq, was_in_step=was_in_step):
            return [e.ClockChanged(self._receiver.clock)]
        return []

    def steps(self, told: m.ClockSteps) -> list[e.Event]:
        """Takes transitions, one after another. Raises as `change` does."""
        was_in_step, clock = self._receiver.in_step, self._receiver.clock
        events: list[e.Event] = []
        if was_in_step and told.seq == self._receiver.seq + 1:
            last = len(told.steps) - 1
            for number, step in enumerate(told.steps):
                if step.kind > 2 or any(place >= len(clock.ticks) for place in step.called):
                    raise PeerFault(f"a transition of kind {step.kind} that called {step.called}")
                clock = advanced(clock, step.queue, told.machine if number == last else 0, step.changes)
                events.append(e.ClockChanged(clock, step))
        verdict = self._receiver.move(told.seq, clock, told.hash)
        return events if self._applied(verdict, told.seq, was_in_step=was_in_step) else []

    def _applied(self, verdict: Verdict, seq: int, *, was_in_step: bool) -> bool:
        if verdict is Verdict.DUPLICATE:
            self._counters.duplicates += 1
        elif verdict is Verdict.OUT_OF_STEP and was_in_step:
            self._counters.out_of_step += 1
            self._counters.wrong_sums += seq == self._receiver.seq + 1
        return verdict is Verdict.APPLIED

    def full(self, full: m.Full) -> list[e.Event]:
        """Takes a whole clock, and lets go of the outcomes that waited for it. Raises as `change` does."""
        return [e.ClockChanged(self._receiver.clock), *self.left()] if self._taken(full, grown=False) else []

    def grown(self, grown: m.Grown) -> list[e.Event]:
        """Takes a whole clock of more states. Raises as `change` does."""
        if len(grown.names) != len(grown.time):
            raise PeerFault(f"{len(grown.names)} names for {len(grown.time)} states")
        if not self._taken(grown, grown=True):
            return []
        return [e.SourceGrew(grown.names, grown.schema, self._receiver.clock), *self.left()]

    def _taken(self, whole: m.Full | m.Grown, *, grown: bool) -> bool:
        clock = Clock(whole.time, whole.queue_tick, whole.machine_tick)
        asked = whole.reply_to == self._asked != 0
        if self._receiver.replace(clock, whole.seq, whole.hash, asked=asked, grown=grown) is Verdict.DUPLICATE:
            self._counters.duplicates += 1
            return False
        self._counters.full_syncs += 1
        self._again_at = None
        self._asked = 0  # else a second copy, or an answer that this has overtaken, would turn the clock back
        return True

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
