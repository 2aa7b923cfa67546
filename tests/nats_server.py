"""A real NATS server with JetStream on a free loopback port, as a program of its own."""

from __future__ import annotations

import asyncio
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.ports import free_port


class NatsServer:
    """`start`, `stop` and `kill` may follow each other; port and data stay. Use it as a context."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._directory = directory
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Returns when it answers."""
        program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
        assert program is not None, "nats-server is not installed: make setup does that"
        self._process = await asyncio.create_subprocess_exec(
            program,
            *("-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self._directory), *self._options),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        while True:
            assert self._process.returncode is None
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Ends it. Its data stay."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await process.wait()

    def lose(self) -> None:
        """Removes its data. Call it while it is stopped."""
        shutil.rmtree(self._directory)
