"""One conversation, message by message. Theory and table are in `asyncmachine.rpc.legality`."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
from msgspec.structs import replace

from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.answering import ServerSession, Taken
from asyncmachine.rpc.asking import ClientSession
from asyncmachine.rpc.calls import MAX_CALLS
from asyncmachine.rpc.clock import Clock, checksum, seal
from asyncmachine.rpc.codec import encode
from asyncmachine.rpc.errors import (
    CallRefused,
    CallTimedOut,
    Code,
    HandshakeFailed,
    Misuse,
    Overloaded,
    PeerFault,
    PeerSilent,
    TickRange,
    TooLarge,
    UnknownOutcome,
)
from asyncmachine.rpc.legality import TABLE, Phase, Role
from tests.rpc.duo import HELLO, SESSION, Duo, ready, sent, state_of, welcome

KINDS: tuple[type[m.Message], ...] = get_args(m.AnyMessage)

SAMPLES: dict[type[m.Message], m.Message] = {
    m.Hello: HELLO,
    m.Welcome: welcome(Clock((0, 0, 0), 1)),
    m.Reject: m.Reject("BUSY"),
    m.Ready: m.Ready(SESSION),
    m.Ping: m.Ping(1),
    m.Pong: m.Pong(1),
    m.Bye: m.Bye(),
    m.Compressed: m.Compressed(b""),
    m.GoAway: m.GoAway(1000),
    m.Add: m.Add(1, (0,)),
    m.Remove: m.Remove(1, (0,)),
    m.Set: m.Set(1, (0,)),
    m.AddUnanswered: m.AddUnanswered(1, (0,)),
    m.SyncRequest: m.SyncRequest(1),
    m.WhenArgs: m.WhenArgs(1, 0),
    m.ArgsRequest: m.ArgsRequest(1),
    m.Can: m.Can(1, (0,)),
    m.Reply: m.Reply(1),
    m.WhenCancel: m.WhenCancel(1),
    m.WhenFired: m.WhenFired(1),
    m.Result: m.Result(1),
    m.Error: m.Error(1, "NO_STATE"),
    m.ClockPush: m.ClockPush(1, 1, 0, (), seal(checksum(Clock((0, 0, 0), 2)), 1)),
    m.ClockSteps: m.ClockSteps(1, (m.Step(0, (0,), 1, (0, 1)),), 0, seal(checksum(Clock((1, 0, 0), 2)), 1)),
    m.Full: m.Full(1, 0, (1, 1, 1), 1, 0, seal(checksum(Clock((1, 1, 1), 1)), 1)),
    m.Grown: m.Grown(1, 0, ("A", "B", "C", "D"), None, (1, 1, 1, 0), 1, 0, seal(checksum(Clock((1, 1, 1, 0), 1)), 1)),
    m.Upstream: m.Upstream(away=True),
    m.Payload: m.Payload(b"token", "name"),
    m.Chunk: m.Chunk(b"token", 0, b"x"),
    m.PayloadAck: m.PayloadAck(b"token"),
    m.PayloadNack: m.PayloadNack(b"token", "REFUSED"),
    m.PayloadWithdrawn: m.PayloadWithdrawn(b"token"),
}


def one_call(duo: Duo) -> None:
    """So that answers to call 1 have a call, and those to question 1 a question."""
    if duo.client.phase is Phase.READY:
        duo.client.call("add", (0,), None, None, duo.now)
        duo.client.ask_args()
        duo.client.outgoing()


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("sender", list(Role))
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_table_decides_what_is_taken_and_the_rest_changes_nothing(
    phase: Phase, sender: Role, kind: type[m.Message]
) -> None:
    duo = Duo().advance_to(phase)
    one_call(duo)
    receiver = duo.server if sender is Role.CLIENT else duo.client
    before, frame = state_of(receiver), encode(SAMPLES[kind])
    expected = TABLE[phase, sender].get(kind)
    if phase is Phase.ENDED:
        assert receiver.receive(frame, duo.now) == []
        assert state_of(receiver) == before
    elif expected is None:
        with pytest.raises(PeerFault, match=kind.__name__) as caught:
            receiver.receive(frame, duo.now)
        assert caught.value.code == Code.BAD_FRAME
        assert state_of(receiver) == before
    else:
        receiver.receive(frame, duo.now)
        assert receiver.phase is expected


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("role", list(Role))
def test_what_may_not_be_sent_is_misuse_and_changes_nothing(phase: Phase, role: Role) -> None:
    duo = Duo().advance_to(phase)
    client, server, now = duo.client, duo.server, duo.now
    session = client if role is Role.CLIENT else server
    actions: dict[Role, dict[type[m.Message], Callable[[], object]]] = {
        Role.CLIENT: {
            m.Hello: lambda: client.hello(HELLO),
            m.Ready: lambda: client.ready(now),
            m.Add: lambda: client.call("add", (0,), None, None, now),
            m.AddUnanswered: lambda: client.notify((0,), None, None, now),
            m.SyncRequest: client.sync,
            m.WhenArgs: lambda: client.watch(m.WhenArgs(1, 0, None)),
            m.WhenCancel: lambda: client.unwatch(1),
            m.ArgsRequest: client.ask_args,
            m.Can: lambda: client.can("add", (0,), None),
            m.PayloadAck: lambda: client.ack(b"t"),
            m.PayloadNack: lambda: client.nack(b"t", "REFUSED"),
        },
        Role.SERVER: {
            m.Welcome: lambda: server.welcome(welcome(duo.first), now),
            m.Reject: lambda: server.reject("BUSY", ""),
            m.Result: lambda: server.reply(1, True, Clock((1, 1, 1), 2)),
            m.Error: lambda: server.refuse(1, CallRefused("NO_STATE", "")),
            m.Reply: lambda: server.answer(1),
            m.ClockPush: lambda: server.push(Clock((1, 1, 1), 2)),
            m.ClockSteps: lambda: server.steps([Taken(0, (0,), True, Clock((1, 1, 1), 2))]),
            m.Full: lambda: server.full(Clock((1, 1, 1), 2)),
            m.Upstream: lambda: server.upstream(away=True),
            m.Payload: lambda: server.payload(encode(m.Payload(b"t", "n"))),
            m.PayloadWithdrawn: lambda: server.withdraw(b"t"),
            m.WhenFired: lambda: server.fired(1, 1),
        },
    }
    illegal = {kind: act for kind, act in actions[role].items() if kind not in TABLE[phase, role]}
    for act in illegal.values():
        before = state_of(session)
        with pytest.raises(Misuse):
            act()
        assert state_of(session) == before


def test_the_handshake_takes_three_messages() -> None:
    duo = Duo()
    duo.client.hello(HELLO)
    assert duo.to_server() == [e.HelloReceived(HELLO)]
    duo.server.welcome(welcome(Clock((1, 2, 3), 4, 5)), 0.0)
    (event,) = duo.to_client()
    assert isinstance(event, e.WelcomeReceived)
    assert event.clock == Clock((1, 2, 3), 4, 5)
    duo.client.ready(0.0)
    assert duo.to_server() == [e.Established()]
    assert duo.client.id == duo.server.id == SESSION


def test_a_refusal_ends_it() -> None:
    duo = Duo().advance_to(Phase.GREETED)
    duo.server.reject(Code.BUSY, "later", 1.0)
    assert duo.to_client() == [e.RejectReceived("BUSY", "later", 1.0)]
    assert duo.client.phase is duo.server.phase is Phase.ENDED


@pytest.mark.parametrize(
    ("change", "code"),
    [({"version": 2}, Code.VERSION), ({"names": ("A",)}, Code.BAD_FRAME)],
)
def test_a_welcome_that_does_not_fit_is_refused(change: dict[str, object], code: str) -> None:
    duo = Duo().advance_to(Phase.GREETED)
    given = welcome(duo.first)
    fields = {name: getattr(given, name) for name in given.__struct_fields__}
    before = state_of(duo.client)
    with pytest.raises(PeerFault) as caught:
        duo.client.receive(encode(m.Welcome(**{**fields, **change})), 0.0)
    assert caught.value.code == code
    assert state_of(duo.client) == before


def test_ready_names_its_session() -> None:
    duo = Duo().advance_to(Phase.WELCOMED)
    before = state_of(duo.server)
    with pytest.raises(PeerFault) as caught:
        duo.server.receive(encode(m.Ready(b"other")), 0.0)
    assert caught.value.code == Code.STALE_SESSION
    assert state_of(duo.server) == before


def test_a_call_and_its_answer_with_the_change_of_the_clock() -> None:
    duo = ready()
    number = duo.client.call("remove", (2, 1), {"a": 1}, m.Source("x", "tx", 3), duo.now)
    assert duo.to_server() == [e.MutationRequested(number, "remove", (2, 1), {"a": 1}, m.Source("x", "tx", 3), size=17)]
    duo.server.reply(number, True, Clock((0, 1, 2), 2))
    assert duo.to_client() == [e.ClockChanged(Clock((0, 1, 2), 2)), e.Replied(number, executed=True)]
    assert (duo.client.counters.pushes, duo.server.counters.pushes) == (0, 0)


def test_an_answer_without_a_change_has_no_clock_part() -> None:
    duo = ready()
    number = duo.client.call("add", (0,), None, None, duo.now)
    duo.to_server()
    duo.server.reply(number, False, duo.first)
    assert duo.to_client() == [e.Replied(number, executed=False)]


def test_answers_may_come_in_another_order() -> None:
    duo = ready()
    numbers = [duo.client.call("add", (i,), None, None, duo.now) for i in range(3)]
    duo.to_server()
    for number in reversed(numbers):
        duo.server.reply(number, True, Clock((0, 0, 0), 1 + number))
    replies = [event for event in duo.to_client() if isinstance(event, e.Replied)]
    assert [reply.id for reply in replies] == list(reversed(numbers))


def test_a_refused_call() -> None:
    duo = ready()
    number = duo.client.call("add", (9,), None, None, duo.now)
    duo.to_server()
    duo.server.refuse(number, CallRefused(Code.NO_STATE, "no state 9", retryable=True, details={"states": 3}))
    (event,) = duo.to_client()
    assert isinstance(event, e.CallFailed)
    assert isinstance(event.error, CallRefused)
    assert (event.error.code, event.error.message) == ("NO_STATE", "no state 9")
    assert (event.error.retryable, event.error.details) == (True, {"states": 3})


@pytest.mark.parametrize("answer", [m.Result(7), m.Error(7, "NO_STATE"), m.Result(0), m.Result(1, 2)], ids=repr)
def test_answers_to_calls_that_were_not_made_are_faults(answer: m.Message) -> None:
    duo = ready()
    one_call(duo)
    before = state_of(duo.client)
    with pytest.raises(PeerFault):
        duo.client.receive(encode(answer), 0.0)
    assert state_of(duo.client) == before


def test_a_second_answer_tells_nothing() -> None:
    duo = ready()
    one_call(duo)
    frame = encode(m.Result(1))
    assert duo.client.receive(frame, 0.0) == [e.Replied(1, executed=True)]
    assert duo.client.receive(frame, 0.0) == []


def test_a_session_error_fails_the_session() -> None:
    duo = ready()
    (event,) = duo.client.receive(encode(m.Error(0, "INTERNAL", "broken")), 0.0)
    assert isinstance(event, e.SessionFailed)
    assert isinstance(event.error, CallRefused)


def test_pushes_tell_what_changed_and_nothing_twice() -> None:
    duo = ready()
    duo.server.push(Clock((1, 0, 0), 2))
    duo.server.push(Clock((1, 0, 0), 2))
    duo.server.push(Clock((1, 1, 0), 3))
    assert duo.to_client() == [e.ClockChanged(Clock((1, 0, 0), 2)), e.ClockChanged(Clock((1, 1, 0), 3))]
    assert not duo.server.differs(Clock((1, 1, 0), 3))


def test_a_source_that_went_back_sends_everything() -> None:
    duo = ready(Clock((5, 5), 9, 0))
    duo.server.push(Clock((1, 0), 2, 1))
    assert duo.to_client() == [e.ClockChanged(Clock((1, 0), 2, 1))]
    one_call(duo)
    duo.server.reply(1, True, Clock((0, 0), 1, 1))
    assert duo.to_client() == [e.ClockChanged(Clock((0, 0), 1, 1)), e.Replied(1, executed=True)]


# Out of step


def lost_push(duo: Duo) -> None:
    """One push goes missing, another one tells of the gap."""
    duo.server.push(Clock((1, 0, 0), 2))
    duo.server.outgoing()
    duo.server.push(Clock((1, 1, 0), 3))
    assert duo.to_client() == []


def test_a_gap_asks_for_everything_once() -> None:
    duo = ready()
    lost_push(duo)
    duo.server.push(Clock((1, 1, 1), 4))
    assert duo.to_client() == []
    (request,) = duo.to_server()
    assert isinstance(request, e.SyncRequested)
    assert duo.client.counters.out_of_step == 1
    duo.server.full(Clock((1, 1, 1), 4), request.id)
    assert duo.to_client() == [e.ClockChanged(Clock((1, 1, 1), 4)), e.Synced(request.id)]
    duo.server.push(Clock((2, 1, 1), 5))
    assert duo.to_client() == [e.ClockChanged(Clock((2, 1, 1), 5))]


def test_an_outcome_waits_until_the_mirror_shows_it() -> None:
    duo = ready()
    one_call(duo)
    lost_push(duo)
    duo.server.reply(1, True, Clock((1, 1, 1), 4))
    assert duo.to_client() == []
    (request,) = duo.to_server()
    assert isinstance(request, e.SyncRequested)
    duo.server.full(Clock((1, 1, 1), 4), request.id)
    assert duo.to_client() == [
        e.ClockChanged(Clock((1, 1, 1), 4)),
        e.Replied(1, executed=True),
        e.Synced(request.id),
    ]


def test_a_wrong_checksum_asks_for_everything() -> None:
    duo = ready()
    duo.server.push(Clock((1, 0, 0), 2))
    (frame,) = duo.server.outgoing()
    assert duo.client.receive(frame[:-1] + bytes((frame[-1] ^ 1,)), 0.0) == []
    assert [type(message) for message in sent(duo.client)] == [m.SyncRequest]


@pytest.mark.parametrize("grown", [False, True], ids=["full", "grown"])
def test_an_answer_to_a_sync_that_comes_once_more_later_does_not_turn_the_mirror_back(grown: bool) -> None:
    duo = ready()
    lost_push(duo)
    (request,) = duo.to_server()
    assert isinstance(request, e.SyncRequested)
    ticks, more = ((1, 1, 0, 0), (2, 1, 0, 0)) if grown else ((1, 1, 0), (2, 1, 0))
    if grown:
        duo.server.grow(("S0", "S1", "S2", "S3"), None)
    duo.server.full(Clock(ticks, 3), request.id)
    (answer,) = duo.server.outgoing()
    assert duo.client.receive(answer, duo.now)
    duo.server.push(Clock(more, 5))
    assert duo.to_client() == [e.ClockChanged(Clock(more, 5))]
    assert duo.client.receive(answer, duo.now) == []
    assert duo.client.counters.duplicates == 1
    duo.server.push(Clock(more, 6))
    assert duo.to_client() == [e.ClockChanged(Clock(more, 6))]


def test_an_answer_to_a_sync_that_something_newer_overtakes_does_not_turn_the_mirror_back() -> None:
    duo = ready()
    lost_push(duo)
    (request,) = duo.to_server()
    assert isinstance(request, e.SyncRequested)
    duo.server.full(Clock((1, 1, 0), 3), request.id)
    (answer,) = duo.server.outgoing()
    duo.server.push(Clock((0, 0, 0), 1))  # back to the beginning: the source tells all of it
    assert duo.to_client() == [e.ClockChanged(Clock((0, 0, 0), 1))]
    assert duo.client.receive(answer, duo.now) == [e.Synced(request.id)], "older, but the mirror is newer"


def test_a_sync_without_an_answer_is_asked_again() -> None:
    duo = ready()
    lost_push(duo)
    assert len(duo.client.outgoing()) == 1
    duo.now = duo.client.timing.sync
    assert duo.client.deadline == duo.now
    assert duo.client.tick(duo.now) == []
    (request,) = duo.to_server()
    assert isinstance(request, e.SyncRequested)


def test_outcomes_that_are_held_back_are_told_at_the_end() -> None:
    duo = ready()
    one_call(duo)
    lost_push(duo)
    duo.server.reply(1, False, Clock((1, 1, 1), 4))
    duo.to_client()
    assert duo.client.end() == [e.Replied(1, executed=False)]


def test_a_sync_on_request() -> None:
    duo = ready()
    first, second = duo.client.sync(), duo.client.sync()
    assert duo.to_server() == [e.SyncRequested(first), e.SyncRequested(second)]
    clock = Clock((1, 0, 0), 2)
    duo.server.full(clock, first)
    duo.server.full(clock, second)
    frames = duo.server.outgoing()
    assert duo.client.receive(frames[1], 0.0) == [e.ClockChanged(clock), e.Synced(second)]
    assert duo.client.receive(frames[0], 0.0) == [e.Synced(first)], "older, but the mirror is newer"


# Payloads


def test_a_payload_and_its_fate() -> None:
    duo = ready()
    payload = m.Payload(b"tok", "name", data=[1])
    duo.server.payload(encode(payload))
    assert duo.to_client() == [e.PayloadReceived(payload)]
    duo.client.ack(b"tok")
    duo.client.nack(b"other", Code.REFUSED, "no")
    assert duo.to_server() == [
        e.PayloadSettled(b"tok", accepted=True),
        e.PayloadSettled(b"other", accepted=False, code="REFUSED", message="no"),
    ]


def test_a_payload_that_is_only_buffered_is_not_settled() -> None:
    duo = ready()
    assert duo.server.receive(encode(m.PayloadAck(b"tok", consumed=False)), 0.0) == [e.PayloadWanted(b"tok", 0)]


# Time


def test_a_server_waits_five_seconds_for_the_first_message() -> None:
    session = ServerSession(100.0)
    assert session.deadline == 105.0
    assert session.tick(104.9) == []
    (event,) = session.tick(105.0)
    assert isinstance(event, e.SessionFailed)
    assert isinstance(event.error, HandshakeFailed)
    assert str(event.error) == "the peer did not greet within 5 s"


@pytest.mark.parametrize("phase", [Phase.GREETED, Phase.WELCOMED])
def test_each_step_of_the_handshake_has_a_deadline(phase: Phase) -> None:
    duo = Duo().advance_to(phase)
    for session in (duo.client, duo.server):
        assert session.deadline == session.timing.answer
        (event,) = session.tick(session.timing.answer)
        assert isinstance(event, e.SessionFailed)


def test_silence_is_answered_by_a_ping_and_then_by_giving_up() -> None:
    duo = ready()
    assert duo.server.deadline == 15.0
    assert duo.server.tick(14.9) == []
    assert duo.server.tick(15.0) == []
    assert sent(duo.server) == [m.Ping(1, 15.0)]
    assert duo.server.deadline == 45.0
    assert duo.server.tick(44.9) == []
    (event,) = duo.server.tick(45.0)
    assert isinstance(event, e.SessionFailed)
    assert isinstance(event.error, PeerSilent)
    assert "45 s" in str(event.error)


def test_the_server_asks_before_the_client_does() -> None:
    duo = ready()
    duo.now = 15.0
    assert duo.server.deadline == duo.now
    assert duo.client.deadline == 15.5
    duo.server.tick(duo.now)
    assert duo.to_client() == []
    assert duo.client.deadline == 30.5


def test_a_ping_tells_of_a_push_that_was_lost() -> None:
    duo = ready()
    duo.server.push(Clock((1, 0, 0), 2))
    duo.server.outgoing()
    duo.now = 15.0
    duo.server.tick(duo.now)
    assert duo.to_client() == []
    (request,) = duo.to_server()
    assert isinstance(request, e.SyncRequested)
    duo.server.full(Clock((1, 0, 0), 2), request.id)
    assert duo.to_client() == [e.ClockChanged(Clock((1, 0, 0), 2)), e.Synced(request.id)]
    duo.now = 30.0
    duo.server.tick(duo.now)
    assert duo.to_client() == []
    assert duo.to_server() == []


def test_a_number_that_is_too_high_is_noticed_and_mended() -> None:
    duo = ready()
    forged = Clock((1, 0, 0), 2)
    duo.client.receive(encode(m.Full(9, 0, forged.ticks, 2, 0, seal(checksum(forged), 9))), 0.0)
    duo.server.push(Clock((1, 1, 0), 3))
    assert duo.to_client() == []
    duo.now = 15.0
    duo.server.tick(duo.now)
    duo.to_client()
    (request,) = duo.to_server()
    assert isinstance(request, e.SyncRequested)
    duo.server.full(Clock((1, 1, 0), 3), request.id)
    assert duo.to_client() == [e.ClockChanged(Clock((1, 1, 0), 3)), e.Synced(request.id)]


def test_a_ping_before_ready_asks_for_nothing_yet() -> None:
    duo = Duo().advance_to(Phase.WELCOMED)
    assert duo.client.receive(encode(m.Ping(1, 0.0, 9)), 0.0) == []
    assert sent(duo.client) == [m.Pong(1)]


def test_any_frame_is_a_sign_of_life() -> None:
    duo = ready()
    duo.now = 15.0
    duo.server.tick(duo.now)
    duo.client.call("add", (0,), None, None, duo.now)
    duo.now = 20.0
    duo.to_server()
    assert duo.server.deadline == 35.0
    assert duo.server.tick(45.0) == []


def test_a_pong_tells_the_round_trip_time() -> None:
    duo = ready()
    duo.now = 15.0
    duo.server.tick(duo.now)
    duo.to_client()
    duo.now = 15.25
    assert duo.to_server() == []
    assert duo.server.keepalive.rtt == 0.25


def test_a_process_that_slept_asks_before_it_gives_up() -> None:
    duo = ready()
    assert duo.client.tick(3600.0) == []
    assert sent(duo.client) == [m.Ping(1, 3600.0)]


def test_a_call_without_an_answer_expires() -> None:
    duo = ready()
    number = duo.client.call("add", (0,), None, None, 10.0)
    late = duo.client.call("add", (0,), None, None, 20.0)
    duo.client.keepalive.heard(69.0)
    assert duo.client.tick(69.9) == []
    (event,) = duo.client.tick(70.0)
    assert isinstance(event, e.CallFailed)
    assert (event.id, type(event.error)) == (number, CallTimedOut)
    assert duo.client.receive(encode(m.Result(number)), 71.0) == []
    assert duo.client.receive(encode(m.Result(late)), 71.0) == [e.Replied(late, executed=True)]


def test_missing_answers_are_asked_for_more_and_more_seldom() -> None:
    duo = ready()
    duo.client.call("add", (0,), None, None, 0.0)
    duo.client.outgoing()
    assert duo.client.deadline == duo.client.timing.retry == 3.0
    asked = []
    for now in range(60):
        duo.now = float(now)
        duo.client.keepalive.heard(duo.now)
        duo.client.tick(duo.now)
        asked += [duo.now for message in sent(duo.client) if isinstance(message, m.Ping)]
    assert asked == [3.0, 9.0, 21.0, 45.0]


def test_what_has_not_arrived_is_sent_again_and_the_rest_is_asked_for() -> None:
    duo = ready()
    duo.client.call("add", (0,), {"a": 1}, None, 0.0)
    duo.to_server()
    duo.client.notify((1,), None, None, 0.0)
    duo.client.call("set", (1,), {"b": 2}, None, 0.0)
    duo.client.outgoing()  # lost
    duo.now = 3.0
    duo.client.tick(duo.now)
    duo.client.call("add", (2,), None, None, duo.now + 0.1)  # after the question
    duo.to_server()
    assert duo.to_client() == [e.CallsRepeated(3)]
    assert sent(duo.client) == [m.Add(1, ()), m.AddUnanswered(2, (1,)), m.Set(3, (1,), {"b": 2})]


def test_each_call_is_run_once_in_order() -> None:
    duo = ready()
    first, second = encode(m.Add(1, (0,))), encode(m.Add(2, (1,)))
    assert duo.server.receive(second, 0.0) == []
    assert [type(event) for event in duo.server.receive(first, 0.0)] == [e.MutationRequested]
    assert duo.server.receive(first, 0.0) == [], "it runs"
    duo.server.requests.answered(1, False)
    assert duo.server.receive(first, 0.0) == [e.AnswerRequested(1, False)]
    assert [type(event) for event in duo.server.receive(second, 0.0)] == [e.MutationRequested]
    counters = duo.server.counters
    assert (counters.calls, counters.repeats, counters.early) == (2, 2, 1)


def continued(duo: Duo, *, known: bool = True) -> Duo:
    """Another duo, in which the client continues the session of the first one."""
    again = Duo(now=duo.now + 1.0)
    again.client = ClientSession(again.now, after=duo.client)
    again.client.hello(HELLO)
    again.to_server()
    resumed = welcome(again.first, resumed=known, received=duo.server.requests.last if known else 0)
    again.server.welcome(resumed, again.now, duo.server if known else None)
    return again


def test_a_session_that_is_continued_keeps_its_calls() -> None:
    duo = ready()
    answered, running = (duo.client.call("add", (n,), None, None, 0.0) for n in range(2))
    duo.to_server()
    duo.server.requests.answered(answered, True)
    lost = duo.client.call("add", (2,), None, None, 0.0)
    duo.client.outgoing()
    duo.client.end()
    duo.server.end()
    again = continued(duo)
    assert [type(event) for event in again.to_client()] == [e.WelcomeReceived]
    again.client.ready(again.now)
    events = again.to_server()
    assert [type(event) for event in events] == [e.Established, e.AnswerRequested, e.MutationRequested]
    asked = [event.id for event in events if isinstance(event, e.AnswerRequested | e.MutationRequested)]
    assert asked == [answered, lost]
    assert again.client.counters.drops == 1
    again.server.reply(running, False, Clock((0, 0, 0), 1))
    assert again.to_client() == [e.Replied(running, executed=False)]


def test_a_session_that_is_not_known_any_more_leaves_its_calls_unknown_and_begins_anew() -> None:
    duo = ready()
    number = duo.client.call("add", (0,), None, None, 0.0)
    duo.client.end()
    again = continued(duo, known=False)
    failed, welcomed = again.to_client()
    assert isinstance(failed, e.CallFailed)
    assert (failed.id, type(failed.error)) == (number, UnknownOutcome)
    assert isinstance(welcomed, e.WelcomeReceived)
    again.client.ready(again.now)
    assert again.client.call("add", (0,), None, None, again.now) == 1
    assert [type(event) for event in again.to_server()] == [e.Established, e.MutationRequested]


def test_a_welcome_cannot_continue_another_session() -> None:
    duo = Duo().advance_to(Phase.GREETED)
    before = state_of(duo.client)
    with pytest.raises(PeerFault, match="another session"):
        duo.client.receive(encode(welcome(duo.first, resumed=True)), 0.0)
    assert state_of(duo.client) == before


# The end


def test_calls_in_flight_have_an_unknown_outcome() -> None:
    duo = ready()
    numbers = [duo.client.call("add", (0,), None, None, duo.now) for _ in range(2)]
    assert duo.client.end() == []
    events = duo.client.abandon()
    assert [(event.id, type(event.error)) for event in events if isinstance(event, e.CallFailed)] == [
        (number, UnknownOutcome) for number in numbers
    ]
    assert duo.client.abandon() == duo.client.end() == []
    assert duo.client.deadline is None


def test_bye_ends_both_sides() -> None:
    duo = ready()
    duo.server.bye("maintenance", reconnect=False)
    assert duo.to_client() == [e.ByeReceived("maintenance", reconnect=False)]
    assert duo.client.phase is duo.server.phase is Phase.ENDED
    duo.server.bye()
    assert duo.server.outgoing() == []


# Limits


def test_too_many_open_calls_are_refused_before_anything_is_sent() -> None:
    duo = ready()
    for _ in range(MAX_CALLS):
        duo.client.call("add", (0,), None, None, duo.now)
    before = state_of(duo.client)
    with pytest.raises(Overloaded, match="4096"):
        duo.client.call("add", (0,), None, None, duo.now)
    assert state_of(duo.client) == before


def test_a_client_keeps_to_the_number_of_calls_that_the_server_takes() -> None:
    """A server that remembers fewer answers than ours could not tell the outcome of the others."""
    duo = Duo().advance_to(Phase.GREETED)
    duo.server.welcome(replace(welcome(duo.first), limits=m.Limits(calls=2)), duo.now)
    duo.to_client()
    duo.client.ready(duo.now)
    for _ in range(2):
        duo.client.call("add", (0,), None, None, duo.now)
    with pytest.raises(Overloaded, match="2 calls wait"):
        duo.client.call("add", (0,), None, None, duo.now)


@pytest.mark.parametrize("limits", [None, m.Limits(), m.Limits(frame=1024, calls=10 * MAX_CALLS)])
def test_a_server_that_says_nothing_or_takes_more_calls_gets_as_many_as_ever(limits: m.Limits | None) -> None:
    duo = Duo().advance_to(Phase.GREETED)
    duo.server.welcome(replace(welcome(duo.first), limits=limits), duo.now)
    duo.to_client()
    assert duo.client.calls.limit == MAX_CALLS


def test_a_call_that_is_too_large_changes_nothing() -> None:
    duo = ready()
    before = state_of(duo.client)
    with pytest.raises(TooLarge):
        duo.client.call("add", (0,), {"a": b"x" * 2_000_000}, None, duo.now)
    assert state_of(duo.client) == before


def test_a_tick_beyond_the_wire_changes_nothing() -> None:
    duo = ready(Clock((0,), 1))
    before = state_of(duo.server)
    with pytest.raises(TickRange):
        duo.server.push(Clock((2**64,), 2))
    assert state_of(duo.server) == before
    duo.server.push(Clock((2**64 - 1,), 2))
    assert duo.to_client() == [e.ClockChanged(Clock((2**64 - 1,), 2))]
