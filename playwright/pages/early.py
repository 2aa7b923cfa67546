"""A worker's main that asks for nothing of aRPC."""

from __future__ import annotations

import sys

from asyncmachine_web.page.workers import Context

HAS_RPC = "asyncmachine.rpc" in sys.modules


async def told(context: Context) -> None:
    """Whether aRPC was there before."""
    await context.port.recv()
    await context.port.send(str(HAS_RPC).encode())
