"""Very many clients that come at once, each with one attempt: whoever is not served is told why."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.transport import Listener, Transport, TransportClosed, backlog
from asyncmachine.rpc.transport.addresses import dial as dial_to
from asyncmachine.rpc.transport.memory import MemoryListener
from tests.rpc.behaviour import QUICK, Basic
from tests.virtual_time import in_virtual_time

AT_ONCE = 1000
NOT_WELCOMED = "the connection was not welcomed, but closed with"
PATIENCE = 50.0
"""Seconds for all of them together, on a slow computer; so nobody is late for that reason."""


async def outcome(client: rpc.Client) -> str:
    """What becomes of a client, from its own point of view."""
    try:
        await client.when_ready()
    except rpc.NotConnected as error:
        return str(error).partition("has stopped connecting")[2]
    return "ready"


async def outcomes(address: str, count: int, limit: int) -> Counter[str]:
    listener = MemoryListener()

    async def listen() -> Listener:
        return listener

    is_memory = address == "memory"
    timing = rpc.Timing(hello=PATIENCE, answer=PATIENCE)
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    mux = rpc.Mux(source, listen if is_memory else address, limit=limit, timing=timing)
    mux.start()
    await mux.when_ready()
    dial = listener.dial if is_memory else rpc.dial(mux.address, timeout=PATIENCE)
    clients: list[rpc.Client] = [
        rpc.Client(dial, Basic, id=f"c{n}", timing=timing, dial_timeout=PATIENCE, reconnect=False) for n in range(count)
    ]
    for client in clients:
        client.start()
    async with asyncio.timeout(PATIENCE):
        found = Counter(await asyncio.gather(*(outcome(client) for client in clients)))
        served = sum(len(server.client_ids) for server in mux.servers.values())
    assert served == found["ready"]
    await asyncio.gather(*(client.stop() for client in clients))
    await mux.stop()
    return found


@pytest.mark.parametrize("address", ["memory", "tcp://127.0.0.1:0"])
def test_a_thousand_handshakes_at_once_all_come_to_an_end(address: str) -> None:
    # A loop without debug mode, which would keep the stack of each of some 20,000 tasks and callbacks.
    assert asyncio.run(outcomes(address, AT_ONCE, AT_ONCE), debug=False) == {"ready": AT_ONCE}


@pytest.mark.parametrize("address", ["memory", "tcp://127.0.0.1:0"])
def test_those_beyond_the_limit_are_told_why(address: str) -> None:
    found = asyncio.run(outcomes(address, 300, limit=200), debug=False)
    assert found == {"ready": 200, f": {NOT_WELCOMED} 4429 (RATE: no more than 200 connections at once)": 100}


async def test_who_waits_for_a_client_that_is_over_is_told_at_once() -> None:
    listener = MemoryListener()
    await listener.close()
    client = rpc.Client(listener.dial, Basic, reconnect=False)
    early = client.when_ready()
    client.start()
    for wait in (early, client.when_ready()):
        with pytest.raises(rpc.NotConnected, match="stopped connecting: memory: nobody accepts"):
            await wait
    assert C.Start not in client.machine
    with pytest.raises(rpc.NotConnected, match="stopped connecting: memory: nobody accepts"):
        await client.when_ready()


async def test_who_waits_before_the_start_gets_a_client_that_is_ready() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    listener = MemoryListener()

    async def listen() -> Listener:
        return listener

    mux = rpc.Mux(source, listen)
    mux.start()
    client = rpc.Client(listener.dial, Basic, reconnect=False)
    early = client.when_ready()
    await mux.when_ready()
    client.start()
    await early
    assert C.Ready in client.machine
    await client.stop()
    await mux.stop()


async def test_who_waits_for_a_mux_at_an_address_that_is_taken_is_told_and_it_goes_on_trying() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    first = rpc.Mux(source, "tcp://127.0.0.1:0")
    first.start()
    await first.when_ready()
    second = rpc.Mux(source, first.address, "second", backoff=QUICK)
    early = second.when_ready()
    second.start()
    for wait in (early, second.when_ready()):
        with pytest.raises(rpc.ListenerFailed) as told:
            await wait
        assert str(told.value) == (
            f"rm-second cannot take connections at {first.address}: "
            "the address is in use: end what listens there, or choose another"
        )
        assert isinstance(told.value.__cause__, OSError)
        assert told.value.__cause__.__traceback__ is None
    listens = second.machine.when(rpc.states.MuxStates.Ready)
    await first.stop()
    await listens
    await second.when_ready()
    await second.stop()
    with pytest.raises(rpc.ListenerFailed, match="rm-second has stopped"):
        await second.when_ready()


async def test_who_waits_for_a_client_of_a_foreign_source_is_told_and_it_goes_on_trying() -> None:
    class Newer(Basic):
        Later = am.state()

    old, new = am.Machine(Basic, id="source"), am.Machine(Newer, id="source")
    mux = rpc.Mux(lambda name, _: rpc.Server(old if mux._made == 1 else new, name), "tcp://127.0.0.1:0")
    mux.start()
    await mux.when_ready()
    client = rpc.Client(mux.address, Newer, backoff=QUICK)
    early = client.when_ready()
    client.start()
    with pytest.raises(rpc.ForeignSource, match="has no Later"):
        await early
    await client.when_ready()
    await client.stop()
    await mux.stop()


async def test_a_slip_at_a_mirror_is_told_with_the_name_of_its_source() -> None:
    mux = rpc.Mux(am.Machine(Basic, id="shop"), "tcp://127.0.0.1:0")
    mux.start()
    await mux.when_ready()
    client = rpc.Client(mux.address, Basic)
    client.start()
    await client.when_ready()
    mirror: rpc.NetworkMachine[Any] = client.netmach
    for slip in (mirror.add, mirror.can_add, mirror.when):
        with pytest.raises(am.StateMissing, match=r"'Aks' .* not defined in the schema of 'shop'"):
            slip("Aks")
    await client.stop()
    await mux.stop()


async def test_a_client_that_has_come_back_has_no_error_of_its_connection_any_more() -> None:
    source: am.Machine[Any] = am.Machine(Basic, id="source")
    mux = rpc.Mux(source, "tcp://127.0.0.1:0")
    mux.start()
    await mux.when_ready()
    dials = 0

    async def dial() -> Transport:
        nonlocal dials
        dials += 1
        if dials < 3:
            raise TransportClosed(1006, "not yet")
        return await dial_to(mux.address)()

    client = rpc.Client(dial, Basic, backoff=QUICK)
    client.start()
    await client.machine.when_err()
    before = client.machine.err
    assert isinstance(before, TransportClosed)
    await client.when_ready()
    now: object = client.machine.err
    assert now is None
    await client.stop()
    await mux.stop()


def listening_at(listener: MemoryListener) -> rpc.Listen:
    async def listen() -> Listener:
        return listener

    return listen


@in_virtual_time
async def test_who_waits_for_what_nobody_has_started_is_told(caplog: pytest.LogCaptureFixture) -> None:
    listener = MemoryListener()
    client = rpc.Client(listener.dial, Basic, id="idle")
    mux = rpc.Mux(am.Machine(Basic, id="source"), listening_at(listener), "idle")
    waits = client.when_ready(), mux.when_ready()
    assert caplog.messages == []
    await asyncio.sleep(1.5)
    assert caplog.messages == [
        f"{each.machine.id} has not been started, and somebody waits for it to be ready: call start()"
        for each in (client, mux)
    ]
    for wait in waits:
        wait.cancel()
    client.machine.dispose()
    mux.machine.dispose()


@in_virtual_time
async def test_who_starts_soon_is_not_warned(caplog: pytest.LogCaptureFixture) -> None:
    listener = MemoryListener()
    mux = rpc.Mux(am.Machine(Basic, id="source"), listening_at(listener), "prompt")
    client = rpc.Client(listener.dial, Basic, id="prompt")
    listening, ready = mux.when_ready(), client.when_ready()
    await asyncio.sleep(0.5)
    mux.start()
    client.start()
    await listening
    await ready
    await client.stop()
    await asyncio.sleep(1.5)
    assert caplog.messages == []
    await mux.stop()


async def test_a_connection_that_just_ends_is_told_as_the_reason() -> None:
    listener = MemoryListener()
    client = rpc.Client(listener.dial, Basic, reconnect=False)
    client.start()
    ready = client.when_ready()
    near = await listener.accept()
    await near.close(4409, "BUSY: somebody else is here")
    with pytest.raises(rpc.NotConnected, match=r"closed with 4409 \(BUSY: somebody else is here\)"):
        await ready
    await listener.close()


async def test_who_dials_a_full_listener_waits_until_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MAX_WAITING", 2)
    listener = MemoryListener()
    ends: list[Transport] = [await listener.dial() for _ in range(2)]
    more = [asyncio.create_task(listener.dial()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in more)
    await listener.accept()
    done, left = await asyncio.wait(more, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(left)) == (1, 2)
    await listener.close()
    await asyncio.wait(left)
    for each in left:
        with pytest.raises(rpc.TransportClosed, match="nobody accepts"):
            each.result()
    assert ends
