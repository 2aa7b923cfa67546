"""What browser tests stand on: Chromium's settings, a relay on a thread of its own, and a watch over the pages."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Route, WebError, WebSocket

from asyncmachine_relay import Relay, RelayServer, bind
from asyncmachine_web.build import static_folder
from examples.wasm_workflow.chromium import SWITCHES

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    *SWITCHES,
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]
"""Of benches, which time what people have."""

ONE_TIER = "--js-flags=--no-wasm-tier-up --no-wasm-dynamic-tiering"
"""Chromium compiles what runs often a second time, meanwhile: nearly half of the processor time of a page that lives a
few seconds, as those of tests do.
"""

TEST_FLAGS = [*FLAGS, ONE_TIER]


def vendor_folder() -> Path:
    """What `make setup` vendored, to be served as `/vendor/`.

    In a copy of the tree it is a link, which no relay follows out of the static files.
    """
    return static_folder() / "vendor"


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


@contextmanager
def chromium(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A browser of our own, with all its processes in one group; and where it is driven from."""
    command = [
        CHROMIUM,
        *TEST_FLAGS,
        "--headless",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "about:blank",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("DevTools listening on "):
                yield process, line.split()[-1]
                return
        raise AssertionError("Chromium ended at once")
    finally:
        kill(process)
        assert process.stderr is not None
        process.stderr.close()


def kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


IMPORTS = """
import asyncio, json
import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.transport import TransportClosed
from asyncmachine_web.page import relay
from asyncmachine.rpc.transport.tunnel import Refused
from asyncmachine_web.page.workers import Worker, WorkerFailed, Ended
import workload

async def ask(port, message):
    await port.send(message)
    return (await port.recv()).decode()

async def refusal(tunnel):
    try:
        return (await (await tunnel()).recv()).decode()
    except Refused as refused:
        return str(refused)
"""


def run(page: Page, code: str) -> Any:
    """Run Python in the page; the value of its last expression, which must be JSON text or None."""
    result = page.evaluate("code => python.runPythonAsync(code)", textwrap.dedent(code))
    return None if result is None else json.loads(result)


def open_python(page: Page, origin: str = "") -> None:
    """Go to a page that does nothing but `run`, and wait until it can. A reload needs `wait_for_python` alone."""
    page.goto(f"{origin}/pages/python.html")
    wait_for_python(page)


def wait_for_python(page: Page) -> None:
    """Wait for a page's Python, and import what tests use."""
    page.wait_for_selector("#python", state="attached")
    for name, text in edited().items():
        page.evaluate("code => python.runPython(code)", EDITED.format(name=name, text=text))
    run(page, IMPORTS)


@cache
def edited() -> dict[str, str]:
    """Our modules for pages that are not as in the page's wheel, by name.

    Mutants are: their copy of the tree has no wheel of its own.
    """
    (wheel,) = (vendor_folder() / "wheels").glob("asyncmachine-*.whl")
    root = static_folder().parent
    with ZipFile(wheel) as archive:
        kept = {name: archive.read(name) for name in archive.namelist() if name.startswith("asyncmachine_web/page/")}
    return {
        name.removesuffix(".py").replace("/", "."): (root / name).read_text()
        for name, data in kept.items()
        if name.endswith(".py") and (root / name).is_file() and (root / name).read_bytes() != data
    }


EDITED = """
import asyncio, importlib
module = importlib.import_module({name!r})
exec(compile({text!r}, module.__file__, "exec"), module.__dict__)
if module.__name__.endswith(".loop"):
    asyncio.get_running_loop().__class__ = module.BatchLoop
"""
"""Runs a module again where it is. What runs already keeps its classes, but for the loop."""


def without_isolation(route: Route) -> None:
    """A handler of a route: the page gets no memory that it shares with its workers."""
    response = route.fetch()
    headers = {name: value for name, value in response.headers.items() if not name.startswith("cross-origin-")}
    route.fulfill(response=response, headers=headers)


INTERRUPT = """
    const living = new Set();
    window.unanswered = () => [...living].reduce((sum, worker) => sum + worker.unanswered, 0);
    window.Worker = class extends Worker {
        unanswered = 0;
        constructor(...all) {
            super(...all);
            living.add(this);
            this.addEventListener("message", ({ data }) => { this.unanswered -= data.type === "PONG"; });
        }
        postMessage(message, ...rest) {
            window.interrupt ??= message.interrupt;
            this.unanswered += message.type === "PING";
            super.postMessage(message, ...rest);
        }
        terminate() {
            super.terminate();
            living.delete(this);
        }
    };
"""
"""Keeps what the first worker is interrupted by, and counts what living workers have not answered."""

WATCH = """
    window.told = [];
    for (const name of ["pagehide", "pageshow"]) {
        addEventListener(name, (event) => told.push([name, event.persisted]));
    }
"""
"""Keeps what the page was told of the back/forward cache."""

CACHED = [["pageshow", False], ["pagehide", True], ["pageshow", True]]
"""What it was told when it was in the cache once, and came back from there."""

NOT_RESTORED = "Chromium did not keep it"
"""Said where none of the reasons is the page's."""


def wait_until_kept(page: Page) -> None:
    """Until the page's service worker has done all that it does at first: to claim a page in the cache evicts it."""
    page.evaluate("""async () => {
        const { active } = await navigator.serviceWorker.ready;
        const claimed = () => active.state === "activated" && navigator.serviceWorker.controller;
        while (!claimed()) await new Promise(requestAnimationFrame);
    }""")


def away_and_back(page: Page, address: str) -> None:
    """Leaves a page that was told to `WATCH`, and comes back to it by the browser's cache. Raises for why not."""
    page.goto(address)
    come_back(page)


def come_back(page: Page) -> None:
    """Goes back to such a page. Raises if it does not come from the cache, with reasons that no page is told."""
    session = page.context.new_cdp_session(page)
    reasons: list[str] = []

    def not_used(told: Any) -> None:
        reasons.extend(f"{each['type']}: {each['reason']}" for each in told["notRestoredExplanations"])

    session.on("Page.backForwardCacheNotUsed", not_used)
    session.send("Page.enable")
    page.go_back(wait_until="commit")
    told = page.evaluate("window.told")
    session.detach()
    is_the_pages = any(not each.startswith("Circumstantial: ") for each in reasons)
    assert told == CACHED, f"{told}, {'the page kept itself out' if is_the_pages else NOT_RESTORED}: {reasons}"


KEEP_SOCKETS = """
    globalThis.sockets = [];
    globalThis.WebSocket = class extends WebSocket {
        constructor(...given) { super(...given); sockets.push(this); }
    };
"""
"""The page's own sockets, in the order they were made."""

ON_HOLD = """
    const ask = window.fetch;
    let held = Promise.resolve();
    window.hold = () => void (held = new Promise((release) => { window.release = release; }));
    window.fetch = (...given) => held.then(() => ask(...given));
"""
"""From `hold()` to `release()` the page asks for nothing, a token among it: what shows only for a moment stays."""

UNANSWERED = "Failed to load resource: net::ERR_CONNECTION_REFUSED"
"""What Chromium itself writes to the console for a request to a server that is not there."""

STOPPING = "Failed to load resource: the server responded with a status of 503 (Service Unavailable)"
"""The same for a server that is stopping."""


class Mishaps:
    """What went wrong in the pages of a test and in their workers, apart from what the test expects."""

    def __init__(self, base_url: str) -> None:
        self._own = base_url
        self.seen: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        self._server_is_away = False
        self.requests: list[str] = []
        """Addresses that were asked for, those of WebSockets among them."""

    def expect(self, pattern: str) -> None:
        """A message in which this regular expression is found is no mishap."""
        self._expected.append(re.compile(pattern))

    @contextmanager
    def server_away(self) -> Iterator[None]:
        """While our server goes, is away and comes, Chromium's own word of requests that it did not take is no mishap.

        To be left when the page has its connection again.
        """
        self._server_is_away = True
        try:
            yield
        finally:
            self._server_is_away = False

    def watch(self, context: BrowserContext) -> None:
        context.on("request", self._request)
        context.on("page", self._page)
        context.on("weberror", self._error)
        context.on("console", self._console)
        for page in context.pages:
            self._page(page)

    def unwatch(self, context: BrowserContext) -> None:
        """For a context that other tests go on with."""
        context.remove_listener("request", self._request)
        context.remove_listener("page", self._page)
        context.remove_listener("weberror", self._error)
        context.remove_listener("console", self._console)
        for page in context.pages:
            page.remove_listener("websocket", self._request)

    def check(self) -> None:
        unexpected = [text for text in self.seen if not any(pattern.search(text) for pattern in self._expected)]
        assert not unexpected, "\n".join(unexpected)
        assert not self.foreign, f"asked for by a page: {self.foreign}"

    @property
    def foreign(self) -> list[str]:
        """Those of the requests that went to another host."""
        own = (f"{self._own}/", f"ws{self._own.removeprefix('http')}/", "data:", "blob:")
        return [url for url in self.requests if not url.startswith(own)]

    @property
    def elsewhere(self) -> list[str]:
        """Those, and what a page wanted of another host and its content policy refused."""
        return [*self.foreign, *(text for text in self.seen if "Content Security Policy" in text)]

    def wait_until_told(self, page: Page, words: str) -> None:
        """Until the page or what went wrong has this regular expression; what it asked for until then is known too."""
        told = re.compile(words, re.DOTALL)
        while not told.search("\n".join([*self.seen, page.evaluate("document.body.innerText")])):
            page.wait_for_timeout(20)
        page.evaluate("new Promise(requestIdleCallback)")
        page.evaluate("fetch('').then(() => null)")  # told of after all that was asked for before it

    def _page(self, page: Page) -> None:
        page.on("websocket", self._request)

    def _request(self, asked: Request | WebSocket) -> None:
        self.requests.append(asked.url)

    def _error(self, error: WebError) -> None:
        self.seen.append(f"unhandled: {error.error}")

    def _console(self, message: ConsoleMessage) -> None:
        unanswered = message.text in (UNANSWERED, STOPPING) and message.location["url"].startswith(f"{self._own}/")
        if message.type in {"error", "warning", "assert"} and not (unanswered and self._server_is_away):
            self.seen.append(f"console {message.type}: {message.text}")
