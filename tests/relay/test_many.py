"""Many connections inside of one tunnel: to targets, from callers, to matchers of this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.transport import TransportClosed
from asyncmachine.rpc.transport.many import Many, ManyConnection, ManyLimits
from asyncmachine.rpc.transport.websocket import WebSocketTransport
from asyncmachine_relay import Limits, Match, RelayStates, Target, Tunnel, TunnelGrants
from asyncmachine_relay.states import ListeningTunnelStates
from tests.relay.support import Running, ending, opened, running, token
from tests.relay.tcp_support import Calls, backend, body_of, dialling, echo_bytes, framed, listener

EAGER = Limits(leave=0.02, opens_burst=100, opens_per_second=100)


@asynccontextmanager
async def many_to(
    run: Running, id: str = "browser1", op: str = "dial", target: str = "backend", limits: ManyLimits | None = None
) -> AsyncIterator[Many]:
    """The page's side of a tunnel for many connections."""
    using = await token(run, id, op, target=target)
    offered = ["ammany.v1", f"amtok.{using}"]
    async with opened(run, id, op, target, using=using, subprotocols=offered) as page:
        assert page.subprotocol == "ammany.v1"
        async with Many(WebSocketTransport(page), dialled=True, limits=limits) as many:
            yield many


async def end_of(connection: ManyConnection) -> tuple[int, str]:
    while True:
        try:
            await connection.recv()
        except TransportClosed as ended:
            return ended.code, ended.reason.partition(":")[0]


async def test_each_is_a_tcp_connection_of_its_own() -> None:
    async with dialling(echo_bytes, limits=EAGER) as run, many_to(run) as many:
        connections = [many.open() for _ in range(20)]
        for number, each in enumerate(connections):
            await each.send(f"hello {number}".encode())
        for number, each in enumerate(connections):
            assert await each.recv() == f"hello {number}".encode()
        [tunnel] = run.relay.tunnels
        assert tunnel.id == "browser1"
        for each in connections[:19]:
            await each.close()
        await connections[19].send(b"still there")
        assert await connections[19].recv() == b"still there"


async def test_messages_keep_their_bounds() -> None:
    calls = Calls()
    async with dialling(calls, raw=False) as run, many_to(run) as many:
        one, two = many.open(), many.open()
        await one.send(b"1" * 100_000)
        await two.send(b"2")
        found = {}
        for _ in range(2):
            reader, writer = await calls.next()
            body = await body_of(reader)
            found[body[:1]] = len(body)
            writer.write(framed(body[:1] + b" back"))
        assert found == {b"1": 100_000, b"2": 1}
        assert [await one.recv(), await two.recv()] == [b"1 back", b"2 back"]


async def test_half_closes_pass_in_each_order() -> None:
    calls = Calls()
    async with dialling(calls) as run, many_to(run) as many:
        # The page first.
        one = many.open()
        await one.send(b"question")
        one.finish()
        reader, writer = await calls.next()
        assert await reader.read() == b"question"
        writer.write(b"answer")
        writer.write_eof()
        assert await one.recv() == b"answer"
        assert await end_of(one) == (1000, "")
        # The target first.
        two = many.open()
        await two.send(b"hello")
        reader, writer = await calls.next()
        assert await reader.readexactly(5) == b"hello"
        writer.write_eof()
        assert await end_of(two) == (1000, "")
        await two.send(b"more")
        two.finish()
        assert await reader.read() == b"more"
        # Both at once.
        three = many.open()
        await three.send(b"x")
        reader, writer = await calls.next()
        writer.write_eof()
        three.finish()
        assert await reader.read() == b"x"
        assert await end_of(three) == (1000, "")


async def test_a_target_that_does_not_answer_ends_one_connection_and_not_the_tunnel() -> None:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with running(targets=[Target("backend", "127.0.0.1", port)]) as run, many_to(run) as many:
        for _ in range(2):
            assert await end_of(many.open()) == (1011, "UNREACHABLE")
        assert len(run.relay.tunnels) == 1
        await run.relay.machine.when(RelayStates.ErrNetwork)


async def test_one_that_is_not_read_stops_its_own_target_and_no_other() -> None:
    async def pour_or_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(1) == b"p":
            while True:
                writer.write(bytes(65536))
                await writer.drain()
        await echo_bytes(reader, writer)

    async with dialling(pour_or_echo) as run, many_to(run) as many:
        stuck, free = many.open(), many.open()
        await stuck.send(b"p")
        await free.send(b"e")
        for number in range(50):
            await free.send(bytes([number]) * 1000)
            assert await free.recv() == bytes([number]) * 1000
        assert many.statistics.waiting <= many.limits.window + 300_000  # one message of the stuck one
        [tunnel] = run.relay.tunnels
        assert not tunnel.transport.congested  # type: ignore[attr-defined]
        assert await stuck.recv()


async def test_a_page_is_called_by_many_at_once(tmp_path: Path) -> None:
    async with (
        running(targets=[listener(raw=True)], address_dir=tmp_path, limits=EAGER) as run,
        many_to(run, "repl-browser1", "listen", "repl") as many,
    ):
        [tunnel] = run.relay.tunnels
        await tunnel.machine.when(ListeningTunnelStates.TcpListening)
        host, _, port = (tmp_path / "repl-browser1.addr").read_text().partition(":")
        callers = [await asyncio.open_connection(host, int(port)) for _ in range(5)]
        for number, (_, writer) in enumerate(callers):
            writer.write(b"caller %d" % number)
        seen = set()
        for _ in callers:
            connection = await many.accept()
            greeting = await connection.recv()
            seen.add(greeting)
            await connection.send(b"hello " + greeting)
            connection.finish()
        assert seen == {b"caller %d" % number for number in range(5)}
        for number, (reader, writer) in enumerate(callers):
            assert await reader.read() == b"hello caller %d" % number
            writer.close()
        assert (tmp_path / "repl-browser1.addr").exists()  # it can be called again


async def test_a_matcher_of_this_process_serves_each_connection_and_one_that_fails_fails_alone() -> None:
    async def serve(tunnel: Tunnel) -> None:
        word = await tunnel.transport.recv()
        if word == b"fail":
            raise ValueError("the application's own")
        await tunnel.transport.send(tunnel.id.encode() + b" " + word)

    async with running(dial=[Match(".*", "orchestrator", serve)]) as run, many_to(run, target="orchestrator") as many:
        one, two, three = many.open(), many.open(), many.open()
        for connection, word in ((one, b"a"), (two, b"fail"), (three, b"c")):
            await connection.send(word)
        assert await one.recv() == b"browser1 a"
        assert await end_of(two) == (1011, "INTERNAL")
        assert await three.recv() == b"browser1 c"
        assert await end_of(three) == (1000, "")
        await run.relay.machine.when(RelayStates.Exception)


async def test_a_matcher_that_calls_a_page_takes_one_connection() -> None:
    async def serve(tunnel: Tunnel) -> None:
        raise AssertionError

    async with running(listen=[Match(".*", "orchestrator", serve)]) as run:
        using = await token(run, op="listen")
        offered = ["ammany.v1", f"amtok.{using}"]
        async with opened(run, op="listen", using=using, subprotocols=offered) as page:
            assert await ending(page) == (4404, "TARGET")


async def test_connections_have_a_limit_and_a_rate() -> None:
    limits = Limits(leave=0.02, connections=3, opens_burst=5, opens_per_second=0.001)
    async with dialling(echo_bytes, limits=limits) as run, many_to(run, limits=ManyLimits(connections=100)) as many:
        connections = [many.open() for _ in range(4)]
        assert await end_of(connections[3]) == (4429, "LIMIT")
        for each in connections[:3]:
            await each.send(b"x")
            assert await each.recv() == b"x"
            await each.close()
        ends = [await end_or_echo(many.open()) for _ in range(3)]
        assert ends == ["x", "x", "LIMIT"]


async def end_or_echo(connection: ManyConnection) -> str:
    try:
        await connection.send(b"x")
        found = (await connection.recv()).decode()
    except TransportClosed as ended:
        return ended.reason.partition(":")[0]
    await connection.close()
    return found


async def test_a_target_has_a_limit_of_its_own() -> None:
    calls = Calls()
    async with backend(calls) as port:
        target = Target("backend", "127.0.0.1", port, raw=True, connections=1)
        async with running(targets=[target]) as run, many_to(run) as many:
            one, two = many.open(), many.open()
            await one.send(b"x")
            await calls.next()
            assert await end_of(two) == (4429, "LIMIT")


async def test_a_tunnel_whose_time_is_over_is_asked_to_leave() -> None:
    async with dialling(echo_bytes, limits=Limits(lifetime=0.5, leave=0.02)) as run, many_to(run) as many:
        assert await many.going_away() == 8
        assert (await end_of(many.open()))[0] == 1001


async def test_a_tunnel_whose_granted_time_is_over_is_asked_to_leave_too() -> None:
    grants = TunnelGrants(ids=("*",), targets=("*",), lifetime=0.5)
    async with dialling(echo_bytes, authorize=lambda request: grants) as run, many_to(run) as many:
        assert await many.going_away() == 8
        assert (await end_of(many.open()))[0] == 1001


async def test_the_relay_asks_to_leave_before_it_stops() -> None:
    async with dialling(echo_bytes) as run, many_to(run) as many:
        await end_or_echo(many.open())
        draining = asyncio.create_task(run.relay.drain(8))
        assert await many.going_away() == 8
        await many.close()
        await draining


@pytest.mark.parametrize("frame", [b"", b"\x02\x00\x00\x00\x09x", b"\xff" * 10])
async def test_what_is_no_frame_ends_the_tunnel(frame: bytes) -> None:
    async with dialling(echo_bytes) as run:
        using = await token(run, target="backend")
        offered = ["ammany.v1", f"amtok.{using}"]
        async with opened(run, target="backend", using=using, subprotocols=offered) as page:
            await page.send(frame)
            assert await ending(page) == (4400, "BAD_FRAME")


class Counter(rpc.StateSource):
    Count = am.state(multi=True)


async def test_a_client_leaves_a_relay_that_drains_before_its_tunnel_ends() -> None:
    source = am.Machine(Counter, id="source")
    server = rpc.Server(source, "behind", clients=9)

    async def serve(tunnel: Tunnel) -> None:
        await server.serve(tunnel.transport)

    match = Match(r"browser1", target="backend", serve=serve)
    async with (
        running(dial=[match], limits=EAGER) as old,
        running(dial=[match], limits=EAGER) as new,
        many_to(old) as first,
        many_to(new) as second,
    ):
        tunnels = [first, second]

        async def dial() -> ManyConnection:
            return tunnels[0].open()

        client = rpc.Client(dial, Counter, id="page", backoff=rpc.Backoff(first=0.001, cap=0.01))
        client.start()
        await client.when_ready()
        before = client.machine.clock()
        tunnels.pop(0)
        draining = asyncio.create_task(old.relay.drain(5.0))
        while first.statistics.open:
            await asyncio.sleep(0)
        assert not first.closed
        assert (await client.netmach.add(Counter.Count)).executed
        assert client.machine.clock() == before, "it was never away"
        assert client.statistics.drops == 0
        await first.close()
        await draining
        await client.stop()
        await server.stop()
