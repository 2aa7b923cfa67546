"""Large payloads: what goes wrong with them, what they take, and whom they wait for."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from typing import Any

import pytest
from msgspec.structs import replace

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.chunks import CHUNK, WINDOW
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.features import CHUNKS
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport.memory import Frame, pair
from tests.rpc.behaviour import Basic, Taking, paired
from tests.rpc.large import MIB, come, consuming, figures, taking_machine
from tests.rpc.nets import MemoryNet, tcp
from tests.rpc.test_faults import FaultyNet, losing
from tests.rpc.test_named import Deaf
from tests.rpc.test_server import HELLO, Raw, Served, served
from tests.rpc.time_loop import run

KNOWS = replace(HELLO, features=(CHUNKS,))


@asynccontextmanager
async def greeted(hello: m.Hello = KNOWS, **options: Any) -> AsyncIterator[tuple[Served, Raw]]:
    """A server, and a client in frames that it has welcomed."""
    async with served(**options) as on:
        client = on.client()
        await client.handshake(hello)
        yield on, client


async def until_chunks(on: rpc.Client, count: int) -> None:
    while on.statistics.chunks < count:
        await asyncio.sleep(0)


# What goes wrong


async def test_data_that_are_changed_on_their_way_fail_with_a_code_and_the_session_goes_on() -> None:
    def damage(frame: Frame) -> Iterable[bytes]:
        found = decode(frame.data)
        if isinstance(found, m.Chunk) and found.offset == 2 * CHUNK:
            return (encode(m.Chunk(found.token, found.offset, b"?" + found.data[1:], found.sha256)),)
        return (frame.data,)

    net = FaultyNet(damage)
    async with consuming(net, errors=True) as (on, taking):
        with pytest.raises(rpc.DeliveryFailed, match="DAMAGED: payload 'film' is not what was sent") as caught:
            await on.server.send_payload("film", figures(2 * MIB))
        assert caught.value.code == rpc.Code.DAMAGED
        assert isinstance(on.client.machine.err, rpc.DeliveryFailed)
        assert on.client.machine.tick(C.ErrDelivery) == 2, "it has come, and gone"
        assert not taking.got
        assert (await on.server.send_payload("film", "small")).executed
        assert net.made == 1


async def test_a_chunk_that_is_missing_ends_the_connection_and_the_payload_goes_on_in_the_next() -> None:
    net = FaultyNet(losing(m.Chunk))
    async with consuming(net, errors=True) as (on, taking):
        assert (await on.server.send_payload("film", figures(2 * MIB))).executed
        assert [got.data for got in taking.got] == [figures(2 * MIB)]
        assert net.made == 2
        assert on.client.statistics.drops == 1


async def welcoming(client: rpc.Client, server: Raw) -> Raw:
    """The client has heard of the source by this server, and is ready."""
    client.start()
    await server.hear()
    schema = am.Machine(Basic).schema
    states = tuple(schema.names)
    await server.say(
        m.Welcome(
            1, b"s", 1, 0, (CHUNKS,), None, "source", states, None, bytes.fromhex(schema.hash), (0,) * len(states), 1, 0
        )
    )
    assert isinstance(await server.hear(), m.Ready)
    return server


async def test_data_that_are_no_value_are_refused() -> None:
    _, consumer = taking_machine()
    near, far = pair()
    client: rpc.Client = rpc.Client.over(far, Basic, id="raw", consumer=consumer)
    server = await welcoming(client, Raw(near))
    await server.say(m.Payload(b"t", "film", size=3))
    assert await server.hear() == m.PayloadAck(b"t", consumed=False)
    data = b"\xc1\xc1\xc1"
    await server.say(m.Chunk(b"t", 0, data, sha256(data).digest()))
    nack = await server.hear()
    assert isinstance(nack, m.PayloadNack)
    assert (nack.token, nack.code) == (b"t", "BAD_ARGS")
    # What is late of it is not looked at; what is no part of what was announced ends the connection.
    await server.say(m.Chunk(b"t", 3, b"x"), m.Payload(b"u", "film", size=3), m.Chunk(b"u", 1, b"x"))
    assert isinstance(await server.hear(), m.PayloadAck)
    closed = await server.closed()
    assert (closed.code, closed.reason) == (4400, "BAD_FRAME: a chunk begins at byte 1, 0 have come")
    await client.machine.when_not(C.Start)
    assert client.delivering is None


async def test_a_payload_that_was_refused_is_refused_again_and_not_consumed() -> None:
    """A second copy, by a network or by a server that did not hear of it: the server was told already."""

    class Choosy(Taking):
        chooses = True

        def ServerPayloadEnter(self, e: am.Event) -> bool:
            return not self.chooses

    taking = Choosy()
    consumer: am.Machine[Any] = am.Machine(Basic, taking, id="consumer")
    near, far = pair()
    client: rpc.Client = rpc.Client.over(far, Basic, id="raw", consumer=consumer, max_payload=10)
    server = await welcoming(client, Raw(near))
    for payload in (m.Payload(b"t", "news", data=1), m.Payload(b"u", "film", size=11)):
        await server.say(payload)
        nack = await server.hear()
        assert isinstance(nack, m.PayloadNack)
        taking.chooses = False
        await server.say(payload)
        assert await server.hear() == nack
    assert not taking.got
    await client.stop()


async def test_a_client_that_acknowledges_what_was_not_sent_is_cut_off() -> None:
    async with greeted() as (on, client):
        sent = on.server.send_payload("film", figures(2 * MIB))
        announced = await client.hear()
        assert isinstance(announced, m.Payload)
        assert (announced.size, announced.data) == (2 * MIB + 5, None)
        await client.say(m.PayloadAck(announced.token, consumed=False, received=1))
        closed = await client.closed()
        assert closed.code == 4400
        assert not sent.done()
        assert sent.acknowledged == 0


async def test_a_client_that_does_not_know_chunks_gets_what_fits_into_a_frame() -> None:
    async with greeted(HELLO) as (on, client):
        with pytest.raises(rpc.DeliveryFailed, match="TOO_LARGE: 'film' does not fit into a frame"):
            await on.server.send_payload("film", figures(2 * MIB))
        on.server.send_payload("film", "small")
        heard = await client.hear()
        assert isinstance(heard, m.Payload)
        assert heard.data == "small"
        await client.say(m.PayloadAck(heard.token))


# Time


def test_after_its_time_nothing_more_of_a_payload_is_sent() -> None:
    async def body() -> None:
        async with greeted() as (on, client):
            sent = on.server.send_payload("film", figures(2 * MIB), within=5.0)
            announced = await client.hear()
            assert isinstance(announced, m.Payload)
            await client.say(m.PayloadAck(announced.token, consumed=False))
            for n in range(WINDOW // CHUNK):
                chunk = await client.hear()
                assert isinstance(chunk, m.Chunk)
                assert chunk.offset == n * CHUNK
            with pytest.raises(rpc.DeliveryFailed, match="DEADLINE: 'film' was not consumed within 5"):
                await sent
            assert await client.hear() == m.PayloadWithdrawn(announced.token)
            # Who asks for it later, even in another connection, is told the same.
            await client.say(m.PayloadAck(announced.token, consumed=False, received=CHUNK), m.SyncRequest(1))
            assert await client.hear() == m.PayloadWithdrawn(announced.token)
            assert isinstance(await client.hear(), m.Full)
            await client.say(m.PayloadAck(announced.token))  # a late answer does no harm
            on.server.send_payload("film", "the next one")
            following = await client.hear()
            assert isinstance(following, m.Payload)
            assert following.data == "the next one"
            await client.say(m.PayloadAck(following.token))
            assert on.server.machine.tick(S.ErrDelivery) == 0, "it was awaited"

    run(body())


@pytest.mark.parametrize("size", [10, 2 * MIB])
def test_a_payload_that_is_late_and_that_nobody_awaits_becomes_an_error_of_the_server(size: int) -> None:
    async def body() -> None:
        async with greeted() as (on, _):
            await on.server.machine.when(S.Ready)
            failed = on.server.machine.when(S.ErrDelivery)
            on.server.send_payload("film", figures(size), within=30.0)
            await failed
            error = on.server.machine.err
            assert isinstance(error, rpc.DeliveryFailed)
            assert error.code == rpc.Code.DEADLINE
            assert asyncio.get_running_loop().time() == pytest.approx(30.0)

    run(body())


def test_the_time_of_a_payload_begins_with_the_server() -> None:
    async def body() -> None:
        source: am.Machine[Any] = am.Machine(Basic, id="source")
        server = rpc.Server(source, "late")
        sent = server.send_payload("news", 1, within=5.0)
        consumed = server.send_payload("news", 2)
        near, far = pair()
        serving = asyncio.create_task(server.serve(near))
        raw = Raw(far)
        await raw.say(HELLO)
        with pytest.raises(rpc.DeliveryFailed, match="DEADLINE"):
            await sent
        assert not consumed.done()
        await raw.end.close()
        await serving
        await server.stop()

    run(body())


def test_a_payload_that_was_consumed_in_time_is_over() -> None:
    async def body() -> None:
        async with consuming(MemoryNet()) as (on, taking):
            for data in ("small", figures(2 * MIB)):
                assert (await on.server.send_payload("film", data, within=5.0)).executed
            frames = on.server.statistics()["rc-test"].frames_out
            await asyncio.sleep(10.0)
            assert on.server.statistics()["rc-test"].frames_out == frames
            assert len(taking.got) == 2

    run(body())


# Room


async def test_while_a_large_payload_is_with_its_consumer_no_other_one_comes() -> None:
    busy, gate = threading.Event(), threading.Event()

    class Slow(Taking):
        def AState(self, e: am.Event) -> None:
            busy.set()
            gate.wait(20)

    taking = Slow()
    consumer: am.Machine[Any] = am.Machine(Basic, taking, id="consumer", handler_timeout=30.0)
    async with paired(MemoryNet(), consumer=consumer) as on:
        occupied = asyncio.create_task(asyncio.to_thread(consumer.add, "A"))
        await asyncio.to_thread(busy.wait, 20)
        first, second = (on.server.send_payload("film", figures(2 * MIB)) for _ in range(2))
        await until_chunks(on.client, 33)
        while on.client.statistics.payloads < 2:
            await asyncio.sleep(0)
        for _ in range(5):
            await on.mirror.add("A")  # there is time for it
        assert not first.done()
        assert second.acknowledged == 0
        assert on.client.statistics.chunks == 33
        gate.set()
        assert (await first).executed
        assert (await second).executed
        await occupied
        assert [len(got.data) for got in taking.got] == [2 * MIB, 2 * MIB]


async def test_a_client_that_does_not_read_stalls_the_sender() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    server = rpc.Server(source, "test", push_interval=0.0001)
    near, far = pair()
    deaf = Deaf(far)
    serving = asyncio.create_task(server.serve(near))
    _, consumer = taking_machine()
    client: rpc.Client = rpc.Client.over(deaf, Basic, id="slow", consumer=consumer)
    client.start()
    await client.when_ready()
    sent = server.send_payload("film", figures(4 * MIB))
    while not client.delivering or client.delivering[0] < MIB:
        await asyncio.sleep(0)
    deaf.hears.clear()
    read = client.delivering[0]
    for _ in range(300):
        source.add("Ask")
        await asyncio.sleep(0)
    statistics = server.statistics()["rc-slow"]
    assert statistics.bytes_out < read + WINDOW + CHUNK + 100_000
    assert statistics.backlog <= 2, "frames that waited at our side of the pipe"
    deaf.hears.set()
    assert (await sent).executed
    await client.netmach.when_time(["Ask"], [source.tick("Ask")])
    await asyncio.gather(client.stop(), server.stop())
    await serving


async def test_a_chunk_waits_until_nothing_else_has_to_be_sent() -> None:
    async with greeted(push_interval=0.0001) as (on, client):
        on.server.send_payload("film", figures(2 * MIB))
        film = await client.hear()
        assert isinstance(film, m.Payload)
        for _ in range(3):
            on.server.send_payload("filler", bytes(900_000))  # more than the pipe holds
        await client.say(m.PayloadAck(film.token, consumed=False), m.Add(1, (on.source.index("A"),)))
        await on.source.when("A")
        on.source.add("B")
        heard = [type(await client.hear()) for _ in range(6)]
        assert heard == [m.Payload, m.Payload, m.Payload, m.Result, m.ClockPush, m.Chunk]


@pytest.mark.skipif(tracemalloc.is_tracing(), reason="somebody else counts already")
def test_64_mebibytes_over_tcp_take_no_memory_but_their_own() -> None:
    async def body() -> None:
        async with tcp() as net, consuming(net) as (on, taking):
            data = figures(64 * MIB)
            sent = on.server.send_payload("film", data)  # encoded from here on
            tracemalloc.start()
            extra = []
            for n in range(1, 16):
                await come(on, 4 * n * MIB)
                assert on.client.delivering is not None
                # What has come is there, in a buffer that grows by eighths.
                extra.append(tracemalloc.get_traced_memory()[0] - on.client.delivering[0] * 9 // 8)
            assert (await sent).executed
            peak = tracemalloc.get_traced_memory()[1]
            assert max(extra) < 4 * MIB, extra
            assert peak < (64 + 8 + 64 + 4) * MIB, "the buffer, and the value made of it"
            assert on.server.statistics()["rc-test"].backlog <= 16
            assert taking.got[0].data == data
            taking.got.clear()
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] < MIB, "it is gone on both sides"
            tracemalloc.stop()

    asyncio.run(body(), debug=False)


async def test_a_connection_that_was_lost_leaves_nothing_of_a_payload_at_the_server() -> None:
    async with greeted() as (on, client):
        sent = on.server.send_payload("film", figures(2 * MIB))
        announced = await client.hear()
        assert isinstance(announced, m.Payload)
        await client.say(m.PayloadAck(announced.token, consumed=False))
        await client.hear()
        (kept,) = on.server._clients
        client.end.cut()
        await on.server.machine.when_not(S.ClientConnected)
        await asyncio.wait(on.tasks)
        # The session is kept, for a while; the data are with those that wait for a client.
        assert kept.connection.session.transfer is None
        assert kept._convoy is not None
        assert not kept._convoy._waiting
        await on.server.stop()
        assert not len(on.server._sending._outbox)
        with pytest.raises(rpc.DeliveryFailed, match="SHUTDOWN"):
            await sent


async def test_each_of_several_clients_gets_its_own() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    server = rpc.Server(source, "test", clients=2)
    serving, clients, takings = [], [], []
    for name in ("one", "two"):
        near, far = pair()
        serving.append(asyncio.create_task(server.serve(near)))
        taking, consumer = taking_machine()
        client: rpc.Client = rpc.Client.over(far, Basic, id=name, consumer=consumer)
        client.start()
        await client.when_ready()
        clients.append(client)
        takings.append(taking)
    sent = [
        server.send_payload("film", figures(size), destination=f"rc-{name}")
        for size, name in ((2 * MIB, "one"), (3 * MIB, "two"))
    ]
    for each in sent:
        assert (await each).executed
    assert [[len(got.data) for got in taking.got] for taking in takings] == [[2 * MIB], [3 * MIB]]
    await asyncio.gather(*(client.stop() for client in clients), server.stop())
    await asyncio.wait(serving)


async def test_a_payload_of_one_client_costs_the_others_nothing() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    server = rpc.Server(source, "test", clients=3)
    async with AsyncExitStack() as stack:
        serving = []
        for name in ("one", "two", "three"):
            near, far = pair()
            serving.append(asyncio.create_task(server.serve(near)))
            _, consumer = taking_machine()
            client: rpc.Client = rpc.Client.over(far, Basic, id=name, consumer=consumer)
            client.start()
            stack.push_async_callback(client.stop)
            await client.when_ready()
        assert (await server.send_payload("film", figures(2 * MIB), destination="rc-two")).executed
        late = server.send_payload("film", figures(2 * MIB), destination="rc-two", within=0.0)
        with pytest.raises(rpc.DeliveryFailed, match="DEADLINE"):
            await late
        assert [client._convoy is not None for client in server._clients] == [False, True, False]
    await server.stop()
    await asyncio.wait(serving)


def test_a_chunk_has_a_size_that_fits() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    for chunk in (0, m.LARGEST_CHUNK + 1):
        with pytest.raises(am.InvalidArgs, match="a chunk has 1 to 262144 bytes"):
            rpc.Server(source, chunk=chunk)


async def test_a_client_without_a_consumer_that_gets_payloads_is_told_to_the_log_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    near, far = pair()
    server = rpc.Server(am.Machine(Basic, id="source"))
    serving = asyncio.create_task(server.serve(near))
    client = rpc.Client.over(far, Basic, id="deaf")
    client.start()
    await client.when_ready()
    for name in ("news", "figures"):
        with pytest.raises(rpc.DeliveryFailed, match="without a consumer"):
            await server.send_payload(name, 1)
    assert caplog.messages == ["rc-deaf gets payloads and has no consumer: 'news' is refused"]
    await client.stop()
    await serving
