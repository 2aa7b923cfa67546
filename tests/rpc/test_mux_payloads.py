"""Payloads through a mux: each connection has a server of its own, and a payload follows its client to the next one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.machine.args import ErrorArgs
from asyncmachine.rpc import deliveries
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.chunks import CHUNK, WINDOW
from asyncmachine.rpc.codec import decode
from asyncmachine.rpc.deliveries import Kept
from asyncmachine.rpc.errors import DeliveryFailed
from asyncmachine.rpc.remote_result import Delivery
from asyncmachine.rpc.sessions import Sessions
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import MuxStates as M
from asyncmachine.rpc.stranded import NOBODY, Stranded
from asyncmachine.rpc.transport import LOST, Listener, Transport, TransportClosed
from asyncmachine.rpc.transport.memory import MemoryListener, MemoryTransport, pair
from asyncmachine.rpc.transport.socket_transport import SocketTransport
from tests.rpc.behaviour import QUICK, Basic, Taking
from tests.rpc.large import MIB, figures, taking_machine
from tests.rpc.test_server import HELLO, Raw
from tests.rpc.time_loop import run

ADDRESSES = ("memory", "tcp://127.0.0.1:0")
ID = "rc-one"
PATIENT = rpc.Backoff(first=0.001, cap=0.01, tries=None)


class Line:
    """A client's end of a connection, which can be cut, or be lost for the client alone."""

    def __init__(self, inner: Transport, swallows: Callable[[bytes], bool]) -> None:
        self.inner = inner
        self._swallows = swallows
        self.peer = inner.peer
        self._is_lost = False
        self._reading: asyncio.Task[bytes] | None = None

    @property
    def closed(self) -> bool:
        return self._is_lost or self.inner.closed

    def cut(self) -> None:
        assert isinstance(self.inner, MemoryTransport | SocketTransport)
        if isinstance(self.inner, MemoryTransport):
            self.inner.cut()
        else:
            self.inner.abort()

    def lose(self) -> None:
        """The other side hears of nothing."""
        self._is_lost = True
        assert self._reading is not None
        self._reading.cancel()

    async def send(self, data: bytes) -> None:
        if not self._is_lost and not self._swallows(data):
            await self.inner.send(data)

    async def recv(self) -> bytes:
        self._reading = asyncio.ensure_future(self.inner.recv())
        try:
            return await self._reading
        except asyncio.CancelledError:
            if self._is_lost:
                raise TransportClosed(LOST, "lost") from None
            raise

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if not self._is_lost:
            await self.inner.close(code, reason)


class Site:
    """A mux, and clients that come to it. With `closed` nobody gets through, `without_acks` no answer to a payload."""

    def __init__(self, mux: rpc.Mux, dial: rpc.Dial, source: am.Machine[Any]) -> None:
        self.mux = mux
        self.source = source
        self.closed = self.without_acks = False
        self.lines: dict[str, list[Line]] = {}
        self.clients: list[rpc.Client] = []
        self.dial = dial

    async def client(
        self, id: str = "one", timing: rpc.Timing | None = None, **options: Any
    ) -> tuple[rpc.Client, Taking]:
        taking, consumer = taking_machine()
        lines = self.lines.setdefault(id, [])

        async def dial() -> Transport:
            if self.closed:
                raise OSError("nobody gets through")
            lines.append(Line(await self.dial(), self._swallows))
            return lines[-1]

        client = rpc.Client(dial, Basic, id=id, consumer=consumer, backoff=PATIENT, timing=timing, **options)
        self.clients.append(client)
        client.start()
        await client.when_ready()
        return client, taking

    def _swallows(self, data: bytes) -> bool:
        return self.without_acks and isinstance(decode(data), m.PayloadAck)

    def session(self, id: str = ID) -> bytes:
        """The number of the client's session."""
        (client,) = self.server(id)._clients
        return client.connection.session.id

    def server(self, id: str = ID) -> rpc.Server:
        """Where the client is now."""
        return next(server for server in self.mux.servers.values() if id in server.client_ids)

    def cut(self, id: str = "one") -> None:
        self.lines[id][-1].cut()

    @property
    def stranded(self) -> Stranded:
        assert self.mux._sessions is not None
        return self.mux._sessions.stranded


@asynccontextmanager
async def site(address: str = "memory", **options: Any) -> AsyncIterator[Site]:
    listener = MemoryListener()

    async def listen() -> Listener:
        return listener

    source: am.Machine[Any] = am.Machine(Basic, options.pop("handlers", None), id="source")
    is_memory = address == "memory"
    mux = rpc.Mux(source, listen if is_memory else address, "test", push_interval=0.001, **options)
    mux.start()
    await mux.when_ready()
    on = Site(mux, listener.dial if is_memory else rpc.dial(mux.address), source)
    try:
        async with asyncio.timeout(60.0):
            yield on
    finally:
        for client in on.clients:
            await client.stop()
        await mux.stop()
        for lines in on.lines.values():
            for line in lines:
                await line.inner.close()


async def come(client: rpc.Client, size: int) -> None:
    while (client.delivering or (0, 0))[0] < size:
        await asyncio.sleep(0)


async def until_stranded(on: Site, count: int = 1) -> None:
    while len(on.stranded) != count:
        await asyncio.sleep(0)


@pytest.mark.parametrize("address", ADDRESSES)
async def test_one_of_the_same_id_is_told_to_come_later_and_gets_nothing_of_the_first(address: str) -> None:
    async with site(address) as on:
        client, taking = await on.client()
        prying, consumer = taking_machine()
        second = rpc.Client(on.dial, Basic, id="one", consumer=consumer, reconnect=False)
        await second.run()
        assert isinstance(second.machine.err, rpc.Rejected)
        assert second.machine.err.code == rpc.Code.BUSY
        assert (await on.mux.send_payload("letter", "for the first", destination=ID)).executed
        assert [got.data for got in taking.got] == ["for the first"]
        gone = on.mux.machine.when_not(M.HasClients)
        await client.stop()
        await gone
        third, _ = await on.client()
        assert C.Ready in third.machine, "the id is free again"
        assert prying.got == []


@pytest.mark.parametrize("by", ["its server", "the mux"])
@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_large_payload_goes_on_at_the_next_server_where_it_stopped(address: str, by: str) -> None:
    async with site(address) as on:
        client, taking = await on.client()
        _, others = await on.client("two")
        data = figures(8 * MIB)
        if by == "the mux":
            sent = on.mux.send_payload("film", data, destination=ID)
        else:
            sent = on.server().send_payload("film", data)
        names = [on.server().machine.id]
        for part in (2 * MIB, 5 * MIB):
            await come(client, part)
            on.cut()
            await client.machine.when_not(C.Connected)
            await client.when_ready()
            names.append(on.server().machine.id)
        assert (await sent).executed
        assert len(set(names)) == 3, "each connection has its own server"
        assert [got.data for got in taking.got] == [data]
        assert others.got == []
        most = len(data) // CHUNK + 1 + 2 * (WINDOW // CHUNK)
        assert client.statistics.chunks <= most, "what was on its way when it was cut has come twice at most"
        assert len(on.stranded) == 0
        assert not on.mux.machine.is_err()


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_connection_that_only_the_client_misses_is_left_by_its_payload_too(address: str) -> None:
    async with site(address) as on:
        client, taking = await on.client()
        data = figures(4 * MIB)
        sent = on.server().send_payload("film", data, within=60.0)
        await come(client, MIB)
        on.lines["one"][-1].lose()
        assert (await sent).executed
        assert [got.data for got in taking.got] == [data]


async def a_client_that_does_not_return(address: str) -> None:
    async with site(address) as on:
        client, taking = await on.client()
        sent = on.server().send_payload("film", figures(4 * MIB), within=3.0)
        await come(client, MIB)
        on.closed = True
        on.cut()
        await until_stranded(on)
        with pytest.raises(rpc.DeliveryFailed, match="was not consumed within 3 s: rc-one is away") as caught:
            await sent
        assert caught.value.code == rpc.Code.DEADLINE
        assert len(on.stranded) == 0
        on.closed = False
        await client.when_ready()
        assert (await on.mux.send_payload("film", "the next one", destination=ID)).executed
        assert [got.data for got in taking.got] == ["the next one"]
        assert client.delivering is None, "what had come of the other one is dropped"


def test_a_client_that_does_not_return_ends_the_wait_at_its_deadline() -> None:
    run(a_client_that_does_not_return("memory"))


async def test_a_client_that_does_not_return_over_tcp_ends_the_wait_at_its_deadline() -> None:
    await a_client_that_does_not_return("tcp://127.0.0.1:0")


def test_without_a_deadline_it_waits_as_long_as_a_session() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        async with site(timing=replace(rpc.Timing(), keep=2.0)) as on:
            await on.client()
            sent = on.server().send_payload("film", figures(2 * MIB))
            on.closed = True
            on.cut()
            began = loop.time()
            with pytest.raises(rpc.DeliveryFailed, match="within 2 s: rc-one is away"):
                await sent
            assert loop.time() - began == pytest.approx(2.0, abs=0.1)

    run(body())


def test_its_time_goes_on_from_server_to_server() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        async with site() as on:
            client, taking = await on.client()
            on.without_acks = on.closed = True
            sent = on.server().send_payload("news", 1, within=5.0)
            began = loop.time()
            on.cut()
            await asyncio.sleep(3.0)
            assert len(on.stranded) == 1
            on.closed = False
            await client.when_ready()
            await client.sync()
            assert len(on.stranded) == 0
            with pytest.raises(rpc.DeliveryFailed, match=r"'news' was not consumed within 5\.0 s"):
                await sent
            assert loop.time() - began == pytest.approx(5.0)
            assert [got.data for got in taking.got] == [1], "only that was not heard of"

    run(body())


async def test_a_failure_that_nobody_awaits_is_told_by_the_mux_which_goes_on() -> None:
    async with site() as on:
        await on.client()
        told: list[str] = []
        on.mux.machine.bind({"DeliveryErrState": lambda e: told.append(str(e.args(ErrorArgs).err))})
        failed = on.mux.machine.when_ticks(M.DeliveryErr, 2)
        on.closed = True
        on.cut()
        while on.mux.servers:
            await asyncio.sleep(0)
        on.mux.send_payload("news", 1, destination=ID, within=0.01)
        await failed
        assert told == ["DEADLINE: 'news' was not consumed within 0.01 s: rc-one is away"]
        assert on.mux.machine.is_(M.Ready)
        assert not on.mux.machine.is_(M.DeliveryErr)


async def test_it_goes_on_in_a_new_session_too() -> None:
    async with site(timing=replace(rpc.Timing(), keep=0.0)) as on:
        client, taking = await on.client()
        session = on.session()
        sent = on.server().send_payload("film", figures(4 * MIB), within=60.0)
        await come(client, 2 * MIB)
        on.cut()
        assert (await sent).executed
        assert [len(got.data) for got in taking.got] == [4 * MIB]
        assert on.session() != session
        assert client.statistics.chunks <= 65 + WINDOW // CHUNK


async def test_what_is_sent_by_the_server_of_an_earlier_connection_goes_where_the_client_is() -> None:
    async with site() as on:
        client, taking = await on.client()
        old = on.server()
        on.cut()
        await client.machine.when_not(C.Connected)
        await client.when_ready()
        await on.mux.machine.when(M.HasClients)
        assert (await old.send_payload("late", 1)).executed
        assert (await old.send_payload("late", 2, destination=ID)).executed
        on.closed = True
        on.cut()
        while on.mux.servers:
            await asyncio.sleep(0)
        sent = old.send_payload("later", 3)
        await until_stranded(on)
        on.closed = False
        assert (await sent).executed
        assert [got.data for got in taking.got] == [1, 2, 3]


async def test_payloads_of_one_name_keep_their_order_at_the_next_server() -> None:
    async with site() as on:
        client, taking = await on.client()
        server = on.server()
        sent = [server.send_payload("film", data) for data in (figures(4 * MIB), "small", figures(2 * MIB), "end")]
        await come(client, 2 * MIB)
        on.cut()
        for each in sent:
            assert (await each).executed
        assert [got.data if isinstance(got.data, str) else len(got.data) for got in taking.got] == [
            4 * MIB, "small", 2 * MIB, "end",
        ]  # fmt: skip


async def test_who_sends_makes_no_difference_to_the_order() -> None:
    async with site() as on:
        end = await on.dial()
        assert isinstance(end, MemoryTransport)
        raw = Raw(end)
        await raw.say(HELLO)
        welcome = await raw.hear()
        assert isinstance(welcome, m.Welcome)
        # The client is not ready yet: its server keeps what it is given, and the mux does.
        server = on.server(HELLO.id)
        for n in range(6):
            if n % 2:
                on.mux.send_payload("film", n, destination=HELLO.id)
            else:
                server.send_payload("film", n)
        await raw.say(m.Ready(welcome.session))
        heard = [await raw.hear() for _ in range(6)]
        assert [each.data for each in heard if isinstance(each, m.Payload)] == list(range(6))
        for each in heard:
            assert isinstance(each, m.Payload)
            await raw.say(m.PayloadAck(each.token))
        await raw.end.close()


async def test_the_mux_sends_to_who_is_asking_to_who_is_there_and_to_who_will_come() -> None:
    sites: list[Site] = []
    handlers = {"AskState": lambda e: sites[0].mux.send_payload("answer", e.raw_args["n"], e)}
    async with site(handlers=handlers) as on:
        sites.append(on)
        early = on.mux.send_payload("hello", 0, destination="rc-two")
        one, first = await on.client("one")
        two, second = await on.client("two")
        assert (await early).executed
        await one.netmach.add("Ask", n=1)
        await two.netmach.add("Ask", n=2)
        assert (await on.mux.send_payload("news", 3, destination=ID)).executed
        while len(first.got) + len(second.got) < 4:
            await asyncio.sleep(0)
        assert [got.data for got in first.got] == [1, 3]
        assert [got.data for got in second.got] == [0, 2]
        assert first.got[0].source == "source"
        with pytest.raises(rpc.DeliveryFailed, match="name a destination"):
            on.mux.send_payload("news", 4)


async def test_a_mux_that_stops_fails_what_waits() -> None:
    async with site() as on:
        client, _ = await on.client()
        sent = on.server().send_payload("film", figures(4 * MIB))
        early = on.mux.send_payload("news", 1, destination="rc-nobody")
        await come(client, MIB)
        on.closed = True
        on.cut()
        await until_stranded(on, 2)
        await on.mux.stop()
        for each in (sent, early):
            with pytest.raises(rpc.DeliveryFailed, match="SHUTDOWN: rm-test has stopped"):
                await each


async def test_before_it_starts_a_mux_keeps_what_is_sent() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    listener = MemoryListener()

    async def listen() -> Listener:
        return listener

    mux = rpc.Mux(source, listen, "test")
    sent = mux.send_payload("news", 1, destination=ID, within=60.0)
    mux.start()
    taking, consumer = taking_machine()
    client = rpc.Client(listener.dial, Basic, id="one", consumer=consumer, backoff=QUICK)
    client.start()
    assert (await sent).executed
    assert [got.data for got in taking.got] == [1]
    await client.stop()
    await mux.stop()


async def test_servers_that_a_function_makes_send_themselves() -> None:
    mux = rpc.Mux(lambda name, _: rpc.Server(am.Machine(Basic, id=name), name), "tcp://127.0.0.1:0")
    with pytest.raises(TypeError, match="made by a function: send by the one of the client"):
        mux.send_payload("news", 1, destination=ID)


async def test_what_such_a_server_could_not_deliver_is_told_by_the_mux() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    listener = MemoryListener()

    async def listen() -> Listener:
        return listener

    mux = rpc.Mux(lambda name, _: rpc.Server(source, name), listen, "test")
    told: list[str] = []
    mux.machine.bind({"DeliveryErrState": lambda e: told.append(str(e.args(ErrorArgs).err))})
    mux.start()
    await mux.when_ready()
    end = await listener.dial()
    assert isinstance(end, MemoryTransport)
    await Raw(end).handshake()
    (server,) = mux.servers.values()
    server.send_payload("news", 1)
    failed = mux.machine.when_ticks(M.DeliveryErr, 2)
    end.cut()
    await failed
    assert told == [f"SHUTDOWN: server {server.machine.id} has stopped"]
    assert mux.machine.is_(M.Ready)
    await mux.stop()


async def test_a_payload_goes_over_with_a_client_that_leaves_a_server_for_another() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    sessions = Sessions(30.0)
    old = rpc.Server(source, "old", clients=9, sessions=sessions)
    new = rpc.Server(source, "new", clients=9, sessions=sessions)
    current, serving = old, set()

    async def dial() -> Transport:
        near, far = pair()
        serving.add(asyncio.create_task(current.serve(near)))
        return far

    taking, consumer = taking_machine()
    client = rpc.Client(dial, Basic, id="one", consumer=consumer, backoff=QUICK)
    client.start()
    await client.when_ready()
    sent = old.send_payload("film", figures(16 * MIB), destination=ID)
    away = old.send_payload("news", 1, destination="rc-two")
    await come(client, MIB)
    current = new
    await old.drain(0.0, "an upgrade")
    assert not sent.done()
    assert (await sent).executed
    assert [len(got.data) for got in taking.got] == [16 * MIB]
    second, other = taking_machine()
    two = rpc.Client(dial, Basic, id="two", consumer=other, backoff=QUICK)
    two.start()
    assert (await away).executed
    assert [got.data for got in second.got] == [1]
    for each in (client, two):
        await each.stop()
    await new.stop()
    await asyncio.wait(serving)


# Room


def kept(token: bytes, size: int, within: float | None = None) -> Kept:
    result = Delivery(lambda error: None, None)
    return Kept(token, "film", bytes(size), "", result, None, within)


async def test_there_is_room_for_so_much_and_the_oldest_has_to_go() -> None:
    stranded = Stranded(30.0, limit=1000)
    first, second, third = (kept(b"%d" % n, 400) for n in range(3))
    for each in (first, second):
        stranded.put(each, ID, NOBODY, None)
    assert not first.result.done()
    stranded.put(third, ID, NOBODY, None)
    with pytest.raises(DeliveryFailed, match=r"3 payloads \(1200 bytes\) wait for clients that are away") as caught:
        first.result.wait(0)
    assert caught.value.code == rpc.Code.TOO_LARGE
    later: list[Kept] = []
    assert stranded.arrived("rc-two", b"2", later.append) == []
    got = stranded.arrived(ID, b"1", later.append)
    assert got == [second, third]
    assert [each.timer for each in got] == [None, None]
    assert later == []
    assert (len(stranded), stranded._bytes) == (0, 0)


async def test_one_that_is_larger_than_all_the_room_is_kept_alone() -> None:
    stranded = Stranded(30.0, limit=1000)
    small, large = kept(b"1", 10), kept(b"2", 1001)
    stranded.put(small, ID, NOBODY, None)
    stranded.put(large, ID, NOBODY, None)
    assert small.result.done()
    assert not large.result.done()
    stranded.clear("it is over")
    with pytest.raises(DeliveryFailed, match="SHUTDOWN: it is over"):
        large.result.wait(0)
    assert (len(stranded), stranded._bytes) == (0, 0)


async def test_their_number_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    stranded = Stranded(30.0)
    each = [kept(b"%d" % n, 1) for n in range(deliveries.MAX_KEPT + 1)]
    for one in each:
        stranded.put(one, ID, NOBODY, None)
    assert [one.result.done() for one in each] == [True] + [False] * deliveries.MAX_KEPT
    stranded.clear("it is over")


async def test_a_client_that_is_back_in_a_new_session_before_its_end_was_seen_gets_what_it_left() -> None:
    stranded = Stranded(30.0)
    new: list[Kept] = []
    stranded.arrived(ID, b"1", lambda _: None)
    assert stranded.arrived(ID, b"2", new.append) == []
    stranded.left(b"1")
    left = kept(b"left", 1)
    stranded.put(left, ID, b"1", None)
    assert new == [left]
    assert len(stranded) == 0


async def test_the_id_is_the_address_and_of_two_that_have_it_the_session_decides_and_else_the_newest_gets_it() -> None:
    stranded = Stranded(30.0)
    one: list[Kept] = []
    same: list[Kept] = []
    stranded.arrived(ID, b"1", one.append)
    stranded.arrived(ID, b"2", same.append)
    more, any_of_them = kept(b"more", 1), kept(b"any", 1)
    stranded.put(more, ID, b"1", None)
    stranded.put(any_of_them, ID, NOBODY, None)
    assert (one, same) == ([more], [any_of_them])


async def listening() -> Listener:
    return MemoryListener()


async def test_what_is_sent_before_it_starts_tells_its_failure_too() -> None:
    mux = rpc.Mux(am.Machine(Basic, id="source"), listening, "test")
    told = mux.machine.when_ticks(M.DeliveryErr, 2)
    mux.send_payload("news", 1, destination=ID, within=0.01)
    mux.start()
    await told
    await mux.stop()


async def test_a_mux_that_is_stopped_before_it_starts_fails_what_waits() -> None:
    mux = rpc.Mux(am.Machine(Basic, id="source"), listening, "test")
    sent = mux.send_payload("news", 1, destination=ID)
    await mux.stop()
    with pytest.raises(rpc.DeliveryFailed, match="SHUTDOWN: rm-test has stopped"):
        await sent


async def test_what_another_thread_sends_while_the_mux_starts_is_sent_once() -> None:
    """The thread's payload is in the outbox before the loop hears of it, and starting passes it on."""
    mux = rpc.Mux(am.Machine(Basic, id="source"), listening, "test")
    mux.start()
    await mux.when_ready()
    await mux.stop()
    sent: list[Delivery] = []
    thread = threading.Thread(target=lambda: sent.append(mux.send_payload("news", 1, destination=ID)))
    thread.start()
    thread.join()
    mux.start()
    await mux.when_ready()
    assert len(mux._sessions.stranded) == 1  # type: ignore[union-attr]
    await mux.stop()
    with pytest.raises(rpc.DeliveryFailed, match="SHUTDOWN"):
        await sent[0]
