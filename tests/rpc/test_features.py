"""What two sides agree on in the handshake, and what a peer gets that knows less, or more."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

import asyncmachine as am
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.chunks import Parcel
from asyncmachine.rpc.clock import Clock, checksum, seal
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.errors import Misuse, Outgrown, PeerFault
from asyncmachine.rpc.features import GROWN, KNOWN, STEPS, UPSTREAM, ZLIB, chosen
from asyncmachine.rpc.legality import Phase
from tests.rpc.duo import HELLO, Duo, welcome
from tests.rpc.test_server import Raw, served

OLD = m.Hello("amrpc", (1, 1), "rc-raw", sync=m.Sync(schema=True))
"""A client of the first release."""


def test_a_server_chooses_what_it_knows_and_has_a_use_for() -> None:
    assert chosen(KNOWN, steps=True, zlib=True, upstream=True) == KNOWN
    assert chosen((ZLIB, STEPS, GROWN, UPSTREAM), steps=False, zlib=False, upstream=False) == (GROWN,)
    assert chosen(("teleport", STEPS), steps=True, zlib=True, upstream=True) == (STEPS,)
    assert chosen((), steps=True, zlib=True, upstream=True) == ()


async def test_features_that_a_server_does_not_know_are_skipped() -> None:
    async with served() as on:
        hello = replace(OLD, features=("teleport", GROWN, "", "grown ")[:2])
        assert (await on.client().handshake(hello)).features == (GROWN,)


@pytest.mark.parametrize("features", [["x"] * 33, ["x" * 33], [""], "grown"], ids=["many", "long", "empty", "a text"])
def test_an_offer_is_bounded(features: object) -> None:
    frame = msgspec.msgpack.encode([1, "amrpc", [1, 1], "rc-x", "", [], None, features])
    with pytest.raises(PeerFault):
        decode(frame)


def test_a_server_may_not_choose_what_was_not_offered() -> None:
    duo = Duo()
    duo.client.hello(replace(HELLO, features=(GROWN,)))
    duo.to_server()
    with pytest.raises(PeerFault, match="steps"):
        duo.client.receive(encode(welcome(duo.first)), duo.now)
    assert duo.client.phase is Phase.GREETED


def test_a_welcome_tells_of_the_upstream_to_those_who_know_of_it() -> None:
    duo = Duo()
    duo.client.hello(HELLO)
    duo.to_server()
    with pytest.raises(PeerFault, match="upstream"):
        duo.client.receive(encode(replace(welcome(duo.first), features=(), away=True)), duo.now)
    assert duo.client.phase is Phase.GREETED


def test_neither_side_uses_what_was_not_agreed() -> None:
    duo = Duo()
    duo.client.hello(HELLO)
    duo.to_server()
    duo.server.welcome(replace(welcome(duo.first), features=()), duo.now)
    duo.to_client()
    duo.client.ready(duo.now)
    duo.to_server()
    with pytest.raises(Outgrown):
        duo.server.grow(("A", "B", "C", "D"), None)
    grown = m.Grown(1, 0, ("A", "B", "C", "D"), None, (0,) * 4, 1, 0, seal(checksum(Clock((0,) * 4, 1)), 1))
    steps = m.ClockSteps(1, (), 0, seal(checksum(duo.first), 1))
    with pytest.raises(Misuse):
        duo.server.announce(encode(m.Payload(b"t", "film", size=1)), Parcel(b"t", b"1"))
    chunked = (m.Payload(b"t", "film", size=1), m.Chunk(b"t", 0, b"1", bytes(32)), m.PayloadWithdrawn(b"t"))
    with pytest.raises(Misuse):
        duo.server.upstream(away=True)
    for message in (grown, steps, m.Upstream(away=True), *chunked):
        with pytest.raises(PeerFault, match="the server uses"):
            duo.client.receive(encode(message), duo.now)


async def clock_of(client: Raw) -> m.AnyMessage:
    while isinstance(message := await client.hear(), m.Ping):
        pass
    return message


async def test_a_client_that_does_not_know_grown_comes_back_to_the_same_session() -> None:
    async with served(push_interval=0.001) as on:
        old = on.client()
        first = await old.handshake(OLD)
        await old.say(m.Add(1, (1,)))
        assert isinstance(await clock_of(old), m.Result)
        on.source.set_schema(on.source.schema.merge({"New": am.State()}))
        closed = await old.closed()
        assert (closed.code, closed.reason[:9]) == (4411, "OUTGROWN:")
        again = await on.client().handshake(replace(OLD, resume=m.Resume(first.session, first.epoch)))
        assert (again.resumed, again.received) == (True, 1)
        assert again.names == (*(first.names or ()), "New")
        assert again.schema is not None
        assert again.schema["New"] == {}
        assert on.server.machine.err is None


async def test_a_call_that_learns_of_new_states_is_answered_in_the_next_connection() -> None:
    async with served(push_interval=0) as on:
        old = on.client()
        first = await old.handshake(OLD)
        assert first.names is not None
        call = m.Add(1, (first.names.index("A"),))
        on.source.set_schema(on.source.schema.merge({"New": am.State()}))
        await old.say(call)
        assert (await old.closed()).code == 4411
        back = on.client()
        assert (await back.handshake(replace(OLD, resume=m.Resume(first.session)))).received == 1
        await back.say(call)
        assert await back.hear() == m.Result(1)
        assert on.source.tick("A") == 1


async def test_a_client_that_does_not_know_steps_gets_clocks() -> None:
    async with served(push_interval=0.001) as on:
        old = on.client()
        welcome = await old.handshake(replace(OLD, sync=m.Sync(schema=True, steps=True), features=(GROWN,)))
        assert welcome.features == (GROWN,)
        on.source.add("A")
        on.source.remove("A")
        push = await clock_of(old)
        assert isinstance(push, m.ClockPush)
        assert push.queue == 2
