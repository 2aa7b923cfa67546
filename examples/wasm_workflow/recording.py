"""`DBG=FILE`: all five machines are recorded. Page and workers send through the relay, the orchestrator from here."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import asyncmachine as am
from asyncmachine.rpc.transport.memory import MemoryListener
from asyncmachine.telemetry.dbg.attach import attach
from asyncmachine.telemetry.dbg.dumps import SingleDump
from asyncmachine.telemetry.dbg.recorder import Recorder


class Recording:
    """Records into a file for as long as it is entered. Give `recorder` to the relay."""

    def __init__(self, path: Path, machine: am.Machine[Any]) -> None:
        self.recorder = Recorder(SingleDump(path))
        self._machine = machine
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.recorder.running())
        listener = MemoryListener()
        attachment = attach(self._machine, listener.dial)
        if attachment is not None:
            serving = asyncio.create_task(self.recorder.serve(await listener.accept()))
            self._stack.push_async_callback(asyncio.wait, [serving])
            self._stack.push_async_callback(attachment.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
