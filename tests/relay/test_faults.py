"""Kills in mid-transfer, ends under load, a minute without a relay: what arrived is a prefix, and both ends learn."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.backoff import BROWSER
from asyncmachine.rpc.states import ClientStates
from asyncmachine.rpc.transport import LOST, Transport, TransportClosed
from asyncmachine.rpc.transport.tcp import listen as listen_tcp
from asyncmachine.rpc.transport.websocket import WebSocketTransport
from asyncmachine_relay import Match, RelayStates, Tunnel
from tests.relay.support import QUICK, Held, ending, opened, running
from tests.relay.tcp_support import backend, echo_bytes
from tests.relay.test_machines import Counter, dialling
from tests.relay.test_many import many_to
from tests.tools.test_relay import program, settings

MIB = 1 << 20
FAST_LANE = "[limits]\nbytes_per_second = 1073741824\nframes_per_second = 1000000\nopens_burst = 500\n"


class Stream:
    """Messages that anybody can make again, and what of them arrived."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._check = random.Random(seed)
        self.arrived = 0

    def next(self) -> bytes:
        return self._draw.randbytes(32 << 10)

    def take(self, data: bytes) -> None:
        """Raises unless it is the very next message."""
        assert hashlib.sha256(data).digest() == hashlib.sha256(self._check.randbytes(32 << 10)).digest()
        self.arrived += len(data)


async def pour(end: Transport, stream: Stream) -> None:
    with suppress(TransportClosed):
        while True:
            await end.send(stream.next())


async def drink(end: Transport, stream: Stream, enough: asyncio.Event) -> TransportClosed:
    """Takes all that comes; returns how it ended."""
    try:
        while True:
            stream.take(await end.recv())
            if stream.arrived > 4 * MIB:
                enough.set()
    except TransportClosed as ended:
        return ended


async def test_a_relay_that_is_killed_in_the_middle_leaves_prefixes_and_both_ends_learn(tmp_path: Path) -> None:
    listener = await listen_tcp("127.0.0.1", 0)
    port = int(listener.address.rpartition(":")[2])
    file = settings(tmp_path, f"{FAST_LANE}[[targets]]\nname = 'back'\nhost = '127.0.0.1'\nport = {port}\n")
    async with program("wasm", "-c", file) as relay:
        run: Any = relay
        async with opened(run, target="back") as page:
            near, up, down = WebSocketTransport(page), Stream(1), Stream(2)
            await near.send(b"hello")
            far = await listener.accept()
            assert await far.recv() == b"hello"
            enough = [asyncio.Event(), asyncio.Event()]
            pouring = [asyncio.create_task(pour(near, up)), asyncio.create_task(pour(far, down))]
            drinking = [
                asyncio.create_task(drink(far, up, enough[0])),
                asyncio.create_task(drink(near, down, enough[1])),
            ]
            await asyncio.gather(*(each.wait() for each in enough))
            relay.signal(signal.SIGKILL)
            assert [(await each).code for each in drinking] == [LOST, LOST]
            await asyncio.gather(*pouring)
            await far.close()
        assert (await relay.end())[0] == -signal.SIGKILL
    await listener.close()


async def test_sigterm_under_load_tells_everybody_and_ends_in_time(tmp_path: Path) -> None:
    async with backend(echo_bytes) as port:
        target = f"[[targets]]\nname = 'back'\nhost = '127.0.0.1'\nport = {port}\nraw = true\n"
        file = settings(tmp_path, f"[operation]\ndrain = 1\n{FAST_LANE}{target}")
        async with program("wasm", "-c", file) as relay, AsyncExitStack() as stack:
            run: Any = relay
            busy = [asyncio.Event() for _ in range(25)]
            plain = [await stack.enter_async_context(opened(run, f"plain{n}", target="back")) for n in range(20)]
            work = [asyncio.create_task(bounce(WebSocketTransport(page), busy[n])) for n, page in enumerate(plain)]
            leaving = []
            for number in range(5):
                many = await stack.enter_async_context(many_to(run, f"many{number}", target="back"))
                work.append(asyncio.create_task(bounce(many.open(), busy[20 + number])))
                leaving.append(asyncio.create_task(many.going_away()))
            await asyncio.gather(*(each.wait() for each in busy))
            begun = asyncio.get_running_loop().time()
            relay.signal(signal.SIGTERM)
            # GOAWAY, to those who can hear it.
            assert all(0 < seconds <= 1 for seconds in await asyncio.gather(*leaving))
            assert {(await each).code for each in work} == {1001}
            assert [await ending(page) for page in plain] == [(1001, "SHUTDOWN")] * len(plain)
            assert (await relay.end())[0] == 0
            assert asyncio.get_running_loop().time() - begun < 10


async def bounce(end: Transport, busy: asyncio.Event) -> TransportClosed:
    """Sends and takes without a pause; returns how it ended."""
    try:
        while True:
            await end.send(bytes(16 << 10))
            await end.recv()
            busy.set()
    except TransportClosed as ended:
        return ended


# Sending after the end


async def test_a_matcher_that_sends_after_the_end_hears_of_one_disconnect_and_nobody_sees_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    held = Held()
    with caplog.at_level(logging.DEBUG, "asyncmachine"):
        async with running(listen=[held.match], limits=QUICK) as run:
            async with opened(run, op="listen"):
                tunnel = await held.tunnels.get()
            await run.relay.tunnels.emptied()
            codes = set()
            for _ in range(3):
                with pytest.raises(TransportClosed) as closed:
                    await tunnel.transport.send(b"too late")
                codes.add(closed.value.code)
            assert codes == {1000}
            held.let_go.set()
            assert run.relay.machine.tick(RelayStates.TunnelDown) == 1
            assert RelayStates.Exception not in run.relay.machine
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.WARNING] == []


async def test_a_page_that_sends_after_the_end_hears_of_one_disconnect() -> None:
    async with running() as run, opened(run) as page:
        near = WebSocketTransport(page)
        await near.send(b"x")
        assert await near.recv() == b"x"
        await run.server.stop()
        with pytest.raises(TransportClosed) as heard:
            await near.recv()
        for _ in range(3):
            with pytest.raises(TransportClosed) as again:
                await near.send(b"too late")
            assert (again.value.code, again.value.reason) == (heard.value.code, heard.value.reason)
        assert heard.value.code == 1001


async def test_a_machine_that_calls_after_the_end_loses_its_connection_once(caplog: pytest.LogCaptureFixture) -> None:
    source = am.Machine(Counter, id="orchestrator")
    server = rpc.Server(source, "page", push_interval=0)

    async def serve(tunnel: Tunnel) -> None:
        await server.serve(tunnel.transport)

    with caplog.at_level(logging.WARNING):
        async with running(dial=[Match("browser1", "orchestrator", serve)]) as run:
            slow = rpc.Backoff(first=30, cap=60)
            client = rpc.Client(dialling(run, "dial", "browser1"), schema=Counter, id="page", backoff=slow)
            client.start()
            await client.when_ready()
            before = client.machine.tick(ClientStates.Disconnected)
            lost = client.machine.when_not(ClientStates.Ready)
            await run.server.stop()
            await lost
            for _ in range(3):
                client.netmach.add(Counter.Clicked)
            await client.machine.when_queue_ends()
            assert client.machine.tick(ClientStates.Disconnected) <= before + 2  # on, and perhaps off again
            await client.stop()
        await server.stop()
    assert [record for record in caplog.records if record.exc_info and record.name != "asyncio"] == []


# A minute without a relay

SHORT = rpc.Backoff(first=0.005, cap=0.5, tries=None, total=None, eager_cap=0.025, eager_for=1.0)
"""The browser's way of coming back, twenty times as fast but for its cap, and eager for a second only."""


@pytest.mark.parametrize(
    ("outage", "backoff"),
    [
        pytest.param(1.5, SHORT, id="short"),
        pytest.param(60.0, BROWSER, id="a minute", marks=[pytest.mark.nightly, pytest.mark.timeout(180)]),
    ],
)
async def test_three_machines_come_back_after_the_relay_was_gone(outage: float, backoff: rpc.Backoff) -> None:
    source = am.Machine(Counter, id="orchestrator")
    servers = [rpc.Server(source, f"page{number}", push_interval=0) for number in range(3)]

    async def serve(tunnel: Tunnel) -> None:
        await servers[int(tunnel.id[-1])].serve(tunnel.transport)

    async with running(dial=[Match("page[0-2]", "orchestrator", serve)]) as run:
        clients = [
            rpc.Client(dialling(run, "dial", f"page{n}"), schema=Counter, id=f"page{n}", backoff=backoff)
            for n in range(3)
        ]
        for client in clients:
            client.start()
        await asyncio.gather(*(client.when_ready() for client in clients))
        lost = [client.machine.when_not(ClientStates.Ready) for client in clients]
        await run.server.stop()
        await asyncio.gather(*lost)
        source.add(Counter.Clicked)  # while nobody hears it
        over = asyncio.get_running_loop().time() + outage
        longest = 0.0
        while (now := asyncio.get_running_loop().time()) < over:
            await asyncio.sleep(0.01)
            longest = max(longest, asyncio.get_running_loop().time() - now)
        assert longest < 2  # nobody who redials keeps the loop
        await run.server.start()
        async with asyncio.timeout(30):
            await asyncio.gather(*(client.when_ready() for client in clients))
        assert [client.netmach.tick(Counter.Clicked) for client in clients] == [1, 1, 1]
        for client in clients:
            assert (await client.netmach.add(Counter.Clicked)).executed
        await asyncio.gather(*(client.stop() for client in clients))
    for server in servers:
        await server.stop()
