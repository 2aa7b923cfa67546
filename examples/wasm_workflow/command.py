"""The command of the example: serves the page until Ctrl-C, or with `--headless` runs it once and judges."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from asyncmachine import AmError
from asyncmachine_relay import bind
from examples.wasm_workflow import headless, settings
from examples.wasm_workflow.app import App
from examples.wasm_workflow.settings import Settings
from examples.wasm_workflow.states import Orchestrator

BAD_USE, INTERRUPTED = 2, 130


def main(argv: Sequence[str] = sys.argv[1:], environ: Mapping[str, str] = os.environ) -> int:
    """Returns the exit code: 0 when it went well, 1 when it did not, 2 for settings that cannot be."""
    try:
        return asyncio.run(serve(settings.read(argv, environ)))
    except settings.SettingsError as error:
        return complain(error, BAD_USE)
    except AmError as error:
        return complain(error, 1)


async def serve(chosen: Settings) -> int:
    """Runs the app until it is over or a signal comes."""
    bound = bind(port=chosen.port)
    if bound.notice:
        print(bound.notice)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with App(chosen, bound) as app:
        print(f"seed {chosen.seed}, rate {chosen.success_rate}, {chosen.hash_iterations} iterations a node")
        if chosen.headless:
            return await once(app, stop)
        print(f"Open {app.address}   (Ctrl-C ends it)", flush=True)
        await until(app, stop)
    return 0


async def once(app: App, stop: asyncio.Event) -> int:
    """One headless run."""
    run, stopped = asyncio.create_task(headless.run(app, say)), asyncio.create_task(stop.wait())
    await asyncio.wait({run, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not run.done():
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        return complain("interrupted", INTERRUPTED)
    reason = run.result()
    return complain(reason, 1) if reason else 0


async def until(app: App, stop: asyncio.Event) -> None:
    """Returns at a signal, or when the work is delivered if that was asked for."""
    if app.settings.exit_on_completed:
        app.machine.when(Orchestrator.WorkDelivered).then(stop.set)
    await stop.wait()


def say(text: str) -> None:
    print(text, flush=True)


def complain(reason: object, code: int) -> int:
    print(f"wasm_workflow: {reason}", file=sys.stderr)
    return code
