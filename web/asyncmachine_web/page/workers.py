"""Workers: threads of the browser, each with a Python of its own, joined to its parent by MessagePorts.

    worker = Worker.fork("browser3", main="wasm_workflow.leaf:main", env={"SEED": "7"})
    client = rpc.Client(worker.dial, schema=Leaf)        # in the parent, a page or a worker

    async def main(context: Context) -> None:            # in the worker, wasm_workflow/leaf.py
        server = rpc.Server(leaf, name=context.id)
        server.listen(context.dial)
        await leaf.when_disposed()

Who forked a worker follows it through `worker.machine`: `Starting` while Python boots, `Ready` while main runs, `Dead`
when it has ended in whatever way, with `ErrWorker` when that was a failure. A failure that no handler of `ErrWorker`,
`Exception` or `Dead` there hears of is told in the console, with the worker's traceback. `restart` begins anew under
the same id; `dial` then leads to the new one. The protocol below this is written down in `supervision`.

A worker must let go of its thread now and then, as each `await` does. One that does not for longer than its *patience*
is stuck. In an isolated page `HandlerDeadline` is raised in the application's code that does it (`interrupts`), which
fails as for any other error, and the worker goes on. Where that does not help within half that time again (counted from
when Python has looked, if it does), or the page is not isolated, the worker is ended with SILENT; a successor has begun
to start by then. The head of `supervision` has the times. While an import waits for a download it may take a minute.

`spare(2)` keeps two workers with a Python that has started, so that the next ones run at once. A spare that dies is
replaced; to find out costs a message each way every 5 s.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import asyncmachine as am
from asyncmachine.machine.recovery import is_heard
from asyncmachine.rpc.transport import LOST, Transport, TransportClosed
from asyncmachine.rpc.transport.port import PortTransport
from asyncmachine_web.page import interrupts, threads
from asyncmachine_web.page.lifecycle import PageStates, lifecycle
from asyncmachine_web.page.reads import Value

logger = logging.getLogger("asyncmachine.page")

PATIENCE: Final = 1.5
"""Seconds that a worker may keep its thread. One that is stuck for good has a successor after about twice that."""


class WorkerStates(am.StatesDef):
    ErrWorker = am.state(multi=True, add="Exception", require="Exception")
    Starting = am.state(remove=("Ready", "Dead"))
    Ready = am.state(remove=(Starting, "Dead"))
    Dead = am.state(remove=(Starting, Ready))


class WorkerFailed(am.AmError):
    """A worker ended by a failure. `code` is CRASH, SILENT, that of a failed boot, or the class of what main raised.

    Its text is one line, for people; `trace` has the worker's traceback, too.
    """

    state = "ErrWorker"

    def __init__(self, worker: str, code: str, message: str) -> None:
        why = _last_line(message)
        told = why if why.partition(":")[0].rpartition(".")[2] == code else f"{code}: {why}"
        super().__init__(f"worker {worker!r} failed: {told}")
        self.code = code
        self.trace = f"worker {worker!r} failed: {code}: {message.rstrip()}"
        if why != message:
            self.add_note(message.rstrip())


def _last_line(message: str) -> str:
    """What a traceback ends with, and where the code is that is no Python."""
    if not message.startswith("Traceback "):
        return message
    why = message.rstrip().rpartition("\n")[2]
    place = re.search(r'^ *File "([^"]+)", line (\d+)$', message, re.MULTILINE)
    return f"{why} ({place[1]}, line {place[2]})" if place else why


@dataclass(frozen=True)
class Ended(am.Args, prefix="worker", state="Dead"):
    """Comes with `Dead`: why it ended, one of returned, terminated, failed."""

    reason: str


class Worker:
    """A worker that this thread forked. A dead one stays dead until `restart`."""

    def __init__(
        self,
        id: str,
        main: str,
        env: Mapping[str, str] | None = None,
        *,
        patience: float = PATIENCE,
        parent: am.View[Any] | None = None,
    ) -> None:
        if not all(main.partition(":")):
            raise am.AmError(f"main={main!r} names no function: write package.module:function")
        self.id = id
        self.machine = am.Machine(WorkerStates, id=f"worker-{id}", tags=("worker",), parent=parent)
        self.phase = Value("")
        """How far its Python is, to be shown: the boot phase told last."""
        self._order = {"id": id, "main": main, "env": dict(env or {})}
        self._patience = patience
        self._forked: threads.Forked | None = None
        self._open: list[PortTransport] = []
        self._connected = False
        self._reason = ""
        self.machine.on_dispose(lambda _id: self.terminate())

    @classmethod
    def fork(
        cls,
        id: str,
        main: str,
        env: Mapping[str, str] | None = None,
        *,
        patience: float = PATIENCE,
        parent: am.View[Any] | None = None,
    ) -> Worker:
        """Start a worker that runs `await main(context)`. How it ends is told by states, not raised here."""
        worker = cls(id, main, env, patience=patience, parent=parent)
        worker.restart()
        return worker

    @property
    def patience(self) -> float:
        """Seconds that it may keep its thread. May be set at any time, for instance to be lenient while it starts."""
        return self._patience

    @patience.setter
    def patience(self, seconds: float) -> None:
        self._patience = seconds
        if self._forked is not None:
            self._forked.bear(seconds)

    def restart(self) -> None:
        """Start it, after terminating the one that still runs. The machine stays, its `Starting` ticks."""
        self.terminate()
        self.machine.remove([WorkerStates.ErrWorker, WorkerStates.Exception])
        self.machine.add(WorkerStates.Starting)
        self._connected = False
        self._forked = threads.Forked(self._order, self._patience, self._told)
        self._forked.begin()

    def terminate(self) -> None:
        """End it at once, wherever it is. Does nothing for a dead one."""
        if self._forked is not None:
            self._forked.terminate()

    async def ended(self) -> str:
        """Wait until it is dead; returned, terminated or failed."""
        await self.machine.when(WorkerStates.Dead)
        return self._reason

    async def dial(self) -> Transport:
        """A new pipe to the worker, as soon as its main runs. A cancelled call loses nothing.

        Each call here is matched by one of `context.dial` in the worker, in order; the first gets the worker's
        `context.port`.
        """
        transport = PortTransport(await self.port(), self.id)
        self._open = [pipe for pipe in self._open if not pipe.closed] + [transport]
        return transport

    async def port(self) -> Any:
        """As `dial`, but the bare MessagePort, which does not tell of the end. Matched by `context.next_port`."""
        await self.machine.when(WorkerStates.Ready)
        forked = self._forked
        if forked is None:
            raise TransportClosed(LOST, f"worker {self.id} has ended")
        port = forked.connect() if self._connected else forked.port
        self._connected = True
        return port

    def _told(self, kind: str, detail: Mapping[str, str]) -> None:
        """A message of the start protocol; EXIT or ERROR is the last of its worker."""
        match kind:
            case "PHASE":
                self.phase.set(detail["phase"])
            case "STARTED":
                self.machine.add(WorkerStates.Ready)
            case "EXIT":
                self._ended(detail["reason"])
            case "ERROR":
                self._ended("failed", WorkerFailed(self.id, detail["code"], detail["message"]))

    def _ended(self, reason: str, error: WorkerFailed | None = None) -> None:
        if self._forked is not None and not self._connected:
            self._forked.port.close()  # nobody else has it
        self._forked = None
        self._reason = reason
        for transport in self._open:
            transport.lost(f"worker {self.id} has ended")
        self._open.clear()
        if error is not None:
            leaving = PageStates.Leaving in lifecycle().machine  # then all ends, and nobody is to mend anything
            if not leaving and not is_heard(self.machine, error, WorkerStates.Dead):
                logger.error("%s", error.trace)
            self.machine.add_err(error)
        self.machine.add(WorkerStates.Dead, Ended(reason))


class Context:
    """What a worker's main is given: its id, its environment (also in `os.environ`), and the ports from its parent."""

    def __init__(self, id: str, env: Mapping[str, str], port: Any) -> None:
        self.id = id
        self.env = env
        self._ports: asyncio.Queue[Any] = asyncio.Queue()
        self._first: Transport | None = None
        self._ports.put_nowait(port)

    @property
    def port(self) -> Transport:
        """The first pipe to the parent."""
        if self._first is None:
            self._first = PortTransport(self._ports.get_nowait(), "parent")
        return self._first

    async def dial(self) -> Transport:
        """The next pipe to the parent: one for each `worker.dial` there."""
        return PortTransport(await self._ports.get(), "parent")

    async def next_port(self) -> Any:
        """The next MessagePort, bare: one for each `worker.port` in the parent."""
        return await self._ports.get()


def spare(count: int) -> None:
    """Keep so many workers without an order, 0 for none. Each costs the memory of a Python, some 50 MB."""
    threads.nest().keep(count)


def prepare() -> Callable[[], object]:
    """Called by `worker.mjs`: import what the order names, then return what runs it to its end."""
    from asyncmachine_js import context as given
    from pyodide.ffi import create_proxy

    from asyncmachine_web.page.loop import run_main

    env = json.loads(given.env)
    os.environ.update(env)
    sys.argv = [f"worker {given.id}"]
    interrupts.listen()
    context = Context(given.id, env, given.port)
    given.receive(create_proxy(context._ports.put_nowait))
    main = main_function(given.main)
    return lambda: run_main(main, context)


def main_function(main: str) -> Callable[[Context], Awaitable[None]]:
    """The function that `package.module:function` names."""
    module, _, name = main.partition(":")
    return cast(Callable[[Context], Awaitable[None]], getattr(importlib.import_module(module), name))
