"""Firefox ESR, driven by WebDriver BiDi: Playwright knows its own Firefox only, which is none that people have.

Debian's is asked over the WebSocket that it opens itself. A call waits for the answer, events that come meanwhile are
kept; whoever waits for a state of the page waits in the page.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect

PROGRAM = "firefox-esr"
LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
PATIENCE = 60.0
"""Seconds that one answer may take: a page and its workers boot Pythons of their own."""


def installed() -> bool:
    return shutil.which(PROGRAM) is not None


class BidiError(Exception):
    """The browser refused a command, or what was evaluated has thrown."""


class Firefox:
    """One tab of a browser of its own."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last = 0
        self._mishaps: list[str] = []
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])
        (tab,) = self.call("browsingContext.getTree")["contexts"]
        self._tab = tab["context"]

    def call(self, method: str, **params: Any) -> Any:
        """The result of a command. Raises `BidiError`, and `TimeoutError` after `PATIENCE`."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(PATIENCE))
            if answer["type"] == "event":
                entry = answer["params"]
                if entry["level"] in {"warn", "error"}:
                    self._mishaps.append(f"{entry['level']}: {entry['text']}")
            elif answer["id"] == self._last:
                if answer["type"] == "error":
                    raise BidiError(f"{method}: {answer['message']}")
                return answer["result"]

    def goto(self, address: str) -> None:
        """Returns when the page and its scripts are loaded."""
        self.call("browsingContext.navigate", context=self._tab, url=address, wait="complete")

    def reload(self) -> None:
        self.call("browsingContext.reload", context=self._tab, wait="complete")

    def evaluate(self, function: str, *arguments: str) -> Any:
        """What a JavaScript function returns or resolves to, which must be JSON."""
        answer = self.call(
            "script.callFunction",
            functionDeclaration=f"async (...all) => JSON.stringify(await ({function})(...all)) ?? 'null'",
            arguments=[{"type": "string", "value": each} for each in arguments],
            target={"context": self._tab},
            awaitPromise=True,
        )
        if answer["type"] == "exception":
            raise BidiError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def until(self, expression: str) -> None:
        """Waits until this is true in the page."""
        look = f"const look = () => (({expression}) ? done() : setTimeout(look, 20)); look();"
        self.evaluate(f"() => new Promise((done) => {{ {look} }})")

    def run(self, code: str) -> Any:
        """Runs Python in the page; the value of its last expression, which must be JSON text or None."""
        result = self.evaluate("(code) => python.runPythonAsync(code)", textwrap.dedent(code))
        return None if result is None else json.loads(result)

    def check(self, expected: str = "") -> None:
        """Raises AssertionError when something was written to the console or left unhandled, but for what matches."""
        mishaps = [each for each in self._mishaps if not (expected and re.search(expected, each))]
        assert not mishaps, "\n".join(mishaps)
        self._mishaps.clear()


@contextmanager
def firefox() -> Iterator[Firefox]:
    """A browser with a new profile, all its processes in one group."""
    with tempfile.TemporaryDirectory(prefix="firefox") as profile:
        command = [PROGRAM, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port=0"]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stderr is not None
        try:
            found = next(filter(None, map(LISTENING.search, process.stderr)), None)
            assert found, "Firefox ended at once"
            with connect(f"{found[1]}/session", max_size=None, proxy=None) as socket:
                yield Firefox(socket)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stderr.close()
