"""Several clients of one server, and a server that takes them at an address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from time import perf_counter
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.machine import transition
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.states import Listening
from asyncmachine.rpc.states import ServerStates as S
from asyncmachine.rpc.transport import Listener, Transport, TransportClosed
from asyncmachine.rpc.transport.memory import MemoryListener
from tests.ports import free_port
from tests.rpc.behaviour import QUICK, Basic, Taking


class Place:
    """A server at a listener in this process."""

    def __init__(self, handlers: object = None, source: am.Machine[Any] | None = None, **options: Any) -> None:
        self.source: am.Machine[Any] = source or am.Machine(Basic, handlers, id="source")
        self.server = rpc.Server(self.source, "test", **{"push_interval": 0.001, "backoff": QUICK, **options})
        self.listeners: list[Listener] = []
        self.listens = asyncio.Event()

    async def listen(self) -> Listener:
        self.listeners.append(MemoryListener())
        self.listens.set()
        return self.listeners[-1]

    async def dial(self) -> Transport:
        if not self.listeners:
            raise OSError("nobody there")
        listener = self.listeners[-1]
        assert isinstance(listener, MemoryListener)
        return await listener.dial()

    @asynccontextmanager
    async def client(self, id: str, consumer: am.Machine[Any] | None = None) -> AsyncIterator[rpc.Client]:
        client = rpc.Client(self.dial, Basic, id=id, consumer=consumer, backoff=QUICK)
        client.start()
        await client.when_ready()
        yield client
        await client.stop()
        client.machine.dispose()


class TcpPlace(Place):
    """One that has a port from the beginning, at which nobody is before it listens, and where it listens again."""

    def __init__(self, handlers: object = None, source: am.Machine[Any] | None = None, **options: Any) -> None:
        super().__init__(handlers, source, **options)
        self.address = f"tcp://127.0.0.1:{free_port()}"

    async def listen(self) -> Listener:
        self.listeners.append(await rpc.listen(self.address)())
        self.listens.set()
        return self.listeners[-1]

    async def dial(self) -> Transport:
        return await rpc.dial(self.address)()


PLACES = pytest.mark.parametrize("made", [Place, TcpPlace], ids=["memory", "tcp"])


@asynccontextmanager
async def place(handlers: object = None, made: type[Place] = Place, **options: Any) -> AsyncIterator[Place]:
    found = made(handlers, **options)
    found.server.serve_at(found.listen)
    await found.server.machine.when(S.RpcReady)
    yield found
    await found.server.stop()
    found.server.machine.dispose()


def consumer() -> tuple[am.Machine[Any], Taking]:
    taking = Taking()
    return am.Machine(Basic, taking, id="consumer"), taking


async def test_several_see_and_do_the_same_and_leave_one_by_one() -> None:
    async with place(clients=3) as at, at.client("a") as a:
        async with at.client("b") as b, at.client("c") as c:
            assert list(at.server.client_ids) == ["rc-a", "rc-b", "rc-c"]
            await b.netmach.add(Basic.A)
            await am.wait_all(*(each.netmach.when("A") for each in (a, b, c)))
            assert a.netmach.clock() == b.netmach.clock() == c.netmach.clock() == at.source.clock()
            ticks = at.server.machine.tick(S.ClientConnected)
        assert list(at.server.client_ids) == ["rc-a"]
        assert at.server.machine.tick(S.ClientConnected) == ticks
        assert at.server.machine.is_(S.Ready)
        assert (await a.netmach.add("B")).executed
        gone = at.server.machine.when_not(S.ClientConnected)
        await a.stop()
        await gone


async def test_one_too_many_and_one_of_the_same_id_are_told_to_come_later() -> None:
    async with place(clients=2) as at, at.client("a"), at.client("b"):
        for name, told in (("c", "no more than 2 at a time"), ("a", "a client rc-a already")):
            refused = rpc.Client(at.dial, Basic, id=name, reconnect=False)
            await refused.run()
            assert isinstance(refused.machine.err, rpc.Rejected)
            assert refused.machine.err.code == rpc.Code.BUSY
            assert told in str(refused.machine.err)
            refused.machine.dispose()


async def test_two_servers_of_one_source_push_each_in_its_own_time_and_both_mirrors_end_equal() -> None:
    """Neither knows of the other."""
    async with place(push_interval=0.001) as fast, place(source=fast.source, push_interval=0.05) as slow:
        source = fast.source
        async with fast.client("a") as a, slow.client("b") as b:
            before = source.tracers
            for turn in range(30):
                source.toggle("A")
                calls = [a.netmach.add("Ask"), b.netmach.toggle("B")] if turn % 10 == 0 else []
                for call in calls:
                    await call
                await asyncio.sleep(0.003)
            source.add("D")
            for client in (a, b):
                await client.netmach.when("D")
                assert client.netmach.clock() == source.clock()
                assert client.netmach.queue_tick == source.queue_tick
                assert (client.statistics.out_of_step, client.statistics.full_syncs) == (0, 0)
            assert 0 < b.statistics.pushes < a.statistics.pushes
            await slow.server.stop()
            assert source.tracers == before[:1]
            source.remove("D")
            await a.netmach.when_not("D")
            assert "D" in b.netmach
    assert source.tracers == ()


async def test_payloads_go_to_whom_they_are_for() -> None:
    def asked(e: am.Event) -> None:
        at.server.send_payload("answer", e.raw_args["n"], e)

    (first, got_first), (second, got_second) = consumer(), consumer()
    async with place({"AskState": asked}, clients=2) as at, at.client("a", first) as a, at.client("b", second) as b:
        arrived = first.when_ticks("ServerPayload", 1), second.when_ticks("ServerPayload", 1)
        await a.netmach.add("Ask", n=1)
        await b.netmach.add("Ask", n=2)
        await am.wait_all(*arrived)
        assert ([got.data for got in got_first.got], [got.data for got in got_second.got]) == ([1], [2])
        assert (await at.server.send_payload("named", 3, destination="rc-b")).executed
        assert [got.data for got in got_second.got] == [2, 3]
        with pytest.raises(rpc.DeliveryFailed, match="name a destination"):
            at.server.send_payload("unnamed", 4)


async def test_a_payload_waits_for_the_client_it_names() -> None:
    async with place(clients=2) as at, at.client("a"):
        later = at.server.send_payload("later", 5, destination="rc-c")
        third, taking = consumer()
        async with at.client("c", third):
            assert (await later).executed
        assert [got.data for got in taking.got] == [5]


async def test_the_address_comes_with_the_state() -> None:
    seen: list[str] = []
    at = Place()
    at.server.machine.bind({"RpcReadyState": lambda e: seen.append(e.args(Listening).address)})
    at.server.serve_at("tcp://127.0.0.1:0")
    await at.server.machine.when(S.RpcReady)
    (address,) = seen
    client = rpc.Client(rpc.dial(address), Basic, id="a")
    client.start()
    await client.when_ready()
    assert (await client.netmach.add(Basic.A)).executed
    await client.stop()
    await at.server.stop()
    with pytest.raises(TransportClosed):
        await rpc.dial(address)()
    at.server.machine.dispose()


@PLACES
async def test_retry_closed_listener(made: type[Place]) -> None:
    """Who is there goes on; the listener comes back; the error came, and is over with the next client."""

    def ticks(machine: am.Machine[Any]) -> tuple[int, ...]:
        return machine.time(["Exception", "ErrRpc"])

    async with place(made=made, clients=2) as at, at.client("a") as client:
        await at.server.machine.when(S.Ready)
        assert ticks(at.server.machine) == (0, 0)
        at.listens.clear()
        await at.listeners[0].close()
        assert (await client.netmach.add("A")).executed
        await at.listens.wait()
        assert isinstance(at.server.machine.err, rpc.ListenerFailed)
        assert ticks(at.server.machine) == (1, 1)
        assert (await client.netmach.add("B")).executed
        async with at.client("b") as other:
            assert (await other.netmach.remove("A")).executed
            await client.netmach.when_not("A")
        assert at.source.active_states() == ("B",)
        assert ticks(at.server.machine) == (2, 2)
        assert at.server.machine.is_(S.RpcReady, S.Ready)
        assert client.machine.tick(C.Connected) == 1
        assert ticks(client.machine) == (0, 0), "it has noticed nothing"


@PLACES
async def test_retry_conn(made: type[Place]) -> None:
    """The client is there first; the server begins after its third attempt."""
    at = made()
    client = rpc.Client(at.dial, Basic, id="early", backoff=QUICK)
    client.start()
    await client.machine.when_time([C.Connecting], [5])
    at.server.serve_at(at.listen)
    await client.when_ready()
    assert client.machine.not_(C.RetryingConn, C.RetryingCall, C.ConnRetryFailed, C.Exception)
    assert at.server.machine.is_(S.RpcReady)
    await client.stop()
    await at.server.stop()
    at.server.machine.dispose()
    client.machine.dispose()
    await asyncio.sleep(0)


# A computer that stands still


async def test_a_computer_that_stands_still_in_every_handler_breaks_nothing_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asleep, or starved: two seconds pass in each, by the clock that handlers are measured with."""
    ahead = count(step=2.0)
    monkeypatch.setattr(transition, "perf_counter", lambda: perf_counter() + next(ahead))
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    mux = rpc.Mux(source, "tcp://127.0.0.1:0", push_interval=0.001)
    mux.start()
    await mux.when_ready()
    client = rpc.Client(mux.address, Basic, id="sleeper", backoff=QUICK)
    client.start()
    await client.when_ready()
    (server,) = mux.servers.values()
    assert await client.netmach.add(Basic.A)
    await client.stop()
    await mux.stop()
    assert [machine.err for machine in (client.machine, server.machine, mux.machine)] == [None, None, None]
    assert client.machine.is_(C.Disconnected)
