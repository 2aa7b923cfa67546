"""The pause between two attempts: its end by time, by a nudge, and whom a nudge is for."""

from __future__ import annotations

import asyncio

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.backoff import Backoff
from asyncmachine.rpc.pause import Pause
from asyncmachine.rpc.transport import Transport, TransportClosed
from tests.virtual_time import in_virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_a_pause_ends_by_itself() -> None:
    await Pause().wait(30)
    assert now() == 30


@in_virtual_time
async def test_a_nudge_ends_the_pause_that_is_and_no_other() -> None:
    pause = Pause()
    asyncio.get_running_loop().call_later(5, pause.nudge)
    await pause.wait(30)
    assert now() == 5
    await pause.wait(30)
    assert now() == 35


@in_virtual_time
async def test_a_nudge_before_the_pause_ends_it_at_once_unless_it_is_forgotten() -> None:
    pause = Pause()
    pause.nudge()
    await pause.wait(30)
    assert now() == 0
    pause.nudge()
    pause.reset()
    await pause.wait(30)
    assert now() == 30


@in_virtual_time
async def test_a_listening_server_dials_at_once_when_told_that_the_network_is_back() -> None:
    dialled: list[float] = []

    async def dial() -> Transport:
        dialled.append(now())
        raise TransportClosed(reason="nobody there")

    server = rpc.Server(am.Machine({"A": {}}), backoff=Backoff(first=60, cap=60, jitter=0))
    server.listen(dial)
    await asyncio.sleep(10)
    server.retry_now()
    await asyncio.sleep(1)
    assert dialled == [0, 10]
    await server.stop()


@in_virtual_time
async def test_a_client_that_gives_up_tells_who_waits_for_it() -> None:
    async def dial() -> Transport:
        raise TransportClosed(reason="nobody there")

    client = rpc.Client(dial, backoff=Backoff(first=1, tries=3, jitter=0))
    client.start()
    with pytest.raises(rpc.NotConnected, match="nobody there"):
        await client.when_ready()
    assert "ConnRetryFailed" in client.machine
    with pytest.raises(rpc.NotConnected):
        await client.when_ready()


@in_virtual_time
async def test_a_client_that_is_stopped_tells_who_waits_for_it() -> None:
    async def dial() -> Transport:
        await asyncio.sleep(3600)
        raise AssertionError

    client = rpc.Client(dial)
    client.start()
    waiting = client.when_ready()
    await client.stop()
    with pytest.raises(rpc.NotConnected, match="has stopped connecting"):
        await waiting
