"""What an idle mirror takes: session, server, client, network machine and pipe, counted by tracemalloc."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from contextlib import AsyncExitStack

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ServerStates
from asyncmachine.rpc.transport.memory import pair

LIMIT = 24 * 1024
MIRRORS = 20


class Twenty(rpc.StateSource):
    """20 states, with `Exception` and `ErrOnClient`."""

    S01, S02, S03, S04, S05, S06, S07, S08, S09 = (am.state() for _ in range(9))
    S10, S11, S12, S13, S14, S15, S16, S17, S18 = (am.state(multi=True) for _ in range(9))


async def mirror(source: am.Machine[Twenty], stack: AsyncExitStack) -> None:
    """Adds one that is ready on both sides, until the end of the stack."""
    near, far = pair()
    server, client = rpc.Server(source, "memory", push_interval=0.001), rpc.Client.over(far, Twenty, id="memory")
    serving = asyncio.create_task(server.serve(near))
    stack.push_async_callback(asyncio.wait_for, serving, 10)
    client.start()
    await client.when_ready()
    await server.machine.when(ServerStates.Ready)
    stack.callback(client.stop)


def traced() -> int:
    """Bytes that are in use."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def bytes_of_one() -> float:
    """Bytes that one more mirror takes."""
    source = am.Machine(Twenty, id="source")
    async with AsyncExitStack() as stack:
        for _ in range(3):  # what is made once for all
            await mirror(source, stack)
        tracemalloc.start()
        try:
            before = traced()
            for _ in range(MIRRORS):
                await mirror(source, stack)
            return (traced() - before) / MIRRORS
        finally:
            tracemalloc.stop()


@pytest.mark.skipif(tracemalloc.is_tracing(), reason="somebody else counts already")
def test_an_idle_mirror_of_twenty_states_takes_less_than_24_kilobytes() -> None:
    # A loop of its own: in its debug mode every task and timer keeps the stack that it was made on.
    # Twice, as things grow that all share: they do so once.
    each = min([asyncio.run(bytes_of_one(), debug=False) for _ in range(2)])
    assert 8 * 1024 < each < LIMIT, f"{each:,.0f} bytes"
