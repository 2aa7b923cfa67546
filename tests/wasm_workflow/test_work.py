import asyncio
from hashlib import sha512

import pytest

from examples.wasm_workflow import dag
from examples.wasm_workflow.work import BURN_SEED, YIELD_EVERY, burn, work


async def test_burning_chains_the_digest() -> None:
    wanted = BURN_SEED
    for _ in range(300):
        wanted = sha512(wanted).digest()
    assert await burn(300) == wanted


async def test_the_result_does_not_depend_on_the_iterations() -> None:
    assert await work(b"wasm-workflow-1", "browser1", 1) == dag.digest(b"wasm-workflow-1", "browser1")
    assert await work(b"wasm-workflow-1", "browser1", 1000) == dag.digest(b"wasm-workflow-1", "browser1")


async def test_the_loop_gets_a_turn_every_256_iterations() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count())
    await burn(10 * YIELD_EVERY)
    counter.cancel()
    await asyncio.gather(counter, return_exceptions=True)
    assert turns == pytest.approx(10, abs=1)


async def test_work_without_end_can_be_cancelled() -> None:
    endless = asyncio.create_task(burn(10**12))
    await asyncio.sleep(0)
    endless.cancel()
    with pytest.raises(asyncio.CancelledError):
        await endless
