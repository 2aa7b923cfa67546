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
    """For what nobody else knows, while all that nobody holds is collected."""

    async def collect() -> None:
        await context.port.recv()
        gc.collect()
        await context.port.send(b"collected")

    collecting = asyncio.create_task(collect())
    await asyncio.get_running_loop().create_future()
    await collecting


async def waits_in_page() -> None:
    """The same."""
    import js

    def collect() -> None:
        gc.collect()
        js.document.title = "collected"

    asyncio.get_running_loop().call_later(0.05, collect)
    await asyncio.get_running_loop().create_future()
