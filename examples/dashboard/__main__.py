"""`python -m examples.dashboard`: serves the dashboard until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio

from asyncmachine_relay import bind
from examples.dashboard.app import App
from examples.dashboard.states import Queue, Wanted

FIRST = ("Resize photos", "Index documents", "Send invoices")


async def serve() -> None:
    async with App(bind(port=14070)) as app:
        for title in FIRST:
            app.machine.add(Queue.AddJob, Wanted(title, 20))
        print(f"Open {app.address}   (Ctrl-C ends it)", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    argparse.ArgumentParser("python -m examples.dashboard", description=__doc__).parse_args()
    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        pass
