"""Payloads that are larger than a frame, whatever carries their chunks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.asking import ClientSession
from asyncmachine.rpc.chunks import WINDOW
from asyncmachine.rpc.events import Event
from asyncmachine.rpc.sessions import Sessions
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import ServerDelivering
from tests.rpc.behaviour import Basic, Net, Pair, Taking, Upload, behaviour, paired, raises

MIB = 1 << 20
BLOCK = random.Random(1).randbytes(MIB + 77)  # which no compression makes smaller


def figures(size: int) -> bytes:
    """So many bytes, of which no two chunks are equal."""
    return (BLOCK * (size // len(BLOCK) + 1))[:size]


def taking_machine() -> tuple[Taking, am.Machine[Any]]:
    taking = Taking()
    return taking, am.Machine(Basic, taking, id="consumer")


@asynccontextmanager
async def consuming(net: Net, **options: Any) -> AsyncIterator[tuple[Pair, Taking]]:
    """A ready pair whose client has a consumer, and what that has taken; with the options of `paired`."""
    taking, consumer = taking_machine()
    async with paired(net, consumer=consumer, **options) as pair:
        yield pair, taking


def has_come(pair: Pair) -> int:
    """Bytes of the payload that is under way."""
    return (pair.client.delivering or (0, 0))[0]


async def come(pair: Pair, size: int) -> None:
    """Waits until so many bytes of a payload have come. No state tells of each chunk: the session's reaction does."""
    enough, reactions = asyncio.Event(), ClientSession.reactions

    def noted(session: ClientSession, chunk: m.Chunk, now: float) -> list[Event]:
        events = reactions[m.Chunk](session, chunk, now)
        if has_come(pair) >= size:
            enough.set()
        return events

    ClientSession.reactions = {**reactions, m.Chunk: noted}
    try:
        if has_come(pair) < size:
            await enough.wait()
    finally:
        ClientSession.reactions = reactions


def bytes_out(pair: Pair) -> int:
    return pair.server.statistics()["rc-test"].bytes_out


@behaviour
async def a_large_payload_goes_on_after_a_cut_where_it_stopped(net: Net) -> None:
    async with consuming(net) as (pair, taking):
        data, before = figures(10 * MIB), bytes_out(pair)
        sent = pair.server.send_payload("film", data)
        for part in (3 * MIB, 7 * MIB):
            await come(pair, part)
            assert sent.acknowledged <= has_come(pair) <= sent.acknowledged + WINDOW
            net.cut()
        assert (await sent).executed
        assert [sha256(got.data).digest() for got in taking.got] == [sha256(data).digest()]
        # What was on its way when it was cut goes twice, and two handshakes.
        assert len(data) < bytes_out(pair) - before < len(data) + 2 * (WINDOW + 16_384)


@behaviour
async def a_large_payload_goes_on_in_a_new_session_too(net: Net) -> None:
    sessions = Sessions(0.0)  # keeps none
    async with consuming(net, sessions=sessions, backoff=rpc.Backoff(0.02, 0.02)) as (pair, taking):
        data = figures(4 * MIB)
        sent = pair.server.send_payload("film", data)
        await come(pair, 3 * MIB)
        net.cut()
        assert (await sent).executed
        assert taking.got[0].data == data
        assert bytes_out(pair) < MIB + WINDOW, "of this session"


@behaviour
async def clocks_and_answers_pass_a_large_payload(net: Net) -> None:
    async with consuming(net, push_interval=0.0001) as (pair, _):
        sent = pair.server.send_payload("film", figures(12 * MIB))
        for n in range(1, 6):
            await come(pair, n * MIB)
            changed_at = pair.client.delivering
            pair.source.add("Ask")
            await pair.mirror.when_time(["Ask"], [pair.source.tick("Ask")])
            assert (await pair.mirror.toggle("A")).executed
            passed_at = pair.client.delivering
            assert changed_at is not None
            assert passed_at is not None, "it was over before the clock came"
            assert passed_at[0] - changed_at[0] < 3 * MIB
        assert (await sent).executed
        pair.assert_equal()


@behaviour
async def payloads_of_one_name_keep_their_order_and_others_pass(net: Net) -> None:
    async with consuming(net) as (pair, taking):
        sent = [
            pair.server.send_payload(name, data)
            for name, data in (
                ("film", figures(2 * MIB)),
                ("film", "small"),
                ("news", "first"),
                ("book", figures(MIB + 1)),
                ("film", "smaller"),
                ("book", "end"),
                ("news", "second"),
            )
        ]
        for each in sent:
            assert (await each).executed
    order = [(got.name, got.data if isinstance(got.data, str) else len(got.data)) for got in taking.got]
    assert order[:2] == [("news", "first"), ("news", "second")]
    assert [each for each in order if each[0] == "film"] == [("film", 2 * MIB), ("film", "small"), ("film", "smaller")]
    assert [each for each in order if each[0] == "book"] == [("book", MIB + 1), ("book", "end")]


@behaviour
async def both_sides_see_how_far_a_large_payload_has_come(net: Net) -> None:
    announced: list[ServerDelivering] = []
    async with consuming(net) as (pair, _):
        pair.client.machine.bind({"ServerDeliveringState": lambda e: announced.append(e.args(ServerDelivering))})
        sent = pair.server.send_payload("film", figures(8 * MIB))
        assert (sent.acknowledged, sent.size) == (0, 8 * MIB + 5)
        await come(pair, 4 * MIB)
        assert C.ServerDelivering in pair.client.machine
        assert pair.client.delivering is not None
        assert 4 * MIB <= pair.client.delivering[0] < pair.client.delivering[1] == sent.size
        assert 4 * MIB - WINDOW <= sent.acknowledged < sent.size
        await sent
        assert sent.acknowledged == sent.size
        assert C.ServerDelivering not in pair.client.machine
    assert [(each.name, each.size) for each in announced] == [("film", 8 * MIB + 5)]


@behaviour
async def a_client_refuses_what_is_too_large_for_it_before_any_of_it_comes(net: Net) -> None:
    async with consuming(net, errors=True, client={"max_payload": 2 * MIB}) as (pair, taking):
        with raises(rpc.DeliveryFailed) as caught:
            await pair.server.send_payload("film", figures(2 * MIB))
        assert caught.error.code == rpc.Code.TOO_LARGE
        assert f"the limit here is {2 * MIB}" in str(caught.error)
        assert isinstance(pair.client.machine.err, rpc.DeliveryFailed)
        assert pair.client.statistics.chunks == 0
        assert (await pair.server.send_payload("film", figures(2 * MIB - 5))).executed
        assert [len(got.data) for got in taking.got] == [2 * MIB - 5]


@behaviour
async def a_server_refuses_to_send_what_is_too_large_for_it(net: Net) -> None:
    async with paired(net, max_payload=2 * MIB) as pair:
        before = bytes_out(pair)
        with raises(rpc.TooLarge) as caught:
            pair.server.send_payload("film", figures(2 * MIB))
        assert str(caught.error) == f"the data of 'film' take {2 * MIB + 5} bytes, the limit is {2 * MIB}"
        with raises(rpc.TooLarge) as caught:
            pair.server.send_payload("film", b"", meta={"much": figures(MIB)})
        assert "the limit of a frame" in str(caught.error)
        assert bytes_out(pair) == before


@behaviour
async def nothing_of_a_large_payload_comes_to_who_has_no_consumer_or_no_grant(net: Net) -> None:
    async with paired(net, errors=True) as pair:
        with raises(rpc.DeliveryFailed) as caught:
            await pair.server.send_payload("film", figures(2 * MIB))
        assert caught.error.code == rpc.Code.NO_CONSUMER
        assert pair.client.statistics.chunks == 0
    grants = rpc.Grants(payload=("open-*",))
    async with consuming(net, allow=lambda *_: grants) as (pair, _):
        with raises(rpc.DeliveryFailed) as caught:
            await pair.server.send_payload("film", figures(2 * MIB))
        assert caught.error.code == rpc.Code.FORBIDDEN
        assert pair.client.statistics.payloads == 0
        assert (await pair.server.send_payload("open-film", figures(2 * MIB))).executed


@behaviour
async def a_large_payload_that_its_consumer_refuses_fails_and_the_next_one_comes(net: Net) -> None:
    taking = Taking()
    consumer: am.Machine[Any] = am.Machine(Basic, taking, id="consumer")
    consumer.bind({"ServerPayloadEnter": lambda e: e.args(rpc.ServerPayload).name != "film"})
    async with paired(net, consumer=consumer) as pair:
        film, book = (pair.server.send_payload(name, figures(2 * MIB)) for name in ("film", "book"))
        with raises(rpc.DeliveryFailed) as caught:
            await film
        assert caught.error.code == rpc.Code.REFUSED
        assert (await book).executed
        assert [got.name for got in taking.got] == ["book"]


@behaviour
async def a_typed_record_may_be_large(net: Net) -> None:
    async with consuming(net) as (pair, taking):
        record = Upload("x" * MIB, tuple(range(1000)), frozenset({"a", "b"}))
        assert (await pair.server.send_payload("typed", record)).executed
        assert taking.got[0].data == record


@behaviour
async def a_large_payload_that_was_given_up_is_dropped_at_the_client(net: Net) -> None:
    async with consuming(net, errors=True) as (pair, taking):
        sent = pair.server.send_payload("film", figures(60 * MIB), within=0.05)
        book = pair.server.send_payload("film", "after it")
        with raises(rpc.DeliveryFailed) as caught:
            await sent
        assert caught.error.code == rpc.Code.DEADLINE
        assert "'film' was not consumed within 0.05 s" in str(caught.error)
        assert 0 <= sent.acknowledged < sent.size
        assert (await book).executed
        assert [got.data for got in taking.got] == ["after it"]
        assert pair.client.delivering is None
        assert C.ServerDelivering not in pair.client.machine
        chunks = pair.client.statistics.chunks
        await pair.client.sync()
        assert pair.client.statistics.chunks == chunks, "nothing more of it is sent"


@behaviour
async def a_server_that_does_not_know_a_half_payload_has_it_dropped(net: Net) -> None:
    async with consuming(net, errors=True) as (pair, taking):
        sent = pair.server.send_payload("film", figures(8 * MIB))
        await come(pair, MIB)
        old, pair.server = pair.server, rpc.Server(pair.source, "again", push_interval=0.001)
        net.cut()
        await pair.client.machine.when_not(C.Connected)
        await pair.client.when_ready()
        await pair.client.sync()
        await pair.client.sync()
        assert pair.client.delivering is None
        await old.stop()
        with raises(rpc.DeliveryFailed) as caught:
            await sent
        assert caught.error.code == rpc.Code.SHUTDOWN
        assert (await pair.server.send_payload("film", figures(2 * MIB))).executed
        assert len(taking.got) == 1


@behaviour
async def who_leaves_keeps_nothing_of_a_large_payload(net: Net) -> None:
    async with consuming(net, errors=True) as (pair, _):
        sent = pair.server.send_payload("film", figures(8 * MIB))
        await come(pair, MIB)
        await pair.client.stop()
        assert not has_come(pair)
        assert not sent.done()
        pair.client.start()
        await pair.client.when_ready()
        await come(pair, MIB)
        pair.client.machine.dispose()
        await asyncio.wait(pair.client._connections.running)
        assert not has_come(pair)
        await pair.server.stop()
        with raises(rpc.DeliveryFailed) as caught:
            await sent
        assert caught.error.code == rpc.Code.SHUTDOWN
