"""`python -m examples.pyscript`: serves the four pages until Ctrl-C."""

from __future__ import annotations

import asyncio
from pathlib import Path

from asyncmachine_relay import Relay, RelayServer, bind
from asyncmachine_web.build import static_folder

PAGE = Path(__file__).parent / "page"


def relay() -> Relay:
    """Serves the pages below `/pyscript/`, each with the content policy it needs."""
    scripted = dict.fromkeys(("/pyscript/main.html", "/pyscript/worker.html"), "pyscript")
    return Relay([("/pyscript/", PAGE), static_folder()], csp=scripted)


async def serve() -> None:
    async with RelayServer(relay(), bind(port=14060)) as server:
        for page in sorted(PAGE.glob("*.html")):
            print(f"{server.origin}/pyscript/{page.name}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        pass
