"""The client's half of a session: it asks for mutations, and follows the clock of the source.

What it does with payloads is in `receiving`.

A session may continue an earlier one after a drop. If the server still knows that one, calls without an answer are sent
again under their numbers; if not, their outcome is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Final

from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.calls import MAX_CALLS, NEVER, Calls
from asyncmachine.rpc.clock import Change, Clock
from asyncmachine.rpc.codec import encode
from asyncmachine.rpc.counters import Statistics
from asyncmachine.rpc.errors import CallRefused, CallTimedOut, Code, HandshakeFailed, Misuse, PeerFault, UnknownOutcome
from asyncmachine.rpc.features import ASK, GROWN, STEPS, UPSTREAM, known
from asyncmachine.rpc.following import Following
from asyncmachine.rpc.legality import Phase, Role
from asyncmachine.rpc.probing import WITHIN, Doubt
from asyncmachine.rpc.receiving import ReceivingSession
from asyncmachine.rpc.session import IS_IT_OURS, Reactions, Session
from asyncmachine.rpc.timing import NATIVE, Timing
from asyncmachine.rpc.transport import FRAME_TOO_LARGE, LOST, NORMAL, TransportClosed

PATIENCE: Final = 0.5
"""Seconds that a client lets the server ask first."""

NOTIFICATIONS: Final = 256
"""After so many notifications in a row the server is asked whether they have arrived."""

_CALLS: Final[Mapping[str, type[m.Mutation]]] = {"add": m.Add, "remove": m.Remove, "set": m.Set}


class ClientSession(ReceivingSession):
    """The client's side. `after` is the session that it would like to continue."""

    __slots__ = (
        "_doubt", "_following", "_looking", "_offered", "_received_there", "_wanted", "calls", "epoch", "is_left",
        "questions", "syncs",
    )  # fmt: skip

    role = Role.CLIENT

    def __init__(self, now: float, timing: Timing = NATIVE, after: ClientSession | None = None) -> None:
        super().__init__(now, timing, PATIENCE, timing.answer)
        self._following: Following | None = None
        self.calls = Calls(timing.retry)
        self._doubt = None if timing.doubt is None else Doubt(timing.doubt)
        self.epoch = 0
        self.syncs = 0
        self.questions = 0
        self.is_left = False
        """Whether another connection has taken this one's place, and the session goes on there."""
        self._wanted: dict[int, None] = {}  # an empty set takes three times as much
        self._received_there = 0
        self._looking: float | None = None
        self._offered: tuple[str, ...] = ()
        self.partial = None
        # One that was never welcomed has nothing itself.
        self._lender = after if after is None or after._following is not None else after._lender
        if after is not None:
            self.id, self.epoch, self.calls, self.counters = after.id, after.epoch, after.calls, after.counters

    # What the shell says

    def hello(self, hello: m.Hello) -> None:
        """Introduces this client."""
        self._send(hello)
        self._offered = hello.features

    @property
    def is_busy(self) -> bool:
        """Whether an end of the connection would hold something up: calls without an answer, a large payload."""
        return len(self.calls) > 0 or self.partial is not None

    @property
    def resume(self) -> m.Resume | None:
        """What a HELLO asks to continue."""
        return m.Resume(self.id, self.epoch) if self.id else None

    def ready(self, now: float, watches: Iterable[m.WhenArgs] = ()) -> None:
        """Tells the server that its welcome is applied: calls and pushes are legal from now on.

        What the client waits for goes ahead of the calls that are sent again, which may be what it waits for.
        """
        self._send(m.Ready(self.id), now)
        for watch in watches:
            self._send(watch)
        self._ask_again(self._received_there, now)
        self._go_on()

    def call(
        self,
        kind: e.MutationKind,
        states: tuple[int, ...],
        args: m.WireArgs | None,
        source: m.Source | None,
        now: float,
        within: float | None = None,
        trace: bytes = b"",
    ) -> int:
        """Asks the source for a mutation. Its number comes back in `Replied` or `CallFailed`.

        It fails if there is no answer `within` so many seconds; a source that is late does not run it then. Raises
        `TooLarge` and other kinds of `Unsendable`, and `Overloaded` when too many calls are open.
        """
        milliseconds = 0 if within is None else max(1, int(within * 1000))
        number = self._ask(_CALLS[kind](self.calls.next(), states, args, source, milliseconds, trace), now, within)
        self.counters.calls += 1
        return number

    def notify(
        self, states: tuple[int, ...], args: m.WireArgs | None, source: m.Source | None, now: float, trace: bytes = b""
    ) -> int:
        """Asks the source to add states, and for no answer. Raises as `call` does."""
        number = self._ask(m.AddUnanswered(self.calls.next(), states, args, source, 0, trace), now, NEVER)
        self.counters.notifies += 1
        if self.calls.notifications % NOTIFICATIONS == 0:
            self._ping(now)  # the answer tells how many have arrived
        return number

    def sync(self) -> int:
        """Asks for the whole clock. Its number comes back in `Synced`, as it does if the session asks by itself."""
        self._send(m.SyncRequest(self.syncs + 1))
        self.syncs += 1
        self._wanted[self.syncs] = None
        return self.syncs

    def ask_arrived(self, now: float) -> None:
        """Asks which notifications have arrived, if any are open. Of other answers only those to calls tell that."""
        if self.calls.notifications:
            self._ping(now)

    def ask_args(self) -> int:
        """Asks for the names of arguments. Its number comes back in `QuestionAnswered`. Raises `Misuse`, as `can`."""
        return self._question(m.ArgsRequest(self.questions + 1))

    def can(self, kind: e.CanKind, states: tuple[int, ...], args: m.WireArgs | None) -> int:
        """Asks whether states could be added or removed. Raises `Misuse` if the server does not know questions."""
        return self._question(m.Can(self.questions + 1, states, kind == "remove", args))

    def watch(self, watch: m.WhenArgs) -> None:
        """Asks to be told when a state is called with these arguments. The answer is `Fired`."""
        self._send(watch)

    def unwatch(self, token: int) -> None:
        """Tells that this is over: it has fired, or nobody waits for it any more."""
        self._send(m.WhenCancel(token))

    def torn(self, end: TransportClosed) -> list[e.Event]:
        """The transport was closed by nobody here. Who was not welcomed would else come back, and say nothing."""
        if self.phase is not Phase.GREETED:
            return []
        if end.code == NORMAL:
            why = f": {end.reason}" if end.reason else ""
            return [e.SessionFailed(HandshakeFailed(f"the other side has left before it was ready{why}"))]
        cure = f": {IS_IT_OURS}" if end.code in (LOST, FRAME_TOO_LARGE) else ""
        return [e.SessionFailed(HandshakeFailed(f"the connection was not welcomed, but {end}{cure}"))]

    def end(self) -> list[e.Event]:
        """The transport has closed. Calls without an answer stay open, for a session that continues this one."""
        super().end()
        return self._following.left() if self._following is not None else []

    def leave(self) -> list[e.Event]:
        """Another connection continues this session: nothing more is taken here. Returns what was held back."""
        super().leave()
        self.is_left = True
        return self._following.left() if self._following is not None else []

    def abandon(self) -> list[e.Event]:
        """Nothing continues this session: the outcome of its open calls is unknown."""
        self._drop_partial()
        return self._lose_calls()

    def expired(self, now: float) -> list[e.Event]:
        """Calls whose time is over. For a shell that has no connection; `tick` tells them else."""
        return [
            e.CallFailed(call, CallTimedOut("no answer within the time for a call: it may still run"))
            for call in self.calls.expired(now)
        ]

    # Inside

    def _ask(self, message: m.Mutation, now: float, within: float | None) -> int:
        self._phase_after(type(message))
        frame = encode(message)
        self._queue(frame)
        self.calls.made(frame, now, now + (self.timing.call if within is None else within))
        if self._doubt is not None:
            self._doubt.called(now)
        return message.id

    def _question(self, message: m.ArgsRequest | m.Can) -> int:
        if self.phase is Phase.READY and ASK not in self.features:
            raise Misuse("the server does not know this question")
        self._send(message)
        self.questions += 1
        return self.questions

    def _lose_calls(self) -> list[e.Event]:
        lost = "the connection ended before the source had told of it: it may have run or not"
        return [e.CallFailed(call, UnknownOutcome(lost)) for call in self.calls.give_up()]

    def _ask_again(self, received: int, made_before: float) -> int:
        """Sends calls again that have not arrived, and asks for the answers of those that have."""
        missing = self.calls.missing(received, made_before)
        for number, frame in missing:
            self._queue(frame or encode(m.Add(number, ())))
        self.counters.retries += len(missing)
        return len(missing)

    def _due(self) -> float:
        due = self.calls.deadline
        if self._doubt is not None and len(self.calls):
            due = min(due, self._doubt.at)
        sync = self._following.deadline if self._following is not None else None
        return due if sync is None or due < sync else sync

    def _do_due(self, now: float) -> list[e.Event]:
        events = self.expired(now)
        if self.calls.looks(now):
            self._looking = now
            self._ping(now)  # its answer tells what has arrived
        if self._doubt is not None and self._doubt.looks(now, self.keepalive.heard_at, waiting=len(self.calls) > 0):
            self.probe(now, WITHIN)
        if self._following is not None:
            self._following.look(now)
            self._received(now)
        return events

    def _received(self, now: float) -> None:
        following = self._following
        if following is not None and following.asks and self._sendable.get(m.SyncRequest) is not None:
            following.asked(self.sync(), now + self.timing.sync)

    def statistics(self, now: float) -> Statistics:
        """The counters as they are now."""
        return Statistics.of(self.counters, len(self.calls), now - self.keepalive.heard_at, self.keepalive.rtt)

    def _arrived(self) -> None:
        if self.calls.emptied is not None:
            self.calls.emptied()

    def _source(self) -> Following:
        assert self._following is not None, "the table lets clocks through only after WELCOME"
        return self._following

    def _reads(self, feature: str) -> bool:
        return feature in (self._offered if self.phase is Phase.GREETED else self.features)

    def _answered(self, number: int, now: float) -> bool:
        if not self.calls.was_made(number):
            raise PeerFault(f"an answer to call {number}, which was not made")
        call = self.calls.answered(number, now)
        if call is None:
            return False
        self.counters.answered_after(now - call.made_at)
        return True

    def _none_left(self, before: int) -> list[e.Event]:
        """What to tell when there may be no open call any more, of which there were so many."""
        return [e.CallsArrived()] if before and not len(self.calls) else []

    # Reactions

    def _on_welcome(self, welcome: m.Welcome, now: float) -> list[e.Event]:
        if welcome.version != m.VERSION:
            raise PeerFault(f"the server chose version {welcome.version}, offered was {m.VERSION}", Code.VERSION)
        if welcome.names is not None and len(welcome.names) != len(welcome.time):
            raise PeerFault(f"{len(welcome.names)} names for {len(welcome.time)} ticks")
        if welcome.resumed and (welcome.session != self.id or not self.id):
            raise PeerFault("another session is continued than the one that was asked for", Code.STALE_SESSION)
        if not set(welcome.features) <= set(self._offered):
            raise PeerFault(f"the server chose {welcome.features}, offered was {self._offered}")
        if welcome.away and UPSTREAM not in welcome.features:
            raise PeerFault(f"the server uses {UPSTREAM!r}, chosen is {welcome.features}")
        self.keepalive.greeted(now)
        clock = Clock(welcome.time, welcome.queue_tick, welcome.machine_tick)
        events: list[e.Event] = []
        if welcome.resumed:
            self.calls.arrived(welcome.received, now)
            self._received_there = welcome.received
        else:
            events += self._lose_calls()
            self.calls.reset()
        self.calls.limit = min(MAX_CALLS, (welcome.limits and welcome.limits.calls) or MAX_CALLS)
        self.id, self.epoch, self.features = welcome.session, welcome.epoch, known(welcome.features)
        self._take_back()
        self._following = Following(clock, welcome.seq, self.counters)
        return [*events, e.WelcomeReceived(welcome, clock)]

    def _on_bye(self, bye: m.Bye, now: float) -> list[e.Event]:
        events = super()._on_bye(bye, now)
        if self.phase is Phase.READY:
            return events
        # Who was not welcomed would else come back, and say nothing.
        why = f": {bye.reason}" if bye.reason else ""
        return [e.SessionFailed(HandshakeFailed(f"the server said goodbye before the session was ready{why}")), *events]

    def _on_reject(self, reject: m.Reject, now: float) -> list[e.Event]:
        return [e.RejectReceived(reject.code, reject.message, reject.retry_after)]

    def _on_ping(self, ping: m.Ping, now: float) -> list[e.Event]:
        self._send(m.Pong(ping.nonce, ping.time))
        if self._following is not None:
            self._following.told(ping.seq)
        return []

    def _on_pong(self, pong: m.Pong, now: float) -> list[e.Event]:
        self.keepalive.answered(pong.nonce, now)
        before = len(self.calls)
        self.calls.arrived(pong.received, now)
        if self._looking is None or pong.nonce != self.keepalive.pings or self.phase is not Phase.READY:
            return self._none_left(before)
        repeated, self._looking = self._ask_again(pong.received, self._looking), None
        return [e.CallsRepeated(repeated)] if repeated else self._none_left(before)

    def _on_result(self, result: m.Result, now: float) -> list[e.Event]:
        if not self.calls.was_made(result.id):
            raise PeerFault(f"an answer to call {result.id}, which was not made")
        if result.result > 1:
            raise PeerFault(f"result {result.result} of call {result.id}: expected 0 (executed) or 1 (canceled)")
        following, before = self._source(), len(self.calls)
        events: list[e.Event] = []
        if result.seq:
            change = Change(result.seq, result.queue, result.machine, result.changes, result.hash)
            events = following.change(change)
            self.counters.piggybacks += 1
        if self._answered(result.id, now):
            events += following.outcome(e.Replied(result.id, result.result == 0, result.reason))
        else:
            events += self._none_left(before)
        return events

    def _on_reply(self, reply: m.Reply, now: float) -> list[e.Event]:
        if not 0 < reply.id <= self.questions:
            raise PeerFault(f"an answer to question {reply.id}, which was not asked")
        return [e.QuestionAnswered(reply)]

    def _on_error(self, error: m.Error, now: float) -> list[e.Event]:
        refused = CallRefused(error.code, error.message, retryable=error.retryable, details=error.details)
        if error.id == 0:
            return [e.SessionFailed(refused)]
        before = len(self.calls)
        is_news = self._answered(error.id, now) or self.calls.failed(error.id)
        return self._source().outcome(e.CallFailed(error.id, refused)) if is_news else self._none_left(before)

    def _on_clock(self, push: m.ClockPush, now: float) -> list[e.Event]:
        events = self._source().change(Change(push.seq, push.queue, push.machine, push.changes, push.hash))
        self.counters.pushes += 1
        return events

    def _on_steps(self, told: m.ClockSteps, now: float) -> list[e.Event]:
        self._uses(STEPS)
        events = self._source().steps(told)
        self.counters.pushes += 1
        return events

    def _on_full(self, full: m.Full, now: float) -> list[e.Event]:
        return self._synced(full.reply_to, self._source().full(full))

    def _on_grown(self, grown: m.Grown, now: float) -> list[e.Event]:
        self._uses(GROWN)
        return self._synced(grown.reply_to, self._source().grown(grown))

    def _on_upstream(self, told: m.Upstream, now: float) -> list[e.Event]:
        self._uses(UPSTREAM)
        return [e.UpstreamTold(told.away)]

    def _synced(self, number: int, events: list[e.Event]) -> list[e.Event]:
        if number in self._wanted:
            del self._wanted[number]
            events.append(e.Synced(number))
        return events

    def _on_fired(self, fired: m.WhenFired, now: float) -> list[e.Event]:
        return [e.Fired(fired.token, fired.code, fired.message)]

    reactions: ClassVar[Reactions] = {
        m.Welcome: _on_welcome,
        m.Reject: _on_reject,
        m.Ping: _on_ping,
        m.Pong: _on_pong,
        m.Bye: _on_bye,
        m.GoAway: Session._on_go_away,
        m.Result: _on_result,
        m.Error: _on_error,
        m.Reply: _on_reply,
        m.ClockPush: _on_clock,
        m.ClockSteps: _on_steps,
        m.Full: _on_full,
        m.Grown: _on_grown,
        m.Upstream: _on_upstream,
        m.Payload: ReceivingSession._on_payload,
        m.Chunk: ReceivingSession._on_chunk,
        m.PayloadWithdrawn: ReceivingSession._on_withdrawn,
        m.WhenFired: _on_fired,
    }
