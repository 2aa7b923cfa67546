"""What browser tests stand on: Chromium's settings, a relay on a thread of its own, and a watch over the pages."""

from __future__ import annotations

import asyncio
import json
import re
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import BrowserContext, Page

from asyncmachine_relay import Relay, RelayServer, bind

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]


@contextmanager
def serving(relay: Relay) -> Iterator[str]:
    """A relay on a thread and a free port of its own; yields its address."""
    address: Future[str] = Future()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        try:
            async with RelayServer(relay, bind()) as server:
                address.set_result(server.origin)
                await stop.wait()
        except BaseException as error:
            if address.done():
                raise
            address.set_exception(error)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="relay")
    thread.start()
    try:
        yield address.result()
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


IMPORTS = """
import asyncio, json
import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.transport import TransportClosed
from asyncmachine_web.page import relay
from asyncmachine_web.page.relay import Refused
from asyncmachine_web.page.workers import Worker, WorkerFailed, Ended
import workload

async def ask(port, message):
    await port.send(message)
    return (await port.recv()).decode()
"""


def run(page: Page, code: str) -> Any:
    """Run Python in the page; the value of its last expression, which must be JSON text or None."""
    result = page.evaluate("code => python.runPythonAsync(code)", textwrap.dedent(code))
    return None if result is None else json.loads(result)


def open_python(page: Page) -> None:
    """Go to a page that does nothing but `run`, and wait until it can. A reload needs `wait_for_python` alone."""
    page.goto("/pages/python.html")
    wait_for_python(page)


def wait_for_python(page: Page) -> None:
    """Wait for a page's Python, and import what tests use."""
    page.wait_for_selector("#python", state="attached")
    run(page, IMPORTS)


class Mishaps:
    """What went wrong in the pages of a test, apart from what the test expects."""

    def __init__(self, base_url: str) -> None:
        self._own = base_url
        self._seen: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        self.foreign: list[str] = []
        """Addresses outside of our server that a page asked for."""

    def expect(self, pattern: str) -> None:
        """A message in which this regular expression is found is no mishap."""
        self._expected.append(re.compile(pattern))

    def watch(self, context: BrowserContext) -> None:
        context.on("request", lambda request: self._request(request.url))
        context.on("weberror", lambda error: self._seen.append(f"unhandled: {error.error}"))
        context.on("console", lambda message: self._console(message.type, message.text))

    def check(self) -> None:
        unexpected = [text for text in self._seen if not any(pattern.search(text) for pattern in self._expected)]
        assert not unexpected, "\n".join(unexpected)
        assert not self.foreign, f"asked for by a page: {self.foreign}"

    def _request(self, url: str) -> None:
        if not url.startswith((self._own + "/", "data:", "blob:")):
            self.foreign.append(url)

    def _console(self, kind: str, text: str) -> None:
        if kind in {"error", "warning", "assert"}:
            self._seen.append(f"console {kind}: {text}")
