"""Connections that say nothing: they have places, and lose them to those who need them more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc import places as places_module
from asyncmachine.rpc.errors import Rejected
from asyncmachine.rpc.places import Places
from asyncmachine.rpc.states import Listening, ServerStates
from asyncmachine.rpc.transport import Peer, Transport, TransportClosed, tcp
from tests.rpc.behaviour import Basic
from tests.rpc.test_mux import client, running, told


class Silent:
    """One end of a connection on which nothing comes."""

    closed = False

    def __init__(self, host: str) -> None:
        self.peer = Peer("tcp", f"{host}:1")
        self.end = ""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.end = f"{code} {reason}"
        await asyncio.sleep(0)

    def abort(self) -> None:
        self.end = "aborted"

    async def send(self, data: bytes) -> None: ...

    async def recv(self) -> bytes:
        raise TransportClosed


def four_places() -> tuple[Places, list[asyncio.Task[None]]]:
    """And the tasks in which those who have none are told so."""
    tasks: list[asyncio.Task[None]] = []

    def run(work: Coroutine[Any, Any, None], name: str) -> None:
        tasks.append(asyncio.get_running_loop().create_task(work, name=name))

    return Places(4, "rs-test", run), tasks


async def test_the_oldest_of_the_greediest_address_makes_room() -> None:
    found, tasks = four_places()
    one, *flood = [Silent("10.0.0.1"), *(Silent("10.0.0.2") for _ in range(3))]
    for each in (one, *flood):
        found.take(each)
    found.take(Silent("10.0.0.3"))
    await asyncio.gather(*tasks)
    assert [each.end for each in (one, *flood)] == ["", "4429 RATE: its place was needed", "", ""]
    assert len(found) == 4


async def test_an_address_takes_no_place_of_another_that_has_as_few() -> None:
    found, _ = four_places()
    held = [Silent(f"10.0.0.{n // 2}") for n in range(4)]
    for each in held:
        found.take(each)
    found.take(Silent("2001:db8::1"))  # has none, the others have two each
    for host in ("2001:db8::2", "10.0.0.0", "10.0.0.1"):
        with pytest.raises(Rejected, match="RATE: no more than 4 connections at once"):
            found.take(Silent(host))
    assert [each.end == "" for each in held].count(False) <= 1


async def test_who_has_had_time_enough_makes_room_for_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    found, tasks = four_places()
    flood = [Silent("127.0.0.1") for _ in range(4)]
    for each in flood:
        found.take(each)
    with pytest.raises(Rejected):
        found.take(Silent("127.0.0.1"))
    monkeypatch.setattr(places_module, "GRACE", 0.0)
    found.take(Silent("127.0.0.1"))
    await asyncio.gather(*tasks)
    assert [each.end != "" for each in flood] == [True, False, False, False]


async def test_who_was_let_in_keeps_his_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "GRACE", 0.0)
    found, _ = four_places()
    guests = [Silent("127.0.0.1") for _ in range(4)]
    for each in guests:
        found.take(each)
        found.let_in(each)
    with pytest.raises(Rejected):
        found.take(Silent("10.0.0.9"))
    found.left(guests[0])
    found.take(Silent("10.0.0.9"))
    assert not any(each.end for each in guests)


async def test_who_has_lost_his_place_does_not_get_it_back_by_a_late_hello() -> None:
    found, _ = four_places()
    flood = [Silent("10.0.0.2") for _ in range(4)]
    for each in (*flood, Silent("10.0.0.3")):
        found.take(each)
    found.let_in(flood[0])
    assert len(found) == 4


async def test_only_so_many_are_told_that_they_have_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "LINGERING", 1)
    found, tasks = four_places()
    no = Rejected("RATE", "full")
    first, second, third = Silent("a"), Silent("b"), Silent("c")
    found.turn_away(first, no)
    found.turn_away(second, no)
    await asyncio.gather(*tasks)
    found.turn_away(third, no)
    await asyncio.gather(*tasks)
    assert [each.end for each in (first, second, third)] == ["4429 RATE: full", "aborted", "4429 RATE: full"]


async def test_the_log_tells_once_that_it_is_full_and_when_half_of_the_places_are_free(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "asyncmachine.rpc")
    found, _ = four_places()
    held = [Silent("127.0.0.1") for _ in range(4)]
    for each in held:
        found.take(each)
    for _ in range(3):
        with pytest.raises(Rejected):
            found.take(Silent("127.0.0.1"))
    what = "rs-test turns connections away (4 have not been let in)"
    full = ("WARNING", f"{what}: RATE: no more than 4 connections at once")
    found.left(held[0])
    assert [(each.levelname, each.getMessage()) for each in told(caplog)] == [full]
    found.left(held[1])
    assert [(each.levelname, each.getMessage()) for each in told(caplog)] == [full, ("INFO", f"{what}: no longer")]


async def flood_of(address: str, count: int) -> list[Transport]:
    """Connections of another computer, on which nothing is said."""
    port = int(address.rpartition(":")[2])
    return [await tcp.connect("127.0.0.1", port, local_addr=("127.0.0.2", 0)) for _ in range(count)]


async def test_a_flood_of_silent_connections_keeps_nobody_of_another_address_out_of_a_mux(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places_module, "GRACE", 60.0)
    mux = rpc.Mux(am.Machine(Basic, id="source"), "tcp://127.0.0.1:0", limit=4, timing=rpc.Timing(hello=60.0))
    async with running(mux):
        flood = await flood_of(mux.address, 4)
        async with asyncio.timeout(20), client(rpc.dial(mux.address)) as page:
            with pytest.raises(TransportClosed, match="RATE: its place was needed"):
                await flood[0].recv()
            flood += await flood_of(mux.address, 8)
            for late in flood[4:]:
                with pytest.raises(TransportClosed, match="no more than 4 connections"):
                    await late.recv()
            assert (await page.netmach.add("A")).executed
            assert len(mux.servers) == 4
        await asyncio.gather(*(each.close() for each in flood))


async def test_a_flood_of_silent_connections_keeps_nobody_of_another_address_out_of_a_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places_module, "GRACE", 60.0)
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    server = rpc.Server(source, "test", strangers=3, timing=rpc.Timing(hello=60.0))
    listening: list[str] = []
    server.machine.bind({"RpcReadyState": lambda e: listening.append(e.args(Listening).address)})
    server.serve_at("tcp://127.0.0.1:0")
    await server.machine.when(ServerStates.RpcReady)
    flood = await flood_of(listening[0], 5)
    with pytest.raises(TransportClosed, match="no more than 4 connections"):
        await flood[4].recv()
    async with asyncio.timeout(20), client(rpc.dial(listening[0])) as page:
        with pytest.raises(TransportClosed, match="RATE: its place was needed"):
            await flood[0].recv()
        assert (await page.netmach.add("A")).executed
    await asyncio.gather(*(each.close() for each in flood))
    await server.stop()
    server.machine.dispose()


async def test_a_client_that_was_let_in_makes_room_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "GRACE", 0.0)
    mux = rpc.Mux(am.Machine(Basic, id="source"), "tcp://127.0.0.1:0", limit=1)
    async with running(mux), client(rpc.dial(mux.address)) as page:
        (late,) = await flood_of(mux.address, 1)
        with pytest.raises(TransportClosed, match="no more than 1 connections"):
            await late.recv()
        await late.close()
        assert (await page.netmach.add("A")).executed


async def test_who_is_refused_by_name_holds_his_place_no_longer_than_others() -> None:
    """A hello that is not let in makes nobody a guest."""
    mux = rpc.Mux(am.Machine(Basic, id="source"), "tcp://127.0.0.1:0", allow=lambda *_: None)
    async with running(mux):
        refused = rpc.Client(rpc.dial(mux.address), Basic, id="one", reconnect=False)
        refused.start()
        with pytest.raises(rpc.NotConnected, match="FORBIDDEN"):
            await refused.when_ready()
        await refused.stop()
        refused.machine.dispose()
        assert not mux._places._inside
