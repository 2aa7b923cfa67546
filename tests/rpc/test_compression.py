"""Large frames in smaller ones: when it is worth it, and what a peer may not do with it."""

from __future__ import annotations

import random
import tracemalloc
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.clock import Clock
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.compression import SMALL, packed, unpacked, wanted
from asyncmachine.rpc.errors import Code, PeerFault
from asyncmachine.rpc.features import GROWN, ZLIB
from asyncmachine.rpc.legality import Phase
from asyncmachine.rpc.transport import MAX_FRAME, Peer
from tests.rpc.behaviour import paired
from tests.rpc.duo import HELLO, Duo, ready, state_of, welcome
from tests.rpc.golden import ZEROS
from tests.rpc.nets import memory

FULL = m.Full(7, 4, (0,) * 2000, 3, 0, 5)
LARGE = Clock((0,) * 2000, 1)


def bomb(size: int) -> bytes:
    return encode(m.Compressed(zlib.compress(bytes(size), 9)))


def test_what_others_compressed_is_read() -> None:
    assert decode(unpacked(bytes.fromhex(ZEROS))) == FULL
    message = decode(packed(encode(FULL)))
    assert isinstance(message, m.Compressed)
    assert decode(unpacked(message.data)) == FULL


@pytest.mark.parametrize("size", [2000, 100_000, MAX_FRAME])
def test_what_does_not_shrink_is_sent_as_it_is(size: int) -> None:
    frame = random.Random(1).randbytes(size)
    assert packed(frame) is frame


@given(st.binary(max_size=3000))
def test_every_frame_comes_back(frame: bytes) -> None:
    found = packed(frame)
    assert len(found) <= len(frame)
    if found is not frame:
        message = decode(found)
        assert isinstance(message, m.Compressed)
        assert unpacked(message.data) == frame


@pytest.mark.parametrize(
    ("peer", "dialled", "pays"),
    [
        (Peer("memory", "a"), True, False),
        (Peer("port", "page"), True, False),
        (Peer("unix", "source.sock"), True, False),
        (Peer("tcp", "127.0.0.1:4000"), True, False),
        (Peer("tls", "[::1]:4000"), True, False),
        (Peer("websocket", "ws://localhost:8080/dial/a/b"), True, False),
        (Peer("websocket", "wss://example.org/dial/a/b"), True, True),
        (Peer("tcp", "10.0.0.1:4000"), True, True),
        (Peer("many", "10.0.0.1:4000#3"), True, True),
        (Peer("tcp", "127.0.0.1:4000"), False, True),
        (Peer("memory", "a"), False, False),
    ],
)
def test_where_it_pays(peer: Peer, dialled: bool, pays: bool) -> None:
    assert wanted(None, peer, dialled=dialled) is pays
    assert wanted(True, peer, dialled=dialled)
    assert not wanted(False, peer, dialled=dialled)


def test_large_frames_travel_compressed_and_small_ones_as_ever() -> None:
    duo = ready(LARGE)
    duo.server.full(LARGE)
    (frame,) = duo.server.outgoing()
    assert len(frame) < 100
    duo.client.receive(frame, duo.now)
    assert duo.client.counters.full_syncs == 1
    assert duo.client.counters.bytes_in == duo.server.counters.bytes_out
    duo.client.call("add", (0,), {"text": "x" * (SMALL - 30)}, None, duo.now)
    (small,) = duo.client.outgoing()
    assert 1000 < len(small) <= SMALL
    assert isinstance(decode(small), m.Add)
    duo.client.call("add", (0,), {"text": "x" * SMALL}, None, duo.now)
    (large,) = duo.client.outgoing()
    assert len(large) < 60
    assert isinstance(duo.server.receive(small, duo.now)[0], rpc.events.MutationRequested)
    assert isinstance(duo.server.receive(large, duo.now)[0], rpc.events.MutationRequested)


def test_a_call_that_is_sent_again_is_compressed_as_its_session_has_agreed() -> None:
    duo = ready(LARGE)
    number = duo.client.call("add", (0,), {"text": "x" * 5000}, None, duo.now)
    assert len(duo.client.outgoing()[0]) < 100
    kept = duo.client.calls.missing(0, duo.now)
    assert [(found, len(frame) > 5000) for found, frame in kept] == [(number, True)]


def test_the_welcome_may_be_compressed_already() -> None:
    duo = Duo(LARGE)
    duo.client.hello(HELLO)
    duo.to_server()
    duo.server.welcome(welcome(LARGE), duo.now)
    (frame,) = duo.server.outgoing()
    assert isinstance(decode(frame), m.Compressed)
    duo.client.receive(frame, duo.now)
    assert duo.client.phase is Phase.WELCOMED


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (bomb(MAX_FRAME + 1), Code.TOO_LARGE),
        (bomb(50 * MAX_FRAME), Code.TOO_LARGE),
        (encode(m.Compressed(zlib.compress(encode(m.Compressed(zlib.compress(encode(m.Ping(1)))))))), Code.BAD_FRAME),
        (encode(m.Compressed(zlib.compress(encode(m.Ping(1)))[:-1])), Code.BAD_FRAME),
        (encode(m.Compressed(zlib.compress(encode(m.Ping(1))) + b"x")), Code.BAD_FRAME),
        (encode(m.Compressed(b"garbage")), Code.BAD_FRAME),
        (encode(m.Compressed(b"")), Code.BAD_FRAME),
        (encode(m.Compressed(zlib.compress(b"garbage"))), Code.BAD_FRAME),
        (encode(m.Compressed(zlib.compress(encode(HELLO)))), Code.BAD_FRAME),
    ],
    ids=["bomb", "large bomb", "in another", "cut", "rest", "garbage", "empty", "garbage in it", "illegal in it"],
)
def test_what_is_wrong_with_it_is_a_fault_and_changes_nothing(side: str, frame: bytes, code: str) -> None:
    duo = ready()
    session = duo.client if side == "client" else duo.server
    before = state_of(session)
    with pytest.raises(PeerFault) as caught:
        session.receive(frame, duo.now)
    assert caught.value.code == code
    assert state_of(session) == before


def test_a_bomb_takes_no_more_memory_than_a_frame_may() -> None:
    data = zlib.compress(bytes(40 * MAX_FRAME), 9)
    tracemalloc.start()
    with pytest.raises(PeerFault, match="more than 1048576 bytes"):
        unpacked(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * MAX_FRAME


def test_nobody_compresses_without_the_other() -> None:
    duo = Duo(LARGE)
    duo.client.hello(replace(HELLO, features=(GROWN,)))
    duo.to_server()
    duo.server.welcome(replace(welcome(LARGE), features=(GROWN,)), duo.now)
    assert len(duo.server.outgoing()[0]) > 2000
    duo.client.receive(encode(replace(welcome(LARGE), features=(GROWN,))), duo.now)
    duo.client.ready(duo.now)
    duo.to_server()
    for session in (duo.client, duo.server):
        with pytest.raises(PeerFault, match="agreed is"):
            session.receive(encode(m.Compressed(zlib.compress(encode(m.Ping(1))))), duo.now)
    duo.client.call("add", (0,), {"text": "x" * 5000}, None, duo.now)
    assert len(duo.client.outgoing()[0]) > 5000


def test_before_the_welcome_only_what_was_offered_may_come() -> None:
    duo = Duo(LARGE)
    duo.client.hello(replace(HELLO, features=(GROWN,)))
    with pytest.raises(PeerFault, match="agreed is"):
        duo.client.receive(packed(encode(welcome(LARGE))), duo.now)


async def test_a_mirror_of_many_states_with_it_and_without() -> None:
    states = {f"State{number:04}": {"require": [f"State{number % 100:04}"]} for number in range(1000)}
    received: dict[bool, int] = {}
    async with memory() as net:
        for on in (False, True):
            schema = am.Schema({"Exception": {"multi": True}, "ErrOnClient": {"require": ["Exception"]}, **states})
            async with paired(net, schema, schema=None, client={"compression": on}, compression=True) as pair:
                session = pair.client._connections.session
                assert session is not None
                assert (ZLIB in session.features) is on
                assert pair.mirror.schema == pair.source.schema
                received[on] = pair.client.statistics.bytes_in
                await pair.client.sync()
                pair.assert_equal()
    assert received[True] * 3 < received[False]


@pytest.mark.parametrize("frame", [msgspec.msgpack.encode([9]), msgspec.msgpack.encode([9, "text"])])
def test_it_holds_bytes(frame: bytes) -> None:
    with pytest.raises(PeerFault):
        decode(frame)
