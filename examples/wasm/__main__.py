"""`python -m examples.wasm`: serves the chat until Ctrl-C, and prints what is said."""

from __future__ import annotations

import argparse
import asyncio

from asyncmachine_relay import bind
from examples.wasm.app import App


async def serve() -> None:
    async with App(bind(port=12733), lambda author, text: print(f"[{author}] {text}", flush=True)) as app:
        print(f"Open {app.address} in several tabs   (Ctrl-C ends it)", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    argparse.ArgumentParser("python -m examples.wasm", description=__doc__).parse_args()
    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        pass
