"""`python -m app_name`: builds the page and serves it, with the back end, until Ctrl-C; `PORT=8001` is another port."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import asyncmachine as am
from asyncmachine_relay import Bound, RelayServer, bind
from asyncmachine_web.build import Project, build

from .backend import Backend

ROOT = Path(__file__).parents[1]


def listen() -> Bound:
    """On the port that was chosen, or else on 8000, or another one where that is busy."""
    chosen = os.environ.get("PORT", "")
    if not chosen:
        return bind(port=8000)
    if not chosen.isdecimal() or int(chosen) > 65535:
        sys.exit(f"PORT={chosen} is no port: give a number from 0 (any free one) to 65535")
    return bind(port=int(chosen), move=False)


def prepare() -> Bound:
    """A port, and the page as it is now. What is wrong with either is told in a line, without a traceback."""
    try:
        bound = listen()
        if bound.notice:
            print(f"{bound.notice} (an earlier one may still run; PORT=… chooses another)")
        # A reload shows what was edited; `am build` lets people choose.
        build(Project.read(ROOT), ROOT / "dist", at_once=True)
    except am.AmError as error:  # a busy port, a page that cannot be built
        sys.exit(str(error))
    return bound


async def serve(bound: Bound) -> None:
    backend = Backend(ROOT / "dist", origins=[bound.origin, f"http://localhost:{bound.port}"])
    async with RelayServer(backend.relay, bound) as server:
        print(f"Open {server.origin}/   (Ctrl-C ends it)", flush=True)
        await asyncio.Event().wait()


try:
    asyncio.run(serve(prepare()))
except KeyboardInterrupt:
    pass
