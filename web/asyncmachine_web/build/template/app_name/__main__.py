"""`python -m app_name`: builds the page and serves it, with the back end, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from asyncmachine_relay import RelayServer, bind
from asyncmachine_web.build import Project, build

from .backend import Backend

ROOT = Path(__file__).parents[1]


async def serve() -> None:
    build(
        Project.read(ROOT), ROOT / "dist", at_once=True
    )  # a reload shows what was edited; `am build` lets people choose
    backend = Backend(ROOT / "dist")
    bound = bind(port=int(os.environ.get("PORT", "8000")))
    async with RelayServer(backend.relay, bound) as server:
        if bound.notice:
            print(bound.notice)
        print(f"Open {server.origin}/   (Ctrl-C ends it)", flush=True)
        await asyncio.Event().wait()


try:
    asyncio.run(serve())
except KeyboardInterrupt:
    pass
