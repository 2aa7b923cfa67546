"""Waits at a mirror whose awaiters gave up: neither the client nor its source keeps them."""

from __future__ import annotations

import asyncio
import gc

import pytest

from asyncmachine import rpc
from asyncmachine.rpc.states import ClientStates as C
from asyncmachine.rpc.transport import Transport
from tests.machine.test_given_up import filed, give_up
from tests.rpc.behaviour import Basic, paired
from tests.rpc.nets import memory
from tests.virtual_time import in_virtual_time


async def test_the_source_forgets_a_wait_for_arguments_that_is_nobodys_any_more() -> None:
    async with memory() as net, paired(net) as pair:
        kept = pair.mirror.when_args("Ask", n=0)
        await give_up(kept)
        for n in range(1, 20):
            await give_up(pair.mirror.when_args("Ask", n=n))
        gc.collect()
        await pair.client.sync()
        assert filed(pair.mirror) == 1
        assert filed(pair.source) == 1
        net.cut()
        await pair.client.machine.when_not(C.Connected)
        await pair.client.when_ready()
        await pair.mirror.add("Ask", n=0)
        await kept
        assert filed(pair.mirror) == filed(pair.source) == 0


async def test_one_that_is_given_up_after_the_loop_has_gone_is_forgotten_in_silence() -> None:
    """Also when it is collected in the middle of anything."""
    async with memory() as net, paired(net) as pair:
        wait = pair.mirror.when_args("Ask", n=0)
        await give_up(wait)
        watching = pair.client._watching
        assert watching._watches
        loop, watching._loop = asyncio.new_event_loop(), lambda: loop
        loop.close()
        del wait
        gc.collect()
        assert not watching._watches


@in_virtual_time
async def test_a_client_that_cannot_connect_for_long_keeps_nothing_of_its_attempts() -> None:
    async def nowhere() -> Transport:
        raise OSError

    client = rpc.Client(nowhere, Basic, id="early")
    before = filed(client.machine)
    client.start()
    await asyncio.sleep(10)
    found = []
    for _ in range(8):
        with pytest.raises(TimeoutError):
            await asyncio.create_task(_soon(client))
        found.append(filed(client.machine))
    assert found[2] == found[-1] <= 3, "asyncio holds the errors of a task or two for a while"
    await client.stop()
    gc.collect()
    assert filed(client.machine) == before


async def _soon(client: rpc.Client[Basic]) -> None:
    async with asyncio.timeout(5):
        await client.when_ready()
