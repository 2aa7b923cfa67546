"""A connection that is about to end: the client goes over to its next one, and nobody notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from msgspec.structs import replace

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import events as e
from asyncmachine.rpc import messages as m
from asyncmachine.rpc.chunks import WINDOW
from asyncmachine.rpc.codec import decode, encode
from asyncmachine.rpc.legality import Phase
from asyncmachine.rpc.sessions import Sessions
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import MuxStates
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport import Transport, TransportClosed
from asyncmachine.rpc.transport.many import Many
from asyncmachine.rpc.transport.memory import Frame, MemoryListener, pair
from asyncmachine.rpc.transport.memory import pair as ends
from tests.rpc.behaviour import NEVER, QUICK, Basic, Net, Pair, paired
from tests.rpc.duo import HELLO, Duo, ready, sent
from tests.rpc.large import MIB, come, consuming, figures
from tests.rpc.nets import MemoryNet
from tests.rpc.test_faults import FaultyNet
from tests.rpc.test_server import Raw, served
from tests.rpc.time_loop import run


def served_client(pair: Pair) -> Any:
    (client,) = pair.server._clients
    return client


class Closing:
    """A transport that is closed in another way."""

    def __init__(self, near: Transport, close: Any) -> None:
        self.peer, self.send, self.recv, self.close = near.peer, near.send, near.recv, close
        self._near = near

    @property
    def closed(self) -> bool:
        return self._near.closed


class Quiet:
    """Notes every change of the client's connection states."""

    def __init__(self, client: rpc.Client[Any]) -> None:
        self.client = client
        self.before = client.machine.clock()

    def assert_unchanged(self) -> None:
        after = self.client.machine.clock()
        changed = {name for name, tick in after.items() if tick != self.before[name]}
        assert changed == set()
        assert self.client.machine.is_(C.Connected, C.Ready)


async def moved(pair: Pair, first: Any) -> None:
    """Waits until the server has another connection of the client, which is ready."""
    while pair.client._connections.connection is first or not pair.server._clients or not served_client(pair).ready:
        await pair.server.machine.when_next_active(S.HandshakeDone)


async def ready_client(dial: rpc.Dial | str, id: str = "one", backoff: rpc.Backoff = QUICK) -> rpc.Client[Any]:
    client = rpc.Client(dial, Basic, id=id, backoff=backoff)
    client.start()
    await client.when_ready()
    return client


@asynccontextmanager
async def going(net: Net | None = None, **options: Any) -> AsyncIterator[Pair]:
    async with paired(net or MemoryNet(), Basic, **options) as pair:
        yield pair


async def test_the_session_goes_on_in_the_next_connection() -> None:
    async with going() as pair:
        await pair.mirror.add("A")
        first, quiet = pair.client._connections.connection, Quiet(pair.client)
        session = served_client(pair).connection.session.id
        served_client(pair).go_away(0)
        await moved(pair, first)
        quiet.assert_unchanged()
        assert served_client(pair).connection.session.id == session
        assert (await pair.mirror.add("B")).executed
        pair.source.add("D")
        await pair.mirror.when("D")
        pair.assert_equal()
        statistics = pair.client.statistics
        assert (statistics.drops, statistics.out_of_step, statistics.open_calls) == (0, 0, 0)
        assert pair.client.machine.err is None


async def test_a_stop_waits_for_the_connection_that_was_left() -> None:
    listener = MemoryListener()
    hung_up, may_end = asyncio.Event(), asyncio.Event()
    slow = True

    async def dial() -> Transport:
        nonlocal slow
        near = await listener.dial()
        if slow:
            slow, close = False, near.close

            async def close_slowly(code: int = 1000, reason: str = "") -> None:
                hung_up.set()
                await may_end.wait()
                await close(code, reason)

            near = Closing(near, close_slowly)
        return near

    async def listen() -> rpc.Listener:
        return listener

    server = rpc.Server(am.Machine(Basic, id="source"), "s", clients=2)
    server.serve_at(listen)
    client = await ready_client(dial)
    (one,) = server._clients
    one.go_away(0)
    await hung_up.wait()
    stopped = client.stop()
    await client.machine.when_not(C.Start, C.Connected, C.Disconnecting)
    current = client._connections.task
    assert current is not None
    await asyncio.wait([current])
    await asyncio.sleep(0)
    assert not stopped.done()
    may_end.set()
    await stopped
    assert client._connections.running == ()
    await server.stop()


async def test_it_goes_over_again_and_again() -> None:
    async with going() as pair:
        quiet = Quiet(pair.client)
        for number in range(5):
            first = pair.client._connections.connection
            served_client(pair).go_away(0)
            await moved(pair, first)
            assert (await pair.mirror.add("Ask", n=number)).executed
        quiet.assert_unchanged()
        assert pair.source.tick("Ask") == 9


async def test_it_waits_for_the_answers_of_open_calls() -> None:
    holds = True
    lost = asyncio.Semaphore(0)

    def without_answers(frame: Frame) -> Iterable[bytes]:
        if not holds or not isinstance(decode(frame.data), m.Result):
            return (frame.data,)
        lost.release()
        return ()

    timing = replace(rpc.Timing(), retry=0.005)
    async with going(FaultyNet(without_answers), timing=timing) as pair:
        first = pair.client._connections.connection
        call, told = pair.mirror.add("Ask", n=1), pair.mirror.add_ns("Ask", n=2)
        served_client(pair).go_away(2)
        for _ in range(4):  # the answer is asked for again and again, and until it comes nothing moves
            await lost.acquire()
            assert pair.client._connections.connection is first
            assert not pair.client._connections.is_between()
        holds = False
        assert (await call).executed
        await told
        await moved(pair, first)
        assert pair.source.tick("Ask") == 3


def test_it_waits_for_the_rest_of_a_large_payload() -> None:
    held: list[bytes] = []
    holds = True

    def holding_back(frame: Frame) -> Iterable[bytes]:
        found = decode(frame.data)
        if holds and isinstance(found, m.PayloadAck) and found.received:
            held.append(frame.data)
            return ()
        if frame.sender == "b" and not holds:
            frames, held[:] = [*held, frame.data], []
            return frames
        return (frame.data,)

    async def body() -> None:
        nonlocal holds
        async with consuming(FaultyNet(holding_back)) as (pair, taking):
            film = figures(2 * MIB)
            first = pair.client._connections.connection
            sent = pair.server.send_payload("film", film)
            await come(pair, WINDOW)
            served_client(pair).go_away(20)
            for _ in range(50):
                await asyncio.sleep(0.1)
                assert pair.client._connections.connection is first
                assert not pair.client._connections.is_between()
            holds = False
            await pair.mirror.add("A")
            assert (await sent).executed
            assert pair.client._connections.connection is first
            await asyncio.sleep(5)
            assert pair.client._connections.connection is not first
            assert [got.data for got in taking.got] == [film]
            assert pair.client.statistics.chunks == 33, "each came once"

    run(body())


def test_a_large_payload_goes_over_when_the_time_is_over() -> None:
    def without(frame: Frame) -> Iterable[bytes]:
        found = decode(frame.data)
        return () if isinstance(found, m.PayloadAck) and found.received else (frame.data,)

    async def body() -> None:
        async with consuming(FaultyNet(without)) as (pair, taking):
            film = figures(2 * MIB)
            first = pair.client._connections.connection
            sent = pair.server.send_payload("film", film)
            await come(pair, WINDOW)
            served_client(pair).go_away(2)
            assert (await sent).executed
            assert pair.client._connections.connection is not first
            assert [got.data for got in taking.got] == [film]
            assert pair.client.statistics.chunks == 33, "each came once"
            assert pair.client.machine.err is None

    run(body())


async def test_it_waits_no_longer_than_there_is_time() -> None:
    def without_answers(frame: Frame) -> Iterable[bytes]:
        return () if isinstance(decode(frame.data), m.Result) else (frame.data,)

    async with going(FaultyNet(without_answers)) as pair:
        first = pair.client._connections.connection
        call = pair.mirror.add("Ask", n=1)
        served_client(pair).go_away(0.02)
        await moved(pair, first)
        assert (await call).executed, "its answer is asked for in the next connection of the session"
        assert pair.source.tick("Ask") == 1


async def test_calls_between_two_connections_are_made_on_the_second() -> None:
    net = MemoryNet()
    async with going(net) as pair:
        first = pair.client._connections.connection
        served_client(pair).go_away(0)
        while not pair.client._connections.is_between():
            await asyncio.sleep(0)
        calls = [pair.mirror.add("Ask", n=n) for n in range(3)]
        told = pair.mirror.add_ns("Ask", n=3)
        asked = pair.client.sync()
        waiting = pair.mirror.when_args("Ask", n=7)
        assert all([(await call).executed for call in calls])
        await told
        await asked
        await moved(pair, first)
        pair.source.add("Ask", n=7)
        await waiting
        assert pair.source.tick("Ask") == 9
        await pair.client.sync()
        pair.assert_equal()


async def test_a_client_that_may_not_dial_again_stays() -> None:
    near, far = pair()
    server = rpc.Server(am.Machine(Basic, id="source"), "over")
    serving = asyncio.create_task(server.serve(near))
    client = rpc.Client.over(far, Basic, id="over")
    client.start()
    await client.when_ready()
    await server.machine.when(S.Ready)
    (served,) = server._clients
    served.go_away(0)
    assert (await client.netmach.add(Basic.A)).executed
    await client.sync()
    assert client.machine.is_(C.Ready)
    await client.stop()
    await serving


async def test_without_a_next_connection_the_first_one_goes_on_until_it_ends() -> None:
    async with going(backoff=NEVER) as pair:
        dial, asked = pair.dial, asyncio.Event()

        async def nowhere() -> Transport:
            asked.set()
            raise OSError("nobody there")

        pair.client._connections._dial = nowhere
        quiet = Quiet(pair.client)
        served_client(pair).go_away(0)
        await asked.wait()
        assert (await pair.mirror.add("A")).executed
        quiet.assert_unchanged()
        pair.client._connections._dial = dial
        await pair.server.stop()
        await pair.client.machine.when(C.RetryingConn)
        assert not pair.client._connections.is_between()


async def test_a_next_connection_that_is_refused_leaves_the_first_one() -> None:
    async with going() as pair:
        quiet, first = Quiet(pair.client), pair.client._connections.connection
        dial, refusals = pair.dial, 0

        async def refusing() -> Transport:
            nonlocal refusals
            near, far = ends()
            await near.send(encode(m.Reject("BUSY", "full", 0.001)))
            await near.close()
            refusals += 1
            pair.client._connections._dial = refusing if refusals < 3 else dial
            return far

        pair.client._connections._dial = refusing
        served_client(pair).go_away(2)
        await moved(pair, first)
        assert refusals == 3
        quiet.assert_unchanged()
        assert (await pair.mirror.add("A")).executed


def listen_at(listener: MemoryListener) -> rpc.Listen:
    async def listen() -> rpc.Listener:
        return listener

    return listen


async def test_stopping_in_between_says_goodbye_on_both() -> None:
    async with going() as pair:
        served_client(pair).go_away(0)
        while not pair.client._connections.is_between():
            await asyncio.sleep(0)
        call = pair.mirror.add("A")
        await pair.client.stop()
        with pytest.raises(rpc.RpcError):
            await call
        assert pair.client.machine.not_(C.Connected, C.Ready)
        while pair.serving:
            await asyncio.wait(pair.serving)
        pair.client.start()
        await pair.client.when_ready()


async def test_the_first_connection_may_be_lost_in_between() -> None:
    net = MemoryNet()
    async with going(net) as pair:
        quiet, first, cut = Quiet(pair.client), pair.client._connections.connection, net.newest
        assert cut is not None
        served_client(pair).go_away(0)
        while not pair.client._connections.is_between():
            await asyncio.sleep(0)
        cut.cut()
        call = pair.mirror.add("A")
        assert (await call).executed
        await moved(pair, first)
        quiet.assert_unchanged()


async def test_a_client_goes_over_to_another_server_of_a_mux() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    listener = MemoryListener()
    mux = rpc.Mux(source, listen_at(listener), push_interval=0.001)
    mux.start()
    await mux.when_ready()
    client = await ready_client(listener.dial)
    await client.netmach.add(Basic.A)
    (server,) = mux.servers.values()
    await server.machine.when(S.Ready)
    (served,) = server._clients
    session, quiet, first = served.connection.session.id, Quiet(client), client._connections.connection
    served.go_away(0)
    while client._connections.connection is first:
        await asyncio.sleep(0)
    quiet.assert_unchanged()
    assert (await client.netmach.add(Basic.B)).executed
    assert client._connections.session is not None
    assert client._connections.session.id == session
    assert client.statistics.calls == 2
    await client.stop()
    await mux.stop()


async def test_a_server_that_is_drained_ends_when_all_have_gone_to_the_other() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    sessions = Sessions(30.0)
    old = rpc.Server(source, "old", clients=9, sessions=sessions, push_interval=0.001)
    new = rpc.Server(source, "new", clients=9, sessions=sessions, push_interval=0.001)
    current, serving = old, set()

    async def dial() -> Transport:
        near, far = pair()
        serving.add(asyncio.create_task(current.serve(near)))
        return far

    clients = [await ready_client(dial, f"c{number}") for number in range(5)]
    for client in clients:
        await client.netmach.add(Basic.Ask, n=1)
    await old.machine.when(S.Ready)
    quiets = [Quiet(client) for client in clients]
    current = new
    await old.drain(2, "an upgrade")
    assert "Start" not in old.machine
    for client, quiet in zip(clients, quiets, strict=True):
        quiet.assert_unchanged()
        assert (await client.netmach.add(Basic.Ask, n=2)).executed
    assert len(new.client_ids) == 5
    assert source.tick("Ask") == 19
    for client in clients:
        await client.stop()
    await new.stop()
    await asyncio.wait(serving)


async def test_draining_ends_in_time_though_somebody_stays() -> None:
    async with served() as on:
        old = on.client()
        await old.handshake()
        await on.server.machine.when(S.Ready)
        draining = asyncio.create_task(on.server.drain(0.02))
        await asyncio.sleep(0)
        late = on.client()
        await late.say(replace(HELLO, id="late"))
        rejected = await late.hear()
        assert isinstance(rejected, m.Reject)
        assert (rejected.code, rejected.retry_after) == ("SHUTDOWN", 1.0)
        await draining
        assert isinstance(await old.hear(), m.Bye), "one that does not know GOAWAY hears of nothing else"
        assert (await old.closed()).code == 1001


async def test_a_server_at_an_address_listens_no_more_while_it_drains() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    server = rpc.Server(source, "tcp", clients=9)
    server.serve_at("tcp://127.0.0.1:0")
    listening: list[str] = []
    server.machine.bind({"RpcReadyState": lambda event: listening.append(event.args(rpc.states.Listening).address)})
    await server.machine.when(S.RpcReady)
    client = await ready_client(listening[0])
    draining = asyncio.create_task(server.drain(2))
    while server._accepting is None or not server._accepting.done():
        await asyncio.sleep(0)
    with pytest.raises(TransportClosed):
        await rpc.dial(listening[0])()
    assert (await client.netmach.add(Basic.A)).executed, "whoever is there is served to the end"
    await client.stop()
    await draining


async def test_a_mux_is_drained() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    listener = MemoryListener()
    mux = rpc.Mux(source, listen_at(listener))
    mux.start()
    await mux.when_ready()
    clients = [await ready_client(listener.dial, f"c{number}", NEVER) for number in range(3)]
    await mux.drain(0.02)
    assert not mux.servers
    assert "Start" not in mux.machine
    for client in clients:
        await client.machine.when(C.RetryingConn)
        await client.stop()


async def test_a_mux_whose_drain_is_cancelled_has_stopped_and_can_be_started_again() -> None:
    mux = rpc.Mux(am.Machine(Basic, id="source"), "tcp://127.0.0.1:0")
    mux.start()
    await mux.when_ready()
    client = await ready_client(mux.address, "one", NEVER)
    waiting = mux.send_payload("letter", "for one who never comes", destination="rc-nobody")
    draining = asyncio.create_task(mux.drain(60.0))
    while mux._accepting is None or not mux._accepting.done():
        await asyncio.sleep(0)
    assert mux.machine.is_(MuxStates.Start, MuxStates.HasClients)
    assert MuxStates.Ready not in mux.machine, "nobody can come any more"
    draining.cancel()
    await asyncio.wait([draining])
    assert draining.cancelled()
    assert MuxStates.Start not in mux.machine
    with pytest.raises(rpc.DeliveryFailed, match="rm-mux has stopped"):
        await waiting
    await client.machine.when(C.RetryingConn)
    await client.stop()
    mux.start()
    await mux.when_ready()
    await (await ready_client(mux.address, "two")).stop()
    await mux.stop()


async def test_a_server_whose_drain_is_cancelled_has_stopped_and_can_be_started_again() -> None:
    server = rpc.Server(am.Machine(Basic, id="source"), "tcp", clients=9)
    listening: list[str] = []
    server.machine.bind({"RpcReadyState": lambda event: listening.append(event.args(rpc.states.Listening).address)})
    server.serve_at("tcp://127.0.0.1:0")
    await server.machine.when(S.RpcReady)
    client = await ready_client(listening[0], "one", NEVER)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(server.drain(60.0), 0.01)
    assert S.Start not in server.machine
    await client.machine.when(C.RetryingConn)
    await client.stop()
    server.serve_at("tcp://127.0.0.1:0")
    await server.machine.when(S.RpcReady)
    await (await ready_client(listening[1], "two")).stop()
    await server.stop()


@asynccontextmanager
async def carriers(server: rpc.Server, count: int) -> AsyncIterator[list[tuple[Many, Many]]]:
    """Tunnels for many connections, each of which is served."""

    async def serve_all(many: Many) -> None:
        async with asyncio.TaskGroup() as group:
            with suppress(TransportClosed):
                while True:
                    group.create_task(server.serve(await many.accept()))

    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            near, far = pair()
            ours = await stack.enter_async_context(Many(near, dialled=False))
            theirs = await stack.enter_async_context(Many(far, dialled=True))
            serving = asyncio.create_task(serve_all(ours))
            stack.push_async_callback(asyncio.wait, [serving])
            stack.push_async_callback(ours.close)
            made.append((ours, theirs))
        yield made


async def test_a_carrier_that_goes_away_is_left_before_it_ends() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    server = rpc.Server(source, "carried", clients=9, push_interval=0.001)
    async with carriers(server, 2) as ((first, near), (_, other)):
        current = near

        async def dial() -> Transport:
            return current.open()

        clients = [await ready_client(dial, f"c{number}") for number in range(3)]
        await server.machine.when(S.Ready)
        quiets = [Quiet(client) for client in clients]
        current = other
        first.go_away(2.0)
        while near.statistics.open:
            await asyncio.sleep(0)
        await first.close()
        for client, quiet in zip(clients, quiets, strict=True):
            quiet.assert_unchanged()
            assert (await client.netmach.add(Basic.Ask)).executed
            assert client.statistics.drops == 0
        assert other.statistics.open == 3
        assert source.tick("Ask") == 5
        for client in clients:
            await client.stop()
        await server.stop()


async def test_a_carrier_that_just_ends_is_a_drop_like_any_other() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    server = rpc.Server(source, "carried")
    async with carriers(server, 2) as ((first, near), (_, other)):
        opened = [near, other]

        async def dial() -> Transport:
            return opened.pop(0).open()

        client = await ready_client(dial)
        await first.close()
        await client.machine.when_not(C.Connected)
        await client.when_ready()
        assert (await client.netmach.add(Basic.Ask)).executed
        await client.stop()
        await server.stop()


def test_it_is_told_only_to_those_who_know_it() -> None:
    duo = Duo()
    duo.client.hello(HELLO)
    assert not duo.server.go_away(1.0), "nothing is known of this client yet"
    duo.to_server()
    assert duo.server.go_away(1.5, "soon")
    assert duo.to_client() == [e.GoAwayReceived(1.5, "soon")]
    assert duo.client.phase is Phase.GREETED
    old = Duo()
    old.client.hello(replace(HELLO, features=()))
    old.to_server()
    assert not old.server.go_away(1.0)
    assert sent(old.server) == []


def test_a_client_may_tell_it_too() -> None:
    duo = ready()
    assert duo.client.go_away(2.0)
    assert duo.to_server() == [e.GoAwayReceived(2.0, "")]
    assert duo.server.phase is Phase.READY


async def test_a_server_takes_it_from_a_client_as_a_notice() -> None:
    async with served() as on:
        client = on.client()
        await client.handshake(replace(HELLO, id="rc-raw"))
        await client.say(m.GoAway(5000), m.Add(1, (1,)))
        assert isinstance(await Raw(client.end).hear(), m.Result)
        assert decode(encode(m.GoAway(5000))) == m.GoAway(5000)
