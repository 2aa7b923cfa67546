"""Mains of a page and of workers that ask for little."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncmachine_web.page.workers import Context

HAS_RPC = "asyncmachine.rpc" in sys.modules


async def told(context: Context) -> None:
    """Whether aRPC was there before."""
    await context.port.recv()
    await context.port.send(str(HAS_RPC).encode())


async def waits(context: Context) -> None:
    """For what nobody else knows, while all that nobody holds is collected; tells whether it was."""
    ended: list[bool] = []

    async def collect() -> None:
        await context.port.recv()
        gc.collect()
        await context.port.send(b"destroyed" if ended else b"held")

    collecting = asyncio.create_task(collect())
    await _wait(ended)
    await collecting


async def waits_in_page() -> None:
    """The same."""
    import js

    ended: list[bool] = []

    def collect() -> None:
        gc.collect()
        js.document.title = "destroyed" if ended else "held"

    asyncio.get_running_loop().call_later(0.05, collect)
    await _wait(ended)


async def _wait(ended: list[bool]) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        ended.append(True)
