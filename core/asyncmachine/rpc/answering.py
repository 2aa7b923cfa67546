"""The server's half of a session: it answers a client's calls, and tells it what changes in the source's clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

from msgspec.structs import replace

from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.calls import NEVER
from asyncmachine.rpc.chunks import Parcel, Transfer
from asyncmachine.rpc.clock import Clock, ClockSender, checksum, differences, seal
from asyncmachine.rpc.codec import encode
from asyncmachine.rpc.errors import CallRefused, Code, Misuse, Outgrown, PeerFault, TooLarge, Unsendable
from asyncmachine.rpc.features import CHUNKS, GROWN, STEPS, UPSTREAM, known
from asyncmachine.rpc.legality import Phase, Role
from asyncmachine.rpc.limits import clipped, sendable
from asyncmachine.rpc.requests import Known, Requests
from asyncmachine.rpc.session import Reactions, Session
from asyncmachine.rpc.timing import NATIVE, Timing

_KINDS: Final[Mapping[type[m.Mutation], e.MutationKind]] = {
    m.Add: "add",
    m.Remove: "remove",
    m.Set: "set",
    m.AddUnanswered: "add",
}


class Taken(NamedTuple):
    """A transition of the source: its kind by number, the states it was called with, and the clock at its end."""

    kind: int
    called: tuple[int, ...]
    accepted: bool
    clock: Clock


class ServerSession(Session):
    """The server's side."""

    __slots__ = ("_growing", "_grown", "_offered", "_sender", "requests", "transfer")

    role = Role.SERVER

    def __init__(self, now: float, timing: Timing = NATIVE) -> None:
        super().__init__(now, timing, 0.0, timing.hello)
        self._sender: ClockSender | None = None
        # Names and schema, once there are more than the welcome told; and whether the peer has yet to be sent them.
        self._grown: tuple[tuple[str, ...], dict[str, Any] | None] | None = None
        self._growing = False
        self.requests = Requests()
        self.transfer: Transfer | None = None
        self._offered: tuple[str, ...] = ()

    # What the shell says

    def welcome(self, welcome: m.Welcome, now: float, after: ServerSession | None = None) -> None:
        """Takes the client in. The clock in the message is where the differences start.

        `after` is the session that is continued: its calls are this one's.
        """
        phase = self._phase_after(m.Welcome)
        frame = encode(welcome)
        self.id, self.features = welcome.session, welcome.features
        self._queue(frame)
        self._entered(phase, now)
        self._sender = ClockSender(Clock(welcome.time, welcome.queue_tick, welcome.machine_tick), welcome.seq)
        if after is not None:
            self.requests, self.counters = after.requests, after.counters

    def reject(self, code: str, message: str, retry_after: float | None = None) -> None:
        """Refuses the client. The transport is to be closed once this is sent."""
        self._send(m.Reject(clipped(code, m.NAME), clipped(message), retry_after))

    def reply(self, id: int, executed: bool, clock: Clock, reason: str = "") -> None:
        """Answers a mutation, with everything that has changed since the peer was told last.

        The `reason` is why it was canceled, if the peer may know.
        """
        reason = clipped(reason)
        sender = self._to_client()
        change = None if self._growing else sender.change(clock)
        outcome = 0 if executed else 1
        if change is None:
            self.full(clock)
        if change is None or not (change.changes or change.queue or change.machine):
            self._send(m.Result(id, outcome, reason=reason))
        else:
            self._send(m.Result(id, outcome, *change, reason))
            sender.sent(clock, change.seq, change.hash)
            self.counters.piggybacks += 1

    def answer(
        self, id: int, *, executed: bool = False, names: tuple[str, ...] = (), error: CallRefused | None = None
    ) -> None:
        """Answers a question, or says why not. Raises `Unsendable` for names that are too many, or too long."""
        told = None if error is None else sendable(error)
        self._send(m.Reply(id, executed, names, told.code if told else "", told.message if told else ""))

    def refuse(self, id: int, error: CallRefused) -> None:
        """Answers a call with an error. Details that cannot be sent are left out."""
        told = sendable(error)
        answer = m.Error(id, told.code, told.message, told.state, told.retryable, told.details or None)
        try:
            self._send(answer)
        except Unsendable:
            self._send(replace(answer, details=None))

    @property
    def known(self) -> Clock:
        """The clock that the peer has been told."""
        return self._to_client().last

    def differs(self, clock: Clock) -> bool:
        """Whether the peer has not been told this clock."""
        return self._growing or clock != self._to_client().last

    def push(self, clock: Clock) -> None:
        """Sends what has changed, if anything has."""
        sender = self._to_client()
        if not self.differs(clock):
            return
        change = None if self._growing else sender.change(clock)
        if change is None:
            self.full(clock)
        else:
            self._send(m.ClockPush(*change))
            sender.sent(clock, change.seq, change.hash)
        self.counters.pushes += 1

    def steps(self, taken: Sequence[Taken]) -> None:
        """Sends what changed, one transition after another; as a whole clock if that is not possible."""
        if STEPS not in self.features:
            raise Misuse("this peer does not know steps")
        sender = self._to_client()
        before, clock = sender.last, taken[-1].clock
        change = None if self._growing else sender.change(clock)
        told: list[m.Step] = []
        for step in taken if change is not None else ():
            queue, changes = step.clock.queue_tick - before.queue_tick, differences(before.ticks, step.clock.ticks)
            if queue < 0 or min(changes[1::2], default=0) < 0:
                change = None
                break
            told.append(m.Step(step.kind, step.called, queue, changes, step.accepted))
            before = step.clock
        if change is not None:
            try:
                self._send(m.ClockSteps(change.seq, tuple(told), change.machine, change.hash))
            except TooLarge:
                change = None
            else:
                sender.sent(clock, change.seq, change.hash)
        if change is None:
            self.full(clock)
        self.counters.pushes += 1

    def grow(self, names: tuple[str, ...], schema: dict[str, Any] | None) -> None:
        """From now on the session has these names; clocks have to have as many ticks. The next message tells it.

        Raises `Outgrown` if the peer does not know that message.
        """
        if GROWN not in self.features:
            raise Outgrown("the source has more states: come back to learn of them")
        self._grown, self._growing = (names, schema), True

    def full(self, clock: Clock, reply_to: int = 0) -> None:
        """Sends everything; the names too if there are more than the welcome told, since that may have been lost."""
        sender = self._to_client()
        seq = sender.seq + 1
        sealed = seal(checksum(clock), seq)
        ticks, queue_tick, machine_tick = clock.ticks, clock.queue_tick, clock.machine_tick
        if self._grown is None:
            self._send(m.Full(seq, reply_to, ticks, queue_tick, machine_tick, sealed))
        else:
            self._send(m.Grown(seq, reply_to, *self._grown, ticks, queue_tick, machine_tick, sealed))
            self._growing = False
        sender.sent(clock, seq, sealed)
        self.counters.full_syncs += 1

    def upstream(self, away: bool) -> None:
        """Tells that the source, a mirror itself, is away from its own source, or back."""
        if UPSTREAM not in self.features:
            raise Misuse("this peer does not know of what is behind the source")
        self._send(m.Upstream(away))

    def payload(self, frame: bytes) -> None:
        """Sends the frame of a PAYLOAD. It is encoded once, and sent in as many sessions as it takes."""
        self._phase_after(m.Payload)
        self._queue(frame)
        self.counters.payloads += 1

    def announce(self, frame: bytes, parcel: Parcel) -> None:
        """Sends the PAYLOAD frame of a large one, whose data go out by `chunk` as the client wants them.

        One is under way at a time: one that was before is left.
        """
        if CHUNKS not in self.features:
            raise Misuse("this peer does not know chunks")
        self.payload(frame)
        self.transfer = Transfer(parcel)

    def chunk(self) -> bool:
        """Sends the next part of what is under way. False: none may go now, before the client has told of more."""
        found = self.transfer.next() if self.transfer is not None else None
        if self.transfer is None or found is None:
            return False
        self._send(found)
        self.transfer.sent(found)
        self.counters.chunks += 1
        return True

    def withdraw(self, token: bytes) -> None:
        """Tells that a large payload will not come any more."""
        self._send(m.PayloadWithdrawn(token))

    def leave(self) -> list[e.Event]:
        """Another connection continues this session. What still comes here was not taken: it is sent again there."""
        self.transfer = None
        return super().leave()

    def end(self) -> list[e.Event]:
        """The transport has closed. What is under way begins anew in the next session."""
        self.transfer = None
        return super().end()

    def fired(self, token: int, tick: int, code: str = "", message: str = "") -> None:
        """Tells that what was watched for has happened, or (with a code) that it will not be told."""
        self._send(m.WhenFired(token, tick, clipped(code, m.NAME), clipped(message)))

    # Inside

    def _to_client(self) -> ClockSender:
        if self._sender is None or self.phase is not Phase.READY:
            raise Misuse(f"there is nobody to send a clock to ({self.phase.value})")
        return self._sender

    def _knows(self, feature: str) -> bool:
        return feature in (self._offered if self.phase is Phase.GREETED else self.features)

    def _due(self) -> float:
        return NEVER

    def _do_due(self, now: float) -> list[e.Event]:
        return []

    def _last_clock(self) -> int:
        return self._sender.seq if self._sender is not None else 0

    # Reactions

    def _on_hello(self, hello: m.Hello, now: float) -> list[e.Event]:
        self._offered = known(hello.features)
        return [e.HelloReceived(hello)]

    def _on_ready(self, ready: m.Ready, now: float) -> list[e.Event]:
        if ready.session != self.id:
            raise PeerFault("READY for another session", Code.STALE_SESSION)
        return [e.Established()]

    def _on_ping(self, ping: m.Ping, now: float) -> list[e.Event]:
        self._send(m.Pong(ping.nonce, ping.time, self.requests.last))
        return []

    def _on_pong(self, pong: m.Pong, now: float) -> list[e.Event]:
        self.keepalive.answered(pong.nonce, now)
        return []

    def _on_mutation(self, call: m.Mutation, now: float) -> list[e.Event]:
        known, answered = self.requests.judge(call.id), type(call) is not m.AddUnanswered
        if known is Known.NEW:
            self.requests.take(call.id)
            self._count(answered)
            expires = now + call.deadline / 1000 if call.deadline else None
            kind = _KINDS[type(call)]
            return [
                e.MutationRequested(
                    call.id, kind, call.states, call.args, call.event, expires, call.trace, answered, self._size
                )
            ]
        if known is Known.EARLY:
            self.counters.early += 1
            return []
        self.counters.repeats += 1
        if known is Known.RUNNING or not answered:
            return []
        forgotten = CallRefused(Code.UNKNOWN_OUTCOME, "it came too long ago: the source may have run it or not")
        answer = forgotten if known is Known.FORGOTTEN else self.requests.answer(call.id)
        return [e.AnswerRequested(call.id, answer)]

    def _count(self, answered: bool) -> None:
        if answered:
            self.counters.calls += 1
        else:
            self.counters.notifies += 1

    def _on_sync(self, sync: m.SyncRequest, now: float) -> list[e.Event]:
        return [e.SyncRequested(sync.id)]

    def _on_args(self, asked: m.ArgsRequest, now: float) -> list[e.Event]:
        return [e.ArgsRequested(asked.id)]

    def _on_can(self, asked: m.Can, now: float) -> list[e.Event]:
        return [e.CanRequested(asked.id, "remove" if asked.removes else "add", asked.states, asked.args, self._size)]

    def _on_watch(self, watch: m.WhenArgs, now: float) -> list[e.Event]:
        return [e.WatchRequested(watch.token, watch.state, watch.args, self._size)]

    def _on_unwatch(self, unwatch: m.WhenCancel, now: float) -> list[e.Event]:
        return [e.WatchEnded(unwatch.token)]

    def _on_ack(self, ack: m.PayloadAck, now: float) -> list[e.Event]:
        if ack.consumed:
            return [e.PayloadSettled(ack.token, accepted=True)]
        if self.transfer is not None and self.transfer.parcel.token == ack.token:
            self.transfer.check(ack.received)
            self.transfer.told(ack.received)
        return [e.PayloadWanted(ack.token, ack.received)]

    def _on_nack(self, nack: m.PayloadNack, now: float) -> list[e.Event]:
        return [e.PayloadSettled(nack.token, False, nack.code, nack.message)]

    reactions: ClassVar[Reactions] = {
        m.Hello: _on_hello,
        m.Ready: _on_ready,
        m.Ping: _on_ping,
        m.Pong: _on_pong,
        m.Bye: Session._on_bye,
        m.GoAway: Session._on_go_away,
        m.Add: _on_mutation,
        m.Remove: _on_mutation,
        m.Set: _on_mutation,
        m.AddUnanswered: _on_mutation,
        m.SyncRequest: _on_sync,
        m.ArgsRequest: _on_args,
        m.Can: _on_can,
        m.WhenArgs: _on_watch,
        m.WhenCancel: _on_unwatch,
        m.PayloadAck: _on_ack,
        m.PayloadNack: _on_nack,
    }
