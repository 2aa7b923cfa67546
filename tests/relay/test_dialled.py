"""TCP targets that pages call: bytes and messages, ends in every order, and addresses that are not connected to."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import struct

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.transport import tcp
from asyncmachine.rpc.transport.relayed import Relayed
from asyncmachine_relay import Limits, RelayStates, Target
from asyncmachine_relay.states import TunnelStates
from tests.relay.support import BINARY, RawSocket, ask_token, ending, opened, running, token
from tests.relay.tcp_support import Calls, backend, body_of, dialling, echo_bytes, framed

MIB = 1 << 20


async def test_bytes_pass_as_they_come() -> None:
    data = os.urandom(300_000)
    async with dialling(echo_bytes) as run, opened(run, target="backend") as page:
        for at in range(0, len(data), 50_000):
            await page.send(data[at : at + 50_000])
        found = b""
        while len(found) < len(data):
            part = await page.recv()
            assert isinstance(part, bytes)
            found += part
        assert found == data


async def test_messages_pass_whole_whatever_the_pieces_they_come_in() -> None:
    calls = Calls()
    bodies = [b"a", os.urandom(70_000), os.urandom(MIB), b"last"]
    async with dialling(calls, raw=False) as run, opened(run, target="backend") as page:
        await page.send(b"hello")
        await page.send(b"")  # which this framing does not have
        await page.send(os.urandom(MIB))
        reader, writer = await calls.next()
        assert await body_of(reader) == b"hello"
        assert len(await body_of(reader)) == MIB
        stream = framed(*bodies)
        for start, end in ((0, 2), (2, 7), (7, 70_000), (70_000, len(stream) - 3), (len(stream) - 3, None)):
            writer.write(stream[start:end])
            await writer.drain()
        assert [await page.recv() for _ in bodies] == bodies


async def test_an_arpc_server_of_another_process_is_reached_through_the_relay() -> None:
    class Counter(rpc.StateSource):
        Clicked = am.state(multi=True)

    source = am.Machine(Counter, id="backend")
    server = rpc.Server(source, "page", push_interval=0)
    taking = await tcp.listen()

    async def accept() -> None:
        await server.serve(await taking.accept())

    accepting = asyncio.create_task(accept())
    port = int(taking.address.rpartition(":")[2])
    async with running(targets=[Target("backend", "127.0.0.1", port)]) as run:
        client = rpc.Client(Relayed(run.origin).dial("browser1", "backend"), schema=Counter, id="page")
        client.start()
        await client.when_ready()
        assert (await client.netmach.add(Counter.Clicked)).executed
        assert source.tick(Counter.Clicked) == 1
        await client.stop()
    await accepting
    await taking.close()
    await server.stop()


# Ends


async def test_a_backend_that_closes_loses_nothing_though_the_reader_is_slow() -> None:
    data = os.urandom(5 * MIB)

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    limits = Limits(leave=0.02, hello=60)
    async with dialling(pour, limits=limits) as run:
        page: RawSocket
        async with RawSocket.opened(run, target="backend", receive_buffer=4096) as page:
            loop = asyncio.get_running_loop()
            digest, size, begun = hashlib.sha256(), 0, loop.time()
            while size < len(data):
                opcode, part = await page.frame()
                assert opcode == BINARY
                digest.update(part)
                size += len(part)
                await asyncio.sleep(begun + size / 1e6 - loop.time())  # 1 MB/s: five seconds
            assert digest.digest() == hashlib.sha256(data).digest()
            assert await page.ending() == (1000, "")


async def test_a_page_that_closes_loses_nothing_though_the_backend_is_slow() -> None:
    data = os.urandom(2 * MIB)
    calls = Calls()
    patient = Limits(leave=10, close=10)
    async with dialling(calls, limits=patient) as run, opened(run, target="backend") as page:
        for at in range(0, len(data), 65536):
            await page.send(data[at : at + 65536])
        reader, _ = await calls.next()
        closing = asyncio.create_task(page.close())
        assert await reader.readexactly(len(data)) == data
        assert await reader.read() == b""
        await closing


async def test_a_backend_that_is_torn_is_told_from_one_that_ends() -> None:
    calls = Calls()
    async with dialling(calls) as run, opened(run, target="backend") as page:
        await page.send(b"x")
        reader, writer = await calls.next()
        assert await reader.readexactly(1) == b"x"
        tear(writer)
        assert await ending(page) == (1011, "BROKEN")
        await run.relay.machine.when(RelayStates.ErrNetwork)


async def test_a_page_that_vanishes_tears_the_backend() -> None:
    calls = Calls()
    async with dialling(calls) as run, RawSocket.opened(run, target="backend") as page:
        page.send(BINARY, b"x")
        reader, _ = await calls.next()
        assert await reader.readexactly(1) == b"x"
        page.writer.transport.abort()
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_a_message_that_is_cut_is_a_loss() -> None:
    calls = Calls()
    async with dialling(calls, raw=False) as run, opened(run, target="backend") as page:
        await page.send(b"x")
        _, writer = await calls.next()
        writer.write(framed(b"whole") + b"\0\0\0\5cut")
        writer.write_eof()
        assert await page.recv() == b"whole"
        assert await ending(page) == (1011, "BROKEN")


@pytest.mark.parametrize("size", [0, MIB + 1, 0xFFFFFFFF])
async def test_a_length_that_cannot_be_ends_the_tunnel(size: int) -> None:
    calls = Calls()
    async with dialling(calls, raw=False) as run, opened(run, target="backend") as page:
        await page.send(b"x")
        _, writer = await calls.next()
        writer.write(size.to_bytes(4, "big") + bytes(100))
        assert await ending(page) == (1011, "BROKEN")


async def test_the_code_of_an_end_reaches_the_other_side_where_it_can() -> None:
    calls = Calls()
    async with dialling(calls, raw=False) as run:
        async with opened(run, target="backend") as page:
            await page.send(b"x")
            reader, writer = await calls.next()
            writer.write(framed(b"\xc1\x01" + (4403).to_bytes(2, "big") + b"FORBIDDEN: no"))
            assert await ending(page) == (4403, "FORBIDDEN")
        async with opened(run, target="backend") as page:
            await page.send(b"x")
            reader, writer = await calls.next()
            assert await body_of(reader) == b"x"
            await page.close(4000, "enough")
            assert await body_of(reader) == b"\xc1\x01" + (4000).to_bytes(2, "big") + b"enough"
            assert await reader.read() == b""


async def test_a_backend_that_does_not_end_is_not_waited_for_long() -> None:
    calls = Calls()
    limits = Limits(leave=0.02, close=0.1)
    async with dialling(calls, limits=limits) as run:
        async with opened(run, target="backend") as page:
            await page.send(b"x")
            reader, _ = await calls.next()
        assert await reader.readexactly(1) == b"x"
        assert await reader.read() == b""
        await run.relay.machine.when(RelayStates.TunnelDown)
        await run.relay.tunnels.emptied()


async def test_the_relay_that_stops_in_the_middle_tears_what_cannot_be_told() -> None:
    calls = Calls()
    async with dialling(calls) as run, opened(run, target="backend") as page:
        await page.send(b"x")
        reader, _ = await calls.next()
        assert await reader.readexactly(1) == b"x"
        await run.server.stop()
        assert await ending(page) == (1001, "SHUTDOWN")
        with pytest.raises(ConnectionResetError):
            await reader.read()


# Backpressure


async def test_a_page_that_does_not_read_stops_the_backend_and_memory_stays_bounded() -> None:
    sent, stalled = 0, asyncio.Event()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.transport.set_write_buffer_limits(high=0)
        for _ in range(1000):
            writer.write(bytes(65536))
            try:
                async with asyncio.timeout(1):
                    await writer.drain()
            except TimeoutError:
                break
            sent += 65536
        stalled.set()
        await asyncio.Event().wait()

    limits = Limits(leave=0.02, close=0.2, congested=30)
    async with dialling(pour, limits=limits) as run, RawSocket.opened(run, target="backend", receive_buffer=4096):
        await stalled.wait()
        [tunnel] = run.relay.tunnels
        await tunnel.machine.when(TunnelStates.Congested)
        # the kernel's two buffers, and one of ours each way
        assert sent < 24 * MIB
        assert run.server._server is not None
        held = sum(each.transport.get_write_buffer_size() for each in run.server._server.server_state.connections)
        assert held <= limits.buffer_high + limits.frame


async def test_a_backend_that_does_not_read_ends_the_tunnel_after_a_while() -> None:
    calls = Calls()
    limits = Limits(leave=0.02, close=0.2, congested=0.5, bytes_per_second=1 << 30, frames_per_second=10**6)
    async with dialling(calls, limits=limits) as run, RawSocket.opened(run, target="backend") as page:
        for _ in range(256):
            page.send(BINARY, bytes(65536))
        assert await page.ending() == (4408, "DEADLINE")


# Who is not connected to


@pytest.mark.parametrize(
    ("answers", "networks"),
    [
        (["127.0.0.1"], ()),
        (["10.0.0.1"], ()),
        (["169.254.169.254"], ("0.0.0.0/0",)),
        (["::1"], ()),
        (["::ffff:127.0.0.1"], ()),
        (["1.1.1.1", "127.0.0.1"], ()),
        (["fe80::1%lo"], ("::/0",)),
    ],
)
async def test_a_name_that_resolves_to_where_nobody_may_go(answers: list[str], networks: tuple[str, ...]) -> None:
    met: list[int] = []

    async def met_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(1)

    async def resolve(host: str) -> list[str]:
        assert host == "db.example"
        return answers

    async with backend(met_one) as port:
        target = Target("backend", "db.example", port, networks=networks)
        async with running(targets=[target], resolve=resolve) as run:
            async with opened(run, target="backend") as page:
                assert await ending(page) == (4404, "TARGET")
                assert "127.0.0.1" not in str(page.close_reason)
            await run.relay.machine.when(RelayStates.ErrTarget)
    assert met == []


async def test_a_name_is_resolved_once_and_what_was_judged_is_used() -> None:
    """A name server that gives another answer the second time has nobody to give it to."""
    asked: list[str] = []

    async def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    async with backend(echo_bytes) as port:
        target = Target("backend", "db.example", port, raw=True, networks=("127.0.0.1",))
        async with running(targets=[target], resolve=resolve) as run:
            async with opened(run, target="backend") as page:
                await page.send(b"x")
                assert await page.recv() == b"x"
            assert asked == ["db.example"]
            async with opened(run, target="backend") as page:
                assert await ending(page) == (4404, "TARGET")


@pytest.mark.parametrize("answer", ["nothing", "error"])
async def test_a_name_that_is_not_known(answer: str) -> None:
    async def resolve(host: str) -> list[str]:
        if answer == "error":
            raise socket.gaierror(-2, "Name or service not known")
        return []

    async with running(targets=[Target("backend", "db.example", 1)], resolve=resolve) as run:
        async with opened(run, target="backend") as page:
            assert await ending(page) == (1011, "UNREACHABLE")
        await run.relay.machine.when(RelayStates.ErrNetwork)


async def test_a_target_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with running(targets=[Target("backend", "127.0.0.1", port)]) as run, opened(run, target="backend") as page:
        assert await ending(page) == (1011, "UNREACHABLE")


async def test_a_resolver_that_takes_too_long() -> None:
    async def resolve(host: str) -> list[str]:
        await asyncio.Event().wait()
        raise AssertionError

    limits = Limits(connect=0.1, leave=0.02)
    async with (
        running(targets=[Target("backend", "db.example", 1)], resolve=resolve, limits=limits) as run,
        opened(run, target="backend") as page,
    ):
        assert await ending(page) == (1011, "UNREACHABLE")


@pytest.mark.parametrize(
    "target", ["127.0.0.1:22", "169.254.169.254:80", "evil.example:80", "localhost:{port}", "backend:1", "127.1:{port}"]
)
async def test_an_address_in_a_url_is_nothing_but_a_name_in_the_table(target: str) -> None:
    met: list[int] = []

    async def met_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(1)

    async with backend(met_one) as port, running(targets=[Target("backend", "127.0.0.1", port)]) as run:
        name = target.format(port=port)
        answer = await ask_token(run, target=name)
        assert (answer.status, answer.json["code"]) == (404, "TARGET")
        async with opened(run, target=name, using=await token(run, target="backend")) as page:
            assert await ending(page) == (4401, "AUTH")
    assert met == []


async def test_a_tunnel_shows_its_life_in_its_machine() -> None:
    calls = Calls()
    async with dialling(calls) as run:
        async with opened(run, target="backend") as page:
            await page.send(b"x")
            _, writer = await calls.next()
            [tunnel] = run.relay.tunnels
            machine = tunnel.machine
            assert (machine.id, machine.parent_id) == ("relay-wt-1", "relay")
            await machine.when(TunnelStates.Open)
            closed = machine.when(TunnelStates.Closed)
            machine.add(TunnelStates.Disposing)
            assert await ending(page) == (1001, "SHUTDOWN")
            await closed
        del writer


def tear(writer: asyncio.StreamWriter) -> None:
    """Ends a connection as a process does that is killed with unread bytes."""
    plain = writer.get_extra_info("socket")
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_a_matcher_of_this_process_comes_before_a_target_of_the_same_name() -> None:
    async with backend(echo_bytes) as port:
        target = Target("orchestrator", "127.0.0.1", port, raw=True)
        async with running(targets=[target]) as run:
            async with opened(run) as page:
                await page.send(b"x")
                assert await page.recv() == b"x"
                assert [type(each.transport).__name__ for each in run.relay.tunnels] == ["WebSocketTransport"]
            async with opened(run, id="other") as page:
                await page.send(b"yz")
                assert await page.recv() == b"yz"
