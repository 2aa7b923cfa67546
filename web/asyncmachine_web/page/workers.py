"""Workers: threads of the browser, each with a Python of its own, joined to its parent by MessagePorts.

    worker = Worker.fork("browser3", main="wasm_workflow.leaf:main", env={"SEED": "7"})
    client = rpc.Client(worker.dial, schema=Leaf)        # in the parent, a page or a worker

    async def main(context: Context) -> None:            # in the worker, wasm_workflow/leaf.py
        server = rpc.Server(leaf, name=context.id)
        server.listen(context.dial)
        await leaf.when_disposed()

Who forked a worker follows it through `worker.machine`: `Starting` while Python boots, `Ready` while main runs, `Dead`
when it has ended in whatever way, with `ErrWorker` when that was a failure. `restart` begins anew under the same id;
`dial` then leads to the new one. The protocol below this is written down in `fork.mjs`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import asyncmachine as am
from asyncmachine.rpc.transport import LOST, Transport, TransportClosed
from asyncmachine.rpc.transport.port import PortTransport
from asyncmachine_web.page.reads import Value

if TYPE_CHECKING:
    from asyncmachine_js import Forked
    from pyodide.ffi import JsDoubleProxy


class WorkerStates(am.StatesDef):
    ErrWorker = am.state(multi=True, add="Exception", require="Exception")
    Starting = am.state(remove=("Ready", "Dead"))
    Ready = am.state(remove=(Starting, "Dead"))
    Dead = am.state(remove=(Starting, Ready))


class WorkerFailed(am.AmError):
    """A worker ended by a failure. `code` is CRASH, SILENT, that of a failed boot, or the class of what main raised."""

    state = "ErrWorker"

    def __init__(self, worker: str, code: str, message: str) -> None:
        super().__init__(f"worker {worker!r} failed: {code}: {message}")
        self.code = code


@dataclass(frozen=True)
class Ended(am.Args, prefix="worker", state="Dead"):
    """Comes with `Dead`: why it ended, one of returned, terminated, failed."""

    reason: str


class Worker:
    """A worker that this thread forked. A dead one stays dead until `restart`."""

    def __init__(
        self, id: str, main: str, env: Mapping[str, str] | None = None, *, parent: am.View[Any] | None = None
    ) -> None:
        if not all(main.partition(":")):
            raise am.AmError(f"main={main!r} names no function: write package.module:function")
        self.id = id
        self.machine = am.Machine(WorkerStates, id=f"worker-{id}", tags=("worker",), parent=parent)
        self.phase = Value("")
        """How far its Python is, to be shown: the boot phase told last."""
        self._order = json.dumps({"id": id, "main": main, "env": dict(env or {})})
        self._forked: Forked | None = None
        self._open: list[PortTransport] = []
        self._connected = False
        self._reason = ""
        self.machine.on_dispose(lambda _id: self.terminate())

    @classmethod
    def fork(
        cls, id: str, main: str, env: Mapping[str, str] | None = None, *, parent: am.View[Any] | None = None
    ) -> Worker:
        """Start a worker that runs `await main(context)`. How it ends is told by states, not raised here."""
        worker = cls(id, main, env, parent=parent)
        worker.restart()
        return worker

    def restart(self) -> None:
        """Start it, after terminating the one that still runs. The machine stays, its `Starting` ticks."""
        from asyncmachine_js import fork
        from pyodide.ffi import create_proxy

        self.terminate()
        self.machine.remove([WorkerStates.ErrWorker, WorkerStates.Exception])
        self.machine.add(WorkerStates.Starting)
        tell: JsDoubleProxy = create_proxy(lambda kind, detail: self._told(kind, json.loads(detail), tell))
        self._connected = False
        self._forked = fork(self._order, tell)

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
        await self.machine.when(WorkerStates.Ready)
        forked = self._forked
        if forked is None:
            raise TransportClosed(LOST, f"worker {self.id} has ended")
        port = forked.connect() if self._connected else forked.port
        self._connected = True
        transport = PortTransport(port, self.id)
        self._open = [pipe for pipe in self._open if not pipe.closed] + [transport]
        return transport

    def _told(self, kind: str, detail: dict[str, str], tell: JsDoubleProxy) -> None:
        """A message of the start protocol; EXIT or ERROR is the last of its worker."""
        match kind:
            case "PHASE":
                self.phase.set(detail["phase"])
            case "STARTED":
                self.machine.add(WorkerStates.Ready)
            case "EXIT":
                self._ended(detail["reason"], tell)
            case "ERROR":
                self._ended("failed", tell, WorkerFailed(self.id, detail["code"], detail["message"]))

    def _ended(self, reason: str, tell: JsDoubleProxy, error: WorkerFailed | None = None) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(tell.destroy)  # it is being called right now
        self._forked = None
        self._reason = reason
        for transport in self._open:
            transport.lost(f"worker {self.id} has ended")
        self._open.clear()
        if error is not None:
            self.machine.add_err(error)
        self.machine.add(WorkerStates.Dead, Ended(reason))


class Context:
    """What a worker's main is given: its id, its environment (also in `os.environ`), the port from its parent."""

    def __init__(self, id: str, env: Mapping[str, str], port: Transport) -> None:
        self.id = id
        self.env = env
        self.port = port
        self._ports: asyncio.Queue[Transport] = asyncio.Queue()
        self._ports.put_nowait(port)

    async def dial(self) -> Transport:
        """The next pipe to the parent: `port` first, then one for each further `worker.dial` there."""
        return await self._ports.get()


async def run() -> None:
    """Called by `worker.mjs`: run main to its end."""
    from asyncmachine_js import context as given
    from pyodide.ffi import create_proxy

    context = Context(given.id, json.loads(given.env), PortTransport(given.port, "parent"))
    given.receive(create_proxy(lambda port: context._ports.put_nowait(PortTransport(port, "parent"))))
    await main_function(given.main)(context)


def main_function(main: str) -> Callable[[Context], Awaitable[None]]:
    """The function that `package.module:function` names."""
    module, _, name = main.partition(":")
    return cast(Callable[[Context], Awaitable[None]], getattr(importlib.import_module(module), name))
