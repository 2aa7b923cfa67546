"""The run without anybody watching: opens the page itself, prints the story, the digests and the times, and judges."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import asyncmachine as am
from examples.wasm_workflow import chromium, dag
from examples.wasm_workflow.app import App
from examples.wasm_workflow.states import Orchestrator, of

BOOT_LIMIT = 180.0
"""Seconds until all workers have to be there: four Pythons boot, perhaps on a slow machine and for the first time."""

RUN_LIMIT = 1800.0
"""Seconds for everything after that. Restarts and time-outs are bounded, so this ends only a run that is stuck."""

PHASES = (
    ("page connected", Orchestrator.Browser1Conn),
    ("dispatcher connected", Orchestrator.Browser2Conn),
    ("all four workers ready", Orchestrator.WorkersReady),
    ("work delivered", Orchestrator.WorkDelivered),
)

Say = Callable[[str], object]


async def run(app: App, say: Say) -> str:
    """Follows one run to its end. Returns the reason why it failed, empty if it did not. Raises `NoChromium`."""
    clock = Clock()
    app.listener = lambda event: say(event.tell())
    async with chromium.opened(app.address) as browser, asyncio.TaskGroup() as tasks:
        phases = [tasks.create_task(clock.note(name, app.machine.when(state))) for name, state in PHASES]
        reason = await judge(app.machine, browser)
        app.listener = None  # what follows is the end of the browser
        for phase in phases:
            phase.cancel()
    say("")
    for node in dag.FINAL:
        say(f"{node} {digest(app, node)}")
    say("")
    for name, seconds in clock.times.items():
        say(f"{seconds:8.2f} s  {name}")
    if reason and browser.console:
        say("\nThe page's console said:")
        for line in browser.console:
            say(f"  {line}")
    return reason


class Clock:
    """Seconds since its making at which something happened."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.times: dict[str, float] = {}

    async def note(self, name: str, wait: am.Wait) -> None:
        """Notes the time when the wait is met."""
        await wait
        self.times[name] = time.monotonic() - self.start


async def judge(machine: am.Machine[Orchestrator], browser: chromium.Chromium) -> str:
    """Waits for the end. Returns the reason for a bad one."""
    gone = asyncio.create_task(browser.process.wait())
    ready, over = asyncio.create_task(_ready(machine)), asyncio.create_task(_over(machine))
    try:
        await asyncio.wait({ready, over, gone}, timeout=BOOT_LIMIT, return_when=asyncio.FIRST_COMPLETED)
        if not (ready.done() or gone.done()):
            return f"not ready within {BOOT_LIMIT:g} s: {', '.join(missing(machine))}"
        await asyncio.wait({over, gone}, timeout=RUN_LIMIT, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            return f"Chromium ended with code {gone.result()}"
        return over.result() if over.done() else f"no result within {RUN_LIMIT:g} s"
    finally:
        for task in (gone, ready, over):
            task.cancel()
        await asyncio.gather(gone, ready, over, return_exceptions=True)


def missing(machine: am.Machine[Orchestrator]) -> list[str]:
    """The workers that are not ready."""
    return [node for node in dag.NODES if of(node, "Ready") not in machine]


def digest(app: App, node: str) -> str:
    """A node's result in hex, and whether it is what it should be."""
    result = app.handlers.run.results.get(node)
    if result is None:
        return "no result"
    return f"{result.hex()} {'as expected' if result == dag.EXPECTED[node] else 'NOT as expected'}"


async def _ready(machine: am.Machine[Orchestrator]) -> None:
    await machine.when(Orchestrator.WorkersReady)


async def _over(machine: am.Machine[Orchestrator]) -> str:
    await am.wait_any(machine.when(Orchestrator.WorkDelivered), machine.when_err())
    return "" if Orchestrator.WorkDelivered in machine else f"the workflow failed: {machine.err}"
