"""Chromium driven by its own protocol. Playwright shows all its pages for good: none of them can be frozen."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.web.browser import chromium

PATIENCE = 60.0
"""Seconds for one answer."""


class Tab:
    """One page."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self._session = ""
        self.console: list[str] = []
        """Warnings and errors."""

    def open(self, address: str) -> None:
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send("Runtime.enable")
        self.send("Page.enable")
        self.send("Page.navigate", url=address)

    def send(self, method: str, **params: Any) -> Any:
        """What it is answered with. Raises RuntimeError."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": params}
        self._socket.send(json.dumps({**asked, "sessionId": self._session} if self._session else asked))
        while True:
            got = json.loads(self._socket.recv(PATIENCE))
            if got.get("id") == self._number:
                if "error" in got:
                    raise RuntimeError(f"{method}: {got['error']['message']}")
                return got["result"]
            self._told(got)

    def evaluate(self, expression: str) -> Any:
        """The value, of a promise too. Raises RuntimeError for what is thrown."""
        done = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            raise RuntimeError(done["exceptionDetails"]["exception"].get("description"))
        return done["result"].get("value")

    def wait_until(self, expression: str) -> None:
        """Asks whenever the page has run a task, and has it look itself."""
        look = f"const look = () => ({expression}) ? done() : setTimeout(look, 20); look();"
        self.evaluate(f"new Promise((done) => {{ {look} }})")

    def run(self, code: str) -> Any:
        """As `run` of `tests.web.browser`."""
        told = self.evaluate(f"python.runPythonAsync({json.dumps(textwrap.dedent(code))})")
        return None if told is None else json.loads(told)

    def hide(self) -> None:
        """Opens another page before it."""
        front = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.send("Target.activateTarget", targetId=front)

    def freeze(self) -> None:
        """Hides it, and stops all that it does."""
        self.send("Page.setWebLifecycleState", state="frozen")

    def thaw(self) -> None:
        """It goes on, and is still hidden."""
        self.send("Page.setWebLifecycleState", state="active")

    def show(self) -> None:
        self.send("Emulation.setFocusEmulationEnabled", enabled=True)

    def why_not_installed(self) -> list[str]:
        """What keeps the browser from offering to install the page as an application."""
        manifest = self.send("Page.getAppManifest")
        icons = json.loads(manifest.get("data") or "{}").get("icons", [])
        purposes = sorted(icon.get("purpose", "any") for icon in icons)
        return [
            *(error["message"] for error in manifest["errors"]),
            *(error["errorId"] for error in self.send("Page.getInstallabilityErrors")["installabilityErrors"]),
            *([] if purposes == ["any", "maskable"] else [f"icons for {purposes}"]),
        ]

    def _told(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Runtime.consoleAPICalled" and event["params"]["type"] in {"error", "warning"}:
            self.console.append(str(event["params"]["args"]))
        if event.get("method") == "Runtime.exceptionThrown":
            self.console.append(str(event["params"]["exceptionDetails"]))


@contextmanager
def tab(folder: Path) -> Iterator[Tab]:
    """The only page of a browser of its own, which keeps what it has in a folder."""
    with chromium(folder) as (_, address), connect(address, max_size=None, proxy=None) as socket:
        yield Tab(socket)
