"""Hostile peers: whatever arrives in whatever order, a session answers with a typed error and stays what it was."""

from __future__ import annotations

import zlib
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.answering import ServerSession
from asyncmachine.rpc.asking import ClientSession
from asyncmachine.rpc.chunks import Parcel
from asyncmachine.rpc.clock import Clock
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.errors import PeerFault
from asyncmachine.rpc.legality import Phase
from asyncmachine.rpc.session import Session
from tests.rounds import Rounds
from tests.rpc.duo import SESSION, Duo, state_of, welcome
from tests.rpc.golden import GOLDEN

BEFORE_READY = (m.Welcome, m.Reject, m.Pong)
"""All that a server may say to somebody it has not let in."""

_small = st.integers(0, 5)
_names = st.sampled_from(["A", "B", "Exception"])
_tokens = st.sampled_from([b"t1", b"t2", SESSION])

MESSAGES: st.SearchStrategy[m.Message] = st.one_of(
    st.builds(m.Hello, st.just("amrpc"), st.tuples(_small, _small), _names, _names, resume=st.none()),
    st.builds(m.Ready, _tokens),
    st.builds(m.Ping, _small, st.floats(), _small),
    st.builds(m.Pong, _small),
    st.builds(m.Bye, _names, st.booleans()),
    st.builds(m.GoAway, _small, _names),
    st.builds(m.ArgsRequest, _small),
    st.builds(m.Can, _small, st.lists(_small, max_size=3).map(tuple), st.booleans()),
    st.builds(m.Reply, _small, st.booleans(), st.lists(_names, max_size=2).map(tuple)),
    st.builds(m.Add, _small, st.lists(_small, max_size=3).map(tuple)),
    st.builds(m.Remove, _small, st.lists(_small, max_size=3).map(tuple)),
    st.builds(m.Set, _small, st.lists(_small, max_size=3).map(tuple)),
    st.builds(m.SyncRequest, _small),
    st.builds(m.Reject, _names, _names, st.none() | st.floats()),
    st.builds(m.Result, _small, _small, _small, _small, _small, st.lists(_small, max_size=4).map(tuple), _small),
    st.builds(m.Error, _small, _names),
    st.builds(m.ClockPush, _small, _small, _small, st.lists(_small, max_size=4).map(tuple), _small),
    st.builds(
        m.ClockSteps,
        _small,
        st.lists(
            st.builds(
                m.Step,
                *(_small, st.lists(_small, max_size=2).map(tuple), _small),
                *(st.lists(_small, max_size=4).map(tuple), st.booleans()),
            ),
            max_size=3,
        ).map(tuple),
        *(_small, _small),
    ),
    st.builds(m.Full, _small, _small, st.lists(_small, min_size=2, max_size=4).map(tuple), _small, _small, _small),
    st.builds(
        m.Grown,
        *(_small, _small, st.lists(_names, max_size=4).map(tuple), st.none()),
        *(st.lists(_small, max_size=4).map(tuple), _small, _small, _small),
    ),
    st.builds(m.Upstream, st.booleans()),
    st.builds(m.Payload, _tokens, _names, data=st.binary(max_size=5)),
    st.builds(m.Payload, _tokens, _names, size=_small),
    st.builds(m.Chunk, _tokens, _small, st.binary(min_size=1, max_size=3), st.sampled_from([b"", bytes(32), bytes(7)])),
    st.builds(m.PayloadWithdrawn, _tokens),
    st.builds(m.PayloadAck, _tokens, st.booleans(), _small),
    st.builds(m.PayloadNack, _tokens, _names),
    st.just(welcome(Clock((0, 0, 0), 1))),
)


@st.composite
def _damaged(draw: Any) -> bytes:
    """A frame with a few wrong bytes."""
    frame = bytearray(encode(draw(MESSAGES | st.sampled_from([found for found, *_ in GOLDEN]))))
    for _ in range(draw(st.integers(0, 3))):
        frame[draw(st.integers(0, len(frame) - 1))] = draw(st.integers(0, 255))
    return bytes(frame[: draw(st.integers(0, len(frame)))]) if draw(st.booleans()) else bytes(frame)


def _compressed(frame: bytes) -> bytes:
    return encode(m.Compressed(zlib.compress(frame)))


FRAMES = MESSAGES.map(encode) | _damaged() | st.binary(max_size=40)
FRAMES |= FRAMES.map(_compressed) | st.builds(m.Compressed, st.binary(max_size=20)).map(encode)


def check(session: Session, frame: bytes, now: float) -> list[e.Event]:
    """Gives a frame to a session. Refused, it must have changed nothing. Wants every large payload."""
    before, refused, events = state_of(session), None, list[e.Event]()
    try:
        events = session.receive(frame, now)
    except PeerFault as fault:
        refused = fault
    if refused is not None:
        assert refused.close in (4400, 1009, 4406, 4410)
        assert state_of(session) == before
    for event in events:
        if isinstance(session, ClientSession) and isinstance(event, e.PayloadReceived) and event.payload.size:
            session.want(event.payload)
        if isinstance(event, e.PayloadComplete):
            assert len(event.data) == event.payload.size
    return events


def test_every_kind_of_message_is_tried() -> None:
    tried = {type(found) for found, *_ in GOLDEN}
    assert tried == set(get_args(m.AnyMessage))


@given(st.lists(FRAMES, max_size=25))
def test_a_server_session_survives_anything_and_says_little_before_ready(frames: list[bytes]) -> None:
    session = ServerSession(0.0)
    for now, frame in enumerate(frames):
        check(session, frame, now)
        said = [type(decode(found)) for found in session.outgoing()]
        if session.phase is not Phase.READY:
            assert all(kind in BEFORE_READY for kind in said)
        if session.phase is Phase.GREETED:
            session.welcome(welcome(Clock((0, 0, 0), 1)), now)
        session.tick(now)


@pytest.mark.parametrize("phase", [Phase.NEW, Phase.GREETED, Phase.WELCOMED, Phase.READY])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(FRAMES, max_size=15), calls=st.integers(0, 4))
def test_a_client_session_survives_anything(phase: Phase, frames: list[bytes], calls: int) -> None:
    session = Duo().advance_to(phase).client
    for _ in range(calls if phase is Phase.READY else 0):
        session.call("add", (0,), None, None, 0.0)
    told: list[object] = []
    for now, frame in enumerate(frames):
        check(session, frame, now)
        told += session.tick(now)
    told += session.end()
    assert session.deadline is None
    assert session.end() == []


CHUNKED = st.one_of(
    st.builds(m.Payload, _tokens, st.just("A"), size=st.integers(1, 6)),
    st.builds(m.Chunk, _tokens, _small, st.binary(min_size=1, max_size=4), st.sampled_from([b"", bytes(32), bytes(7)])),
    st.builds(m.PayloadWithdrawn, _tokens),
)


@given(st.lists(CHUNKED, max_size=40))
def test_a_client_takes_a_chunk_where_the_last_one_has_ended_or_not_at_all(messages: list[m.Message]) -> None:
    session = Duo().advance_to(Phase.READY).client
    under_way: dict[bytes, tuple[int, bytes]] = {}  # what the rules say, in short
    for message in messages:
        events = check(session, encode(message), 0.0)
        match message:
            case m.Payload(token, size=size):
                data = under_way[token][1] if token in under_way and under_way[token][0] == size else b""
                under_way = {token: (size, data)}
            case m.PayloadWithdrawn(token):
                under_way.pop(token, None)
            case m.Chunk(token, offset, data, digest) if token in under_way:
                size, before = under_way[token]
                last = offset + len(data) == size
                if offset == len(before) and offset + len(data) <= size and len(digest) == (32 if last else 0):
                    under_way[token] = size, before + data
                    if last:
                        (complete,) = events
                        assert isinstance(complete, e.PayloadComplete)
                        assert (bytes(complete.data), complete.intact) == (before + data, False)
                        under_way.clear()
        partial = session.partial
        assert under_way == (
            {} if partial is None else {partial.payload.token: (partial.payload.size, bytes(partial.data))}
        )


@given(st.lists(st.integers(0, 120).map(lambda n: m.PayloadAck(b"t", consumed=False, received=n)), max_size=30))
def test_whatever_a_client_acknowledges_a_server_sends_each_byte_behind_the_one_before(acks: list[m.Message]) -> None:
    session, data = Duo().advance_to(Phase.READY).server, bytes(range(100))
    session.announce(encode(m.Payload(b"t", "film", size=100)), Parcel(b"t", data, 7))
    session.outgoing()
    sent: bytes | None = None
    for ack in acks:
        check(session, encode(ack), 0.0)
        while session.chunk():
            pass
        for frame in session.outgoing():
            chunk = decode(frame)
            assert isinstance(chunk, m.Chunk)
            sent = data[: chunk.offset] if sent is None else sent
            assert chunk.offset == len(sent)
            sent += chunk.data
            assert sent == data[: len(sent)]
            assert len(chunk.sha256) == (32 if sent == data else 0)


@pytest.mark.nightly
def test_a_night_of_garbage(rounds: Rounds) -> None:
    @settings(max_examples=200, database=None, deadline=None)
    @given(st.lists(FRAMES, max_size=60))
    def survive(frames: list[bytes]) -> None:
        for phase in (Phase.NEW, Phase.READY):
            duo = Duo().advance_to(phase)
            for now, frame in enumerate(frames):
                check(duo.client, frame, now)
                check(duo.server, frame, now)

    for number in rounds:
        seed(number)(survive)()
