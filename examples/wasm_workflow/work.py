"""The work of a node: it keeps a processor busy for a while, then hashes its payload."""

from __future__ import annotations

import asyncio
from hashlib import sha512

from examples.wasm_workflow.dag import digest

BURN_SEED = b"example_wasm_workflow_data"

YIELD_EVERY = 256
"""Iterations between two looks at the event loop, which is when a cancelled node stops and the page stays alive."""


async def burn(iterations: int) -> bytes:
    """Chains SHA-512 that many times; the digest is of no use to anybody. Can be cancelled while it runs."""
    data = BURN_SEED
    for start in range(0, iterations, YIELD_EVERY):
        for _ in range(min(YIELD_EVERY, iterations - start)):
            data = sha512(data).digest()
        await asyncio.sleep(0)
    return data


async def work(payload: bytes, node: str, iterations: int) -> bytes:
    """Burns the iterations, then returns the node's right result."""
    await burn(iterations)
    return digest(payload, node)
