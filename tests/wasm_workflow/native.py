"""The native process of a browser test: on a thread, where its machine can be asked, or on its own, to be killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import asyncmachine as am
from asyncmachine_relay import bind
from examples.wasm_workflow import dag
from examples.wasm_workflow.app import App
from examples.wasm_workflow.settings import QUICK_ITERATIONS, Settings
from examples.wasm_workflow.states import Orchestrator
from examples.wasm_workflow.story import Event

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
PATIENCE = 150.0
"""Seconds to wait for a state: four Pythons boot, on a machine that may be busy. A hang detector."""

CALM = Settings(seed=0, success_rate=10**9, hash_iterations=QUICK_ITERATIONS)
"""No draw goes wrong."""

BUSY = replace(CALM, hash_iterations=500_000)
"""Nor here, and a node is at work for half a second, for faults that have to meet it there."""

ENDLESS = replace(CALM, max_restarts=10**9)
"""For `Native.unfinished`."""

DIGESTS = {
    "browser3": "798084a3599272353ed165b1ef2717344a89246ca3756680059b7b1340053007"
    "b7af049916f67388bea5cdc007dbf7368522d808bd5a6ad68b57612b5fc804b2",
    "browser4": "7f8db768c3ff3bd492c68f48006f6e5d77981501df604eb77b9577e87acd5ee8"
    "6772cb00b6f621ce9209d1e74c770d95e2b78d658c0e0f399989bb98421f6e95",
}
"""The result of every run, as it is written down in the specification."""


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port of the loopback where nobody listens, and which no other program is given meanwhile."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


class Native:
    """An app on a thread of its own. All of its methods are for the thread of the test."""

    def __init__(self, app: App, loop: asyncio.AbstractEventLoop) -> None:
        self.app = app
        self.machine = app.machine
        self.story: list[Event] = []
        app.listener = self.story.append
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine where the app runs. Playwright has a loop in the thread of the test, which must not wait."""
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result(PATIENCE)
        except TimeoutError:
            raise AssertionError(f"this hangs:\n{self.machine}\n" + "\n".join(self.sentences())) from None
        finally:
            running.cancel()

    def reach(self, *states: Orchestrator) -> None:
        """Waits until all of the states are active at once."""
        self.until(self.machine.when(*states))

    def leave(self, *states: Orchestrator) -> None:
        """Waits until none of the states is active."""
        self.until(self.machine.when_not(*states))

    def until(self, wait: am.Wait) -> None:
        """Waits for a wait that was made before."""
        self.run(_met(wait))

    def deliver(self) -> None:
        """Waits for the end of the run; both digests are right."""
        self.reach(Orchestrator.WorkDelivered)
        results = self.app.handlers.run.results
        assert {node: results[node].hex() for node in dag.FINAL} == DIGESTS
        assert not self.machine.is_err()

    @contextmanager
    def unfinished(self) -> Iterator[None]:
        """In the block the run goes on and on: in each round a result is corrupted."""

        def corrupt(e: am.Event) -> None:
            e.add(Orchestrator.CorruptNext)

        self.machine.bind({"StartWorkState": corrupt}, id="unfinished")
        try:
            yield
            assert Orchestrator.WorkDelivered not in self.machine
        finally:
            self.machine.detach("unfinished")

    @contextmanager
    def outage(self, seconds: float) -> Iterator[None]:
        """The relay's listener and all tunnels are closed in the block, for that many seconds at least."""
        cut = self.app.cut()
        self.run(cut.__aenter__())
        over = asyncio.run_coroutine_threadsafe(asyncio.sleep(seconds), self._loop)
        try:
            yield
        finally:
            over.result()
            self.run(cut.__aexit__(None, None, None))

    def note(self, handler: str, what: Callable[[am.Event], T], *, of: am.Machine[Any] | None = None) -> list[T]:
        """A list of what `what` finds whenever the machine, or another one, calls this handler from now on."""
        found: list[T] = []
        (of or self.machine).bind({handler: lambda e: found.append(what(e))})
        return found

    def sentences(self) -> list[str]:
        """The story so far."""
        return [event.tell() for event in self.story]


async def _met(wait: am.Wait) -> None:
    await wait


Serve = Callable[[Settings], Native]
"""Starts a native process on a thread, for as long as a test lasts."""


@contextmanager
def native(settings: Settings, port: int) -> Iterator[Native]:
    """Serves the workflow from a thread."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    served: Future[Native] = Future()

    async def serve() -> None:
        try:
            async with App(settings, bind(port=port, move=False)) as app:
                served.set_result(Native(app, loop))
                await stop.wait()
        except BaseException as error:
            if served.done():
                raise
            served.set_exception(error)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="native")
    thread.start()
    try:
        yield served.result()
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


class Program:
    """The workflow's command as a process of its own, which serves as soon as this is made."""

    def __init__(self, settings: Settings, port: int, folder: Path) -> None:
        """Temporary files, which a killed process leaves behind, go into `folder`."""
        options = {"seed": settings.seed, "success-rate": settings.success_rate, "port": port}
        options["hash-iterations"] = settings.hash_iterations
        command = [sys.executable, "-m", "examples.wasm_workflow", *(f"--{key}={options[key]}" for key in options)]
        environ = {**os.environ, "TMPDIR": str(folder)}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.said: list[str] = []
        for line in self._process.stdout:
            self.said.append(line.rstrip())
            if line.startswith("Open "):
                return
        raise AssertionError(f"ended with {self.end()} before it served: {self.said}")

    def end(self, signum: signal.Signals = signal.SIGKILL) -> int:
        """Sends the signal and waits for the end. Returns the exit code."""
        self._process.send_signal(signum)
        self._process.communicate(timeout=PATIENCE)
        return self._process.returncode


Launch = Callable[[Settings], Program]
"""Starts the workflow's command, for as long as a test lasts at most."""
