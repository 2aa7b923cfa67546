"""A process as a node: forked, followed and started again by its parent, as a web worker is in a browser.

What a process is told on its command line, and how it answers::

    python -m examples.wasm_workflow.processes browser3                               a leaf: it takes connections
    python -m examples.wasm_workflow.processes browser2 tcp://127.0.0.1:4711          calls its parent's parent there

It prints one line when it runs: the address to dial, or "-" if it has none. It ends when its standard input does, which
is when its parent has gone, in whatever way.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence

import asyncmachine as am
from asyncmachine.rpc import Transport, TransportClosed, dial

MODULE = "examples.wasm_workflow.processes"


class ForkStates(am.StatesDef):
    """The life of a forked process; the same as a web worker's."""

    Starting = am.state(remove=("Ready", "Dead"))
    Ready = am.state(remove=(Starting, "Dead"))
    Dead = am.state(remove=(Starting, Ready))


class Fork:
    """A process that this one forked. A dead one stays dead until `restart`."""

    def __init__(self, id: str, arguments: Sequence[str] = ()) -> None:
        self.id = id
        self.arguments = tuple(arguments)
        self.patience = 0.0  # of no meaning: the system tells of a process's end
        self.machine = am.Machine(ForkStates, id=f"process-{id}")
        self.address = ""
        self.process: Process | None = None
        self._life: asyncio.Task[None] | None = None

    def restart(self) -> None:
        """Ends the process if there is one, and starts another."""
        before = self._life
        self.terminate()
        self._life = asyncio.get_running_loop().create_task(self._live(before), name=f"process {self.id}")

    def terminate(self) -> None:
        """Kills it: nothing of what it was doing is finished."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()

    async def dial(self) -> Transport:
        """A connection to it, once it runs."""
        await self.machine.when(ForkStates.Ready)
        if self.address == "-":
            raise TransportClosed(reason=f"{self.id} takes no connections")
        return await dial(self.address)()

    async def ended(self) -> None:
        """Returns when the last process has ended."""
        if self._life is not None:
            await asyncio.wait([self._life])

    async def _live(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        self.machine.add(ForkStates.Starting)
        command = (sys.executable, "-m", MODULE, self.id, *self.arguments)
        self.process = process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        assert process.stdout is not None
        line = await process.stdout.readline()
        if line:
            self.address = line.decode().strip()
            self.machine.add(ForkStates.Ready)
        await process.wait()
        if not self.machine.is_disposed:
            self.machine.add(ForkStates.Dead)


async def until_orphaned(address: str = "-") -> None:
    """What a forked process does last: tells that it runs, and waits for the end of its parent."""
    print(address, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
