"""The other side, in a process of its own: `python -m bench.loops.process amrpc` prints its port and serves."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


async def serve(module: str, *arguments: str) -> None:
    """Serves until the standard input ends."""
    async with importlib.import_module(f"bench.loops.{module}").serving(*arguments) as port:
        print(port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@asynccontextmanager
async def started(module: str, *arguments: str) -> AsyncIterator[int]:
    """A process that serves; gives its port."""
    command = (sys.executable, "-m", "bench.loops.process", module, *arguments)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
