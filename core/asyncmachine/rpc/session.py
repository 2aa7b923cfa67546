"""One conversation between a source and a mirror, without a socket and without a clock.

Frames and the time go in; events, frames to send and the next deadline come out. The shell around it does this::

    events = session.receive(frame, now)        # act on each, in order
    for frame in session.outgoing(): …          # send them, in order, after every call of a method
    events += session.tick(now)                 # not before session.deadline
    events += session.torn(how)                 # if it was not this side that has closed the transport
    events += session.end()                     # once it has closed

A method that raises has changed nothing: `Misuse` and `Unsendable` are our own caller's mistakes, `PeerFault` is the
peer's and tells how to close the transport. Who may say what when is the table in `legality`. Here is what both sides
have; `asking` adds the client's half and `answering` the server's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.compression import SMALL, packed, unpacked
from asyncmachine.rpc.counters import Counters, Statistics
from asyncmachine.rpc.errors import HandshakeFailed, Misuse, PeerFault, PeerSilent
from asyncmachine.rpc.features import GOAWAY, ZLIB
from asyncmachine.rpc.keepalive import Due, Keepalive
from asyncmachine.rpc.legality import Phase, Role, legal_kinds, moves
from asyncmachine.rpc.limits import clipped
from asyncmachine.rpc.probing import ROUNDS, SLOW, Probe
from asyncmachine.rpc.timing import Timing
from asyncmachine.rpc.transport import TransportClosed

Reactions = Mapping[type[m.Message], Callable[[Any, Any, float], list[e.Event]]]
"""What a side does with each kind it may receive: a method that checks first, then changes, and returns the events."""


IS_IT_OURS: Final = "is there a server of aRPC, and TLS on both sides or on none?"
"""Where nobody has answered yet."""

_WAITED_FOR: Final = {Phase.NEW: "greet", Phase.GREETED: "answer", Phase.WELCOMED: "get ready"}
"""What the peer was to do, by phase."""


class Session:
    """The state of one conversation on one connection. `id` names it; it is empty until WELCOME.

    So are `features`, which both sides may use.
    """

    __slots__ = (
        "_deadline", "_outgoing", "_probe", "_receivable", "_sendable", "_size", "_told", "counters", "features", "id",
        "keepalive", "phase", "timing",
    )  # fmt: skip

    role: ClassVar[Role]
    reactions: ClassVar[Reactions]

    def __init__(self, now: float, timing: Timing, patience: float, first: float) -> None:
        self.timing = timing
        self._enter(Phase.NEW)
        self.id = b""
        self.features: tuple[str, ...] = ()
        self.counters = Counters()
        self._told = 0
        """Bytes that had gone out when something was heard last."""
        self.keepalive = Keepalive(now, timing, patience)
        self._probe: Probe | None = None
        self._outgoing: list[bytes] = []
        self._size = 0
        """Bytes of the message that is reacted to."""
        self._deadline = now + first

    def receive(self, frame: bytes, now: float) -> list[e.Event]:
        """Takes one frame. Raises `PeerFault`; the shell then closes the transport with `error.close`."""
        if self.phase is Phase.ENDED:
            return []
        message = decode(frame)
        self._size = len(frame)
        kind = type(message)
        phase = self._receivable.get(kind)
        if phase is None and isinstance(message, m.Compressed):
            message = self._unpacked(message)
            kind = type(message)
            phase = self._receivable.get(kind)
        if phase is None:
            legal = legal_kinds(self.phase, self.role.other)
            raise PeerFault(f"{kind.__name__} from the {self.role.other.value}: expected {legal} ({self.phase.value})")
        events = self.reactions[kind](self, message, now)
        self._entered(phase, now)
        self._received(now)
        self.keepalive.heard(now)
        self.counters.frames_in += 1
        self.counters.bytes_in += len(frame)
        self._probe, self._told = None, self.counters.bytes_out
        return events

    def outgoing(self) -> list[bytes]:
        """The frames to send now. The caller has to send them all, in order."""
        frames, self._outgoing = self._outgoing, []
        return frames

    @property
    def deadline(self) -> float | None:
        """When `tick` has to be called, if nothing happens before; None after the end."""
        if self.phase is Phase.READY:
            due = min(self.keepalive.deadline, self._due())
            return due if self._probe is None else min(due, self._probe.deadline)
        return None if self.phase is Phase.ENDED else self._deadline

    def tick(self, now: float) -> list[e.Event]:
        """Does what is due: pings, gives calls up, tells when the peer is gone. Early calls do nothing."""
        if self.phase is Phase.ENDED:
            return []
        if self.phase is not Phase.READY:
            return [e.SessionFailed(self._late())] if now >= self._deadline else []
        events = self._do_due(now)
        due = self.keepalive.due(now)
        if due is Due.PING:
            self._ping(now)
        elif due is Due.GONE:
            events.append(self._silent(now))
        if self._probe is not None:
            due = self._probe.due(now)
            if due is Due.PING:
                self._ping(now)
            elif due is Due.GONE:
                events.append(self._silent(now))
        return events

    def probe(self, now: float, within: float) -> None:
        """Asks the peer now. If nothing at all is heard `within` so many seconds, it counts as gone.

        It has more time if the round trip is known to be slow, if much is on its way, or if this side stands still
        meanwhile. One question at a time: as long as there is one, this does nothing, nor before the session is ready.
        """
        if self.phase is Phase.READY and (self._probe is None or self._probe.is_over):
            self._probe = Probe(now, max(within, ROUNDS * self.keepalive.slowest) + self._under_way() / SLOW)
            self._ping(now)

    def bye(self, reason: str = "", *, reconnect: bool = True) -> None:
        """Ends the session on purpose. The transport is to be closed once this is sent."""
        if self.phase is not Phase.ENDED:
            self._send(m.Bye(clipped(reason), reconnect))

    def go_away(self, within: float, reason: str = "") -> bool:
        """Tells that this connection ends `within` so many seconds. False: the peer does not know the message."""
        if not self._knows(GOAWAY):
            return False
        self._send(m.GoAway(max(0, round(within * 1000)), clipped(reason)))
        return True

    def leave(self) -> list[e.Event]:
        """Another connection continues this session: nothing more is taken here. Returns what was held back."""
        self._enter(Phase.ENDED)
        return []

    def torn(self, end: TransportClosed) -> list[e.Event]:
        """The transport was closed by nobody on this side; `end` follows."""
        return []

    def end(self) -> list[e.Event]:
        """The transport has closed. Returns what was held back. Again, it returns nothing."""
        if self.phase is not Phase.ENDED:
            self.counters.drops += 1
        self._enter(Phase.ENDED)
        return []

    def statistics(self, now: float) -> Statistics:
        """The counters as they are now."""
        return Statistics.of(self.counters, 0, now - self.keepalive.heard_at, self.keepalive.rtt)

    # For the two halves

    def _due(self) -> float:
        """When `_do_due` has something to do; infinite for never."""
        raise NotImplementedError

    def _do_due(self, now: float) -> list[e.Event]:
        raise NotImplementedError

    def _last_clock(self) -> int:
        """The number of the last clock message that was sent."""
        return 0

    def _under_way(self) -> int:
        """Bytes that may have to pass before a question and its answer do."""
        return self.counters.bytes_out - self._told

    def _received(self, now: float) -> None:
        """Called behind each message."""

    def _reads(self, feature: str) -> bool:
        """Whether the peer may use this now."""
        return feature in self.features

    def _knows(self, feature: str) -> bool:
        """Whether the peer may be sent this now."""
        return feature in self.features

    def _unpacked(self, compressed: m.Compressed) -> m.AnyMessage:
        if not self._reads(ZLIB):
            raise PeerFault(f"Compressed from the {self.role.other.value}: agreed is {self.features}")
        frame = unpacked(compressed.data)
        self._size = len(frame)
        return decode(frame)

    def _late(self) -> HandshakeFailed:
        seconds = self.timing.hello if self.phase is Phase.NEW else self.timing.answer
        cure = f": {IS_IT_OURS}" if self.phase is Phase.GREETED else ""
        return HandshakeFailed(f"the peer did not {_WAITED_FOR[self.phase]} within {seconds:g} s{cure}")

    def _silent(self, now: float) -> e.Event:
        return e.SessionFailed(PeerSilent(f"nothing was heard for {now - self.keepalive.heard_at:.0f} s"))

    def _ping(self, now: float) -> None:
        self._send(m.Ping(self.keepalive.pings + 1, now, self._last_clock()))
        self.keepalive.asked(now)

    def _send(self, message: m.Message, now: float | None = None) -> None:
        phase = self._phase_after(type(message))
        self._queue(encode(message))
        self._entered(phase, now)

    def _phase_after(self, kind: type[m.Message]) -> Phase:
        phase = self._sendable.get(kind)
        if phase is None:
            legal = legal_kinds(self.phase, self.role)
            raise Misuse(f"the {self.role.value} cannot send {kind.__name__}: expected {legal} ({self.phase.value})")
        return phase

    def _queue(self, frame: bytes) -> None:
        size = len(frame)
        if size > SMALL and ZLIB in self.features:
            frame = packed(frame)
            size = len(frame)
        self._outgoing.append(frame)
        self.counters.frames_out += 1
        self.counters.bytes_out += size

    def _enter(self, phase: Phase) -> None:
        # The table is looked at when the phase changes, not for every message.
        self.phase = phase
        self._sendable, self._receivable = moves(phase, self.role), moves(phase, self.role.other)

    def _entered(self, phase: Phase, now: float | None) -> None:
        if phase is not self.phase:
            self._enter(phase)
            if now is not None:
                self._deadline = now + self.timing.answer
                self.keepalive.heard(now)

    def _on_bye(self, bye: m.Bye, now: float) -> list[e.Event]:
        return [e.ByeReceived(bye.reason, bye.reconnect)]

    def _on_go_away(self, told: m.GoAway, now: float) -> list[e.Event]:
        return [e.GoAwayReceived(told.within / 1000, told.reason)]
