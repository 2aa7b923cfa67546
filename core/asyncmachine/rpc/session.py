"""One conversation between a source and a mirror, without a socket and without a clock.

Frames and the time go in; events, frames to send and the next deadline come out. The shell around it does four things::

    events = session.receive(frame, now)        # act on each, in order
    for frame in session.outgoing(): …          # send them, in order, after every call of a method
    events += session.tick(now)                 # not before session.deadline
    events += session.end()                     # once the transport has closed

A method that raises has changed nothing: `Misuse` and `Unsendable` are our own caller's mistakes, `PeerFault` is the
peer's and tells how to close the transport. Who may say what when is the table in `legality`; both sides are this one
class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.calls import Calls
from asyncmachine.rpc.clock import Change, Clock, ClockSender, checksum, seal
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.counters import Counters
from asyncmachine.rpc.errors import (
    CallRefused,
    CallTimedOut,
    Code,
    HandshakeFailed,
    Misuse,
    PeerFault,
    PeerSilent,
    UnknownOutcome,
)
from asyncmachine.rpc.following import Following
from asyncmachine.rpc.keepalive import Due, Keepalive
from asyncmachine.rpc.legality import Phase, Role, legal_kinds, moves
from asyncmachine.rpc.timing import NATIVE, Timing

PATIENCE: Final = 0.5
"""Seconds that a client lets the server ask first."""

_CALLS: Final[Mapping[e.MutationKind, type[m.Mutation]]] = {"add": m.Add, "remove": m.Remove, "set": m.Set}
_KINDS: Final[Mapping[type[m.Mutation], e.MutationKind]] = {kind: name for name, kind in _CALLS.items()}


class Session:
    """The state of one conversation, on either side. `id` names it; it is empty until WELCOME."""

    __slots__ = (
        "_calls", "_deadline", "_following", "_outgoing", "_receivable", "_sendable", "_sender", "counters", "id",
        "keepalive", "phase", "role", "timing",
    )  # fmt: skip

    def __init__(self, role: Role, now: float, timing: Timing = NATIVE) -> None:
        self.role = role
        self.timing = timing
        self._enter(Phase.NEW)
        self.id = b""
        self.counters = Counters()
        self.keepalive = Keepalive(now, timing, 0.0 if role is Role.SERVER else PATIENCE)
        self._outgoing: list[bytes] = []
        self._deadline = now + (timing.hello if role is Role.SERVER else timing.answer)
        self._calls = Calls()
        self._sender: ClockSender | None = None
        self._following: Following | None = None

    # Both sides

    def receive(self, frame: bytes, now: float) -> list[e.Event]:
        """Takes one frame. Raises `PeerFault`; the shell then closes the transport with `error.close`."""
        if self.phase is Phase.ENDED:
            return []
        message = decode(frame)
        kind = type(message)
        phase = self._receivable.get(kind)
        if phase is None:
            legal = legal_kinds(self.phase, self.role.other)
            raise PeerFault(f"{kind.__name__} from the {self.role.other.value}: expected {legal} ({self.phase.value})")
        events = _REACTIONS[kind](self, message, now)
        self._entered(phase, now)
        self._ask_if_out_of_step(now)
        self.keepalive.heard(now)
        self.counters.frames_in += 1
        self.counters.bytes_in += len(frame)
        return events

    def outgoing(self) -> list[bytes]:
        """The frames to send now. The caller has to send them all, in order."""
        frames, self._outgoing = self._outgoing, []
        return frames

    @property
    def deadline(self) -> float | None:
        """When `tick` has to be called, if nothing happens before; None after the end."""
        if self.phase is Phase.ENDED:
            return None
        if self.phase is not Phase.READY:
            return self._deadline
        due, call = self.keepalive.deadline, self._calls.deadline
        if call is not None and call < due:
            due = call
        sync = self._following.deadline if self._following is not None else None
        return due if sync is None or due < sync else sync

    def tick(self, now: float) -> list[e.Event]:
        """Does what is due: pings, gives calls up, tells when the peer is gone. Early calls do nothing."""
        if self.phase is Phase.ENDED:
            return []
        if self.phase is not Phase.READY:
            late = HandshakeFailed(f"the peer took too long to get beyond {self.phase.value}")
            return [e.SessionFailed(late)] if now >= self._deadline else []
        events: list[e.Event] = [
            e.CallFailed(call, CallTimedOut(f"no answer within {self.timing.call:.0f} s: it may still run"))
            for call in self._calls.expired(now)
        ]
        if self._following is not None:
            self._following.look(now)
            self._ask_if_out_of_step(now)
        due = self.keepalive.due(now)
        if due is Due.PING:
            seq = self._sender.seq if self._sender is not None else 0
            self._send(m.Ping(self.keepalive.pings + 1, now, seq))
            self.keepalive.asked(now)
        elif due is Due.GONE:
            silence = now - self.keepalive.heard_at
            events.append(e.SessionFailed(PeerSilent(f"nothing was heard for {silence:.0f} s")))
        return events

    def bye(self, reason: str = "", *, reconnect: bool = True) -> None:
        """Ends the session on purpose. The transport is to be closed once this is sent."""
        if self.phase is not Phase.ENDED:
            self._send(m.Bye(reason, reconnect))

    def end(self) -> list[e.Event]:
        """The transport has closed: calls without an answer fail with `UnknownOutcome`. Again, it returns nothing."""
        self._enter(Phase.ENDED)
        events = self._following.left() if self._following is not None else []
        for call in self._calls.abandon():
            lost = UnknownOutcome("the connection ended before the answer: the source may have run it or not")
            events.append(e.CallFailed(call, lost))
        return events

    # Client

    def hello(self, hello: m.Hello) -> None:
        """Introduces this client."""
        self._send(hello)

    def ready(self, now: float) -> None:
        """Tells the server that its welcome is applied: calls and pushes are legal from now on."""
        self._send(m.Ready(self.id), now)

    def call(
        self,
        kind: e.MutationKind,
        states: tuple[int, ...],
        args: m.WireArgs | None,
        source: m.Source | None,
        now: float,
    ) -> int:
        """Asks the source for a mutation. Its number comes back in `Replied` or `CallFailed`.

        Raises `TooLarge` and other kinds of `Unsendable`, and `Overloaded` when too many calls are open.
        """
        number = self._calls.next()
        self._send(_CALLS[kind](number, states, args, source))
        self._calls.made(number, now + self.timing.call)
        self.counters.calls += 1
        return number

    def sync(self, now: float) -> int:
        """Asks for the whole clock. Its number comes back in `Replied`, or in `CallFailed`."""
        number = self._calls.next()
        self._send(m.SyncRequest(number))
        self._calls.made(number, now + self.timing.call)
        return number

    def ack(self, token: bytes) -> None:
        """Tells the server that the consumer has taken a payload."""
        self._send(m.PayloadAck(token))

    def nack(self, token: bytes, code: str, message: str = "") -> None:
        """Tells the server that a payload will not be taken."""
        self._send(m.PayloadNack(token, code, message))

    # Server

    def welcome(self, welcome: m.Welcome, now: float) -> None:
        """Takes the client in. The clock in the message is where the differences start."""
        self._send(welcome, now)
        self.id = welcome.session
        self._sender = ClockSender(Clock(welcome.time, welcome.queue_tick, welcome.machine_tick), welcome.seq)

    def reject(self, code: str, message: str, retry_after: float | None = None) -> None:
        """Refuses the client. The transport is to be closed once this is sent."""
        self._send(m.Reject(code, message, retry_after))

    def reply(self, id: int, executed: bool, clock: Clock) -> None:
        """Answers a mutation, with everything that has changed since the peer was told last."""
        sender = self._to_client()
        change = sender.change(clock)
        outcome = 0 if executed else 1
        if change is None:
            self.full(clock)
        if change is None or not (change.changes or change.queue or change.machine):
            self._send(m.Result(id, outcome))
        else:
            self._send(m.Result(id, outcome, *change))
            sender.sent(clock, change.seq, change.hash)

    def refuse(self, id: int, error: CallRefused) -> None:
        """Answers a call with an error."""
        self._send(m.Error(id, error.code, error.message, error.state, error.retryable, error.details or None))

    def differs(self, clock: Clock) -> bool:
        """Whether the peer has not been told this clock."""
        return clock != self._to_client().last

    def push(self, clock: Clock) -> None:
        """Sends what has changed, if anything has."""
        sender = self._to_client()
        if clock == sender.last:
            return
        change = sender.change(clock)
        if change is None:
            self.full(clock)
        else:
            self._send(m.ClockPush(*change))
            sender.sent(clock, change.seq, change.hash)
        self.counters.pushes += 1

    def full(self, clock: Clock, reply_to: int = 0) -> None:
        """Sends everything."""
        sender = self._to_client()
        seq = sender.seq + 1
        sealed = seal(checksum(clock), seq)
        self._send(m.Full(seq, reply_to, clock.ticks, clock.queue_tick, clock.machine_tick, sealed))
        sender.sent(clock, seq, sealed)
        self.counters.full_syncs += 1

    def payload(self, frame: bytes) -> None:
        """Sends the frame of a PAYLOAD. It is encoded once, and sent in as many sessions as it takes."""
        self._send_frame(m.Payload, frame)
        self.counters.payloads += 1

    # Inside

    def _send(self, message: m.Message, now: float | None = None) -> None:
        phase = self._phase_after(type(message))
        frame = encode(message)
        self._queue(frame)
        self._entered(phase, now)

    def _send_frame(self, kind: type[m.Message], frame: bytes) -> None:
        self._phase_after(kind)
        self._queue(frame)

    def _phase_after(self, kind: type[m.Message]) -> Phase:
        phase = self._sendable.get(kind)
        if phase is None:
            legal = legal_kinds(self.phase, self.role)
            raise Misuse(f"the {self.role.value} cannot send {kind.__name__}: expected {legal} ({self.phase.value})")
        return phase

    def _queue(self, frame: bytes) -> None:
        self._outgoing.append(frame)
        self.counters.frames_out += 1
        self.counters.bytes_out += len(frame)

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

    def _to_client(self) -> ClockSender:
        if self._sender is None or self.phase is not Phase.READY:
            raise Misuse(f"there is nobody to send a clock to ({self.phase.value})")
        return self._sender

    def _ask_if_out_of_step(self, now: float) -> None:
        following = self._following
        if following is not None and following.asks and self.phase is Phase.READY:
            number = self._calls.last + 1
            self._send(m.SyncRequest(number))
            self._calls.made(number)
            following.asked(number, now + self.timing.sync)

    # Reactions: each checks first, then changes

    def _on_hello(self, hello: m.Hello, now: float) -> list[e.Event]:
        return [e.HelloReceived(hello)]

    def _on_welcome(self, welcome: m.Welcome, now: float) -> list[e.Event]:
        if welcome.version != m.VERSION:
            raise PeerFault(f"the server chose version {welcome.version}, offered was {m.VERSION}", Code.VERSION)
        if welcome.names is not None and len(welcome.names) != len(welcome.time):
            raise PeerFault(f"{len(welcome.names)} names for {len(welcome.time)} ticks")
        clock = Clock(welcome.time, welcome.queue_tick, welcome.machine_tick)
        self.id = welcome.session
        self._following = Following(clock, welcome.seq, self.counters)
        return [e.WelcomeReceived(welcome, clock)]

    def _on_reject(self, reject: m.Reject, now: float) -> list[e.Event]:
        return [e.RejectReceived(reject.code, reject.message, reject.retry_after)]

    def _on_ready(self, ready: m.Ready, now: float) -> list[e.Event]:
        if ready.session != self.id:
            raise PeerFault("READY for another session", Code.STALE_SESSION)
        return [e.Established()]

    def _on_ping(self, ping: m.Ping, now: float) -> list[e.Event]:
        self._send(m.Pong(ping.nonce, ping.time))
        if self._following is not None:
            self._following.told(ping.seq)
        return []

    def _on_pong(self, pong: m.Pong, now: float) -> list[e.Event]:
        self.keepalive.answered(pong.nonce, now)
        return []

    def _on_bye(self, bye: m.Bye, now: float) -> list[e.Event]:
        return [e.ByeReceived(bye.reason, bye.reconnect)]

    def _on_mutation(self, call: m.Mutation, now: float) -> list[e.Event]:
        self.counters.calls += 1
        return [e.MutationRequested(call.id, _KINDS[type(call)], call.states, call.args, call.event)]

    def _on_sync(self, sync: m.SyncRequest, now: float) -> list[e.Event]:
        return [e.SyncRequested(sync.id)]

    def _on_ack(self, ack: m.PayloadAck, now: float) -> list[e.Event]:
        return [e.PayloadSettled(ack.token, ack.consumed)] if ack.consumed else []

    def _on_nack(self, nack: m.PayloadNack, now: float) -> list[e.Event]:
        return [e.PayloadSettled(nack.token, False, nack.code, nack.message)]

    def _on_result(self, result: m.Result, now: float) -> list[e.Event]:
        if not self._calls.was_made(result.id):
            raise PeerFault(f"an answer to call {result.id}, which was not made")
        if result.result > 1:
            raise PeerFault(f"result {result.result} of call {result.id}: expected 0 (executed) or 1 (canceled)")
        change = Change(result.seq, result.queue, result.machine, result.changes, result.hash)
        following = self._source()
        events = following.change(change) if result.seq else []
        if self._calls.answered(result.id):
            events += following.outcome(e.Replied(result.id, result.result == 0))
        return events

    def _on_error(self, error: m.Error, now: float) -> list[e.Event]:
        refused = CallRefused(error.code, error.message, retryable=error.retryable, details=error.details)
        if error.id == 0:
            return [e.SessionFailed(refused)]
        if not self._calls.was_made(error.id):
            raise PeerFault(f"an answer to call {error.id}, which was not made")
        if self._calls.answered(error.id):
            return self._source().outcome(e.CallFailed(error.id, refused))
        return []

    def _on_clock(self, push: m.ClockPush, now: float) -> list[e.Event]:
        events = self._source().change(Change(push.seq, push.queue, push.machine, push.changes, push.hash))
        self.counters.pushes += 1
        return events

    def _on_full(self, full: m.Full, now: float) -> list[e.Event]:
        events = self._source().full(full)
        if self._calls.answered(full.reply_to):
            events.append(e.Replied(full.reply_to, executed=True))
        return events

    def _on_payload(self, payload: m.Payload, now: float) -> list[e.Event]:
        self.counters.payloads += 1
        return [e.PayloadReceived(payload)]

    def _source(self) -> Following:
        assert self._following is not None, "the table lets clocks through only after WELCOME"
        return self._following


_REACTIONS: Final[Mapping[type[m.Message], Callable[[Session, Any, float], list[e.Event]]]] = {
    m.Hello: Session._on_hello,
    m.Welcome: Session._on_welcome,
    m.Reject: Session._on_reject,
    m.Ready: Session._on_ready,
    m.Ping: Session._on_ping,
    m.Pong: Session._on_pong,
    m.Bye: Session._on_bye,
    m.Add: Session._on_mutation,
    m.Remove: Session._on_mutation,
    m.Set: Session._on_mutation,
    m.SyncRequest: Session._on_sync,
    m.Result: Session._on_result,
    m.Error: Session._on_error,
    m.ClockPush: Session._on_clock,
    m.Full: Session._on_full,
    m.Payload: Session._on_payload,
    m.PayloadAck: Session._on_ack,
    m.PayloadNack: Session._on_nack,
}
