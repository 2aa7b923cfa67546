"""Many clients at one address."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ClientInfo, Listening
from asyncmachine.rpc.states import MuxStates as M
from asyncmachine.rpc.transport import Listener, Transport, TransportClosed
from asyncmachine.rpc.transport.memory import MemoryListener
from tests.rpc.behaviour import QUICK, Basic
from tests.rpc.nets import client_context, server_context


def source() -> am.Machine[Any]:
    return am.Machine(Basic, id="source")


@asynccontextmanager
async def running(mux: rpc.Mux) -> AsyncIterator[rpc.Mux]:
    mux.start()
    await mux.when_ready()
    yield mux
    await mux.stop()
    mux.machine.dispose()


@asynccontextmanager
async def client(dial: rpc.Dial, id: str = "one") -> AsyncIterator[rpc.Client]:
    made = rpc.Client(dial, Basic, id=id, backoff=QUICK)
    made.start()
    await made.when_ready()
    yield made
    await made.stop()
    made.machine.dispose()


@pytest.mark.parametrize(
    "address", ["memory", "tcp://127.0.0.1:0", "ws://127.0.0.1:0/", "tls://127.0.0.1:0", "unix://"]
)
async def test_three_clients_see_what_one_of_them_does(address: str, tmp_path: Any) -> None:
    exposed, listener = source(), MemoryListener()
    address = f"unix://{tmp_path / 's.sock'}" if address == "unix://" else address
    context = server_context() if address.startswith("tls") else None
    trusted = client_context() if address.startswith("tls") else None

    async def listen() -> Listener:
        return listener

    is_memory = address == "memory"
    mux = rpc.Mux(exposed, listen if is_memory else rpc.listen(address, ssl=context), "test", push_interval=0.001)
    async with running(mux), AsyncExitStack() as stack:
        dial = listener.dial if is_memory else rpc.dial(mux.address, ssl=trusted)
        clients = [await stack.enter_async_context(client(dial, f"c{n}")) for n in range(3)]
        await clients[1].netmach.add("A")
        await am.wait_all(*(each.netmach.when("A") for each in clients))
        assert [each.netmach.clock() for each in clients] == [exposed.clock()] * 3
        assert [server.client_ids for server in mux.servers.values()] == [("rc-c0",), ("rc-c1",), ("rc-c2",)]
        assert [server.machine.id for server in mux.servers.values()] == ["rs-test-1", "rs-test-2", "rs-test-3"]
        assert not mux.machine.is_err()
    assert exposed.tracers == ()
    assert mux.servers == {}


async def test_its_states_tell_of_the_address_and_of_clients() -> None:
    mux = rpc.Mux(source(), "tcp://127.0.0.1:0", "test")
    seen: list[object] = []
    mux.machine.bind(
        {
            "ReadyState": lambda e: seen.append(e.args(Listening).address),
            "ClientConnectedState": lambda e: seen.append(e.args(ClientInfo).id),
        }
    )
    async with running(mux):
        assert (mux.machine.id, mux.machine.tags) == ("rm-test", ("rpc-mux",))
        dial = rpc.dial(mux.address)
        stranger = await dial()
        assert M.HasClients not in mux.machine
        async with client(dial):
            await mux.machine.when(M.HasClients)
            async with client(dial, "two"):
                # The guard is a negotiation, so nobody can take the state away.
                assert mux.machine.remove(M.HasClients).canceled
            assert M.HasClients in mux.machine
        await mux.machine.when_not(M.HasClients)
        assert mux.machine.add(M.HasClients).canceled
        await stranger.close()
    assert seen == [mux.address, "rc-one", "rc-two"]
    assert M.ClientConnected not in mux.machine


async def test_a_client_that_leaves_takes_its_server_with_it() -> None:
    listener = MemoryListener()

    async def listen() -> Listener:
        return listener

    mux = rpc.Mux(source(), listen)
    async with running(mux), client(listener.dial, "one"):
        async with client(listener.dial, "two"):
            server = mux.servers["mux-2"]
        await server.machine.when_disposed()
        while len(mux.servers) > 1:
            await asyncio.sleep(0)
        assert list(mux.servers) == ["mux-1"]


async def test_a_function_may_make_the_servers() -> None:
    peers: list[rpc.Peer] = []

    def new_server(name: str, peer: rpc.Peer) -> rpc.Server:
        peers.append(peer)
        if len(peers) == 1:
            raise ValueError("not this time")
        return rpc.Server(am.Machine(Basic, id=name), name)

    mux = rpc.Mux(new_server, "tcp://127.0.0.1:0", "test")
    async with running(mux):
        refused = await rpc.dial(mux.address)()
        with pytest.raises(TransportClosed, match="INTERNAL") as caught:
            await refused.recv()
        assert caught.value.code == 1011
        await refused.close()
        assert mux.machine.is_(M.Ready, M.NewServerErr)
        async with client(rpc.dial(mux.address)) as each:
            assert "src-id:test-2" in each.netmach.tags
            assert M.NewServerErr not in mux.machine
    assert [peer.kind for peer in peers] == ["tcp", "tcp"]


async def test_no_more_connections_than_its_limit() -> None:
    mux = rpc.Mux(source(), "tcp://127.0.0.1:0", limit=1)
    async with running(mux), client(rpc.dial(mux.address)):
        refused = await rpc.dial(mux.address)()
        with pytest.raises(TransportClosed) as caught:
            await refused.recv()
        assert caught.value.code == 4429
        assert "no more than 1" in caught.value.reason
        await refused.close()


async def test_it_listens_again_when_its_listener_ends() -> None:
    listeners: list[MemoryListener] = []

    async def listen() -> Listener:
        if len(listeners) == 1:
            listeners.append(MemoryListener())
            raise OSError("the address is in use")
        listeners.append(MemoryListener())
        return listeners[-1]

    async def dial() -> Transport:
        return await listeners[-1].dial()

    mux = rpc.Mux(source(), listen, backoff=QUICK)
    async with running(mux), client(dial) as each:
        gone, again = mux.machine.when_not(M.Ready), mux.machine.when_ticks(M.Ready, 2)
        await listeners[0].close()
        await gone
        assert mux.machine.is_(M.Exception, M.ErrNetwork)
        assert isinstance(mux.machine.err, TransportClosed)
        await again
        assert len(listeners) == 3
        assert mux.machine.not_(M.Exception, M.ErrNetwork)
        assert (await each.netmach.add("A")).executed  # who was there is not disturbed
        async with client(dial, "two"):
            pass


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Ours alone: asyncio tells of callbacks that are slow on a busy computer."""
    return [record for record in caplog.records if record.name == "asyncmachine.rpc"]


async def test_an_address_that_is_taken_is_told_to_the_log_once_and_that_it_is_had_at_last(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "asyncmachine.rpc")
    async with running(rpc.Mux(source(), "tcp://127.0.0.1:0")) as first:
        mux = rpc.Mux(source(), first.address, name="second", backoff=QUICK)
        mux.start()
        await mux.machine.when_ticks(M.Exception, 5)
        what = f"rm-second cannot take connections at {first.address}"
        (record,) = told(caplog)
        assert record.levelname == "WARNING"
        assert record.getMessage() == f"{what}: the address is in use: end what listens there, or choose another"
    await mux.when_ready()
    assert [(one.levelname, one.getMessage()) for one in told(caplog)[1:]] == [("INFO", f"{what}: no longer")]
    await mux.stop()


async def test_a_listener_that_ends_at_once_does_not_make_it_spin() -> None:
    opened = 0

    async def listen() -> Listener:
        nonlocal opened
        opened += 1
        listener = MemoryListener()
        await listener.close()
        return listener

    mux = rpc.Mux(source(), listen, backoff=rpc.Backoff(first=0.001, cap=0.001, tries=3))
    mux.start()
    await mux.machine.when_not(M.Start)
    assert opened == 4
    assert "gave up listening after 3 attempts" in str(mux.machine.err)
    await mux.stop()


async def test_it_can_be_stopped_and_started_again() -> None:
    exposed = source()
    mux = rpc.Mux(exposed, "tcp://127.0.0.1:0")
    async with running(mux):
        first = mux.address
        reached = rpc.Client(lambda: rpc.dial(mux.address)(), Basic, backoff=QUICK)
        reached.start()
        await reached.when_ready()
        await mux.stop()
        assert mux.machine.active_states() == ()
        with pytest.raises(TransportClosed):
            await rpc.dial(first)()
        mux.start()
        await mux.when_ready()
        await reached.when_ready()
        assert mux.address != first
        await reached.stop()


async def test_what_it_cannot_be_made_of() -> None:
    with pytest.raises(am.SchemaError, match="StateSource"):
        rpc.Mux(am.Machine({"A": {}}, {"AState": lambda e: None}), "tcp://127.0.0.1:0")
    with pytest.raises(rpc.AddressError):
        rpc.Mux(source(), "127.0.0.1:0")
    with pytest.raises(TypeError, match="push_interval"):
        rpc.Mux(lambda name, peer: rpc.Server(source()), "tcp://127.0.0.1:0", push_interval=1)
