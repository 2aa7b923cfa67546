"""A project as `am new app` makes it, and its one command."""

from __future__ import annotations

import os
import re
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from playwright.sync_api import Page, expect

NAME = "guest_app"


class Running:
    """The project's one command, on any free port unless told otherwise; None is the port it chooses itself.

    Or another `module` of it that serves.
    """

    def __init__(self, project: Path, port: int | None = 0, module: str = NAME) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module], cwd=project, env=chosen(port), stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.said = ""
        while not (found := re.search(r"http\S+", self.said)):
            line = self.process.stdout.readline()
            assert line, self.said
            self.said += line
        self.address = found[0]
        self.port = int(self.address.rstrip("/").rpartition(":")[2])

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def chosen(port: object) -> dict[str, str]:
    """The environment of its command."""
    return {**os.environ, "PORT": "" if port is None else str(port), "PYTHONDONTWRITEBYTECODE": "1"}


PATIENCE = 30
"""Seconds for a command that is to end; one that serves would never."""


def refusing(project: Path, port: object = 0) -> str:
    """What it says, without a traceback, when it does not start."""
    command, environment = [sys.executable, "-m", NAME], chosen(port)
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr.rstrip("\n")


@contextmanager
def proxy(port: int, prefix: str) -> Iterator[int]:
    """What stands before a server at a port: cuts the prefix off, and says for whom it speaks. Its own port.

    One request a connection.
    """

    class Front(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            request: socket.socket = self.request
            head, _, rest = _read_head(request).partition(b"\r\n")
            rest = re.sub(rb"(?i)connection: keep-alive", b"Connection: close", rest)
            with socket.create_connection(("127.0.0.1", port)) as inner:
                inner.sendall(head.replace(prefix.encode(), b"/", 1) + b"\r\nX-Forwarded-For: 203.0.113.7\r\n" + rest)
                back = threading.Thread(target=_copy, args=(inner, request))
                back.start()
                _copy(request, inner)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Front) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


def _read_head(source: socket.socket) -> bytes:
    read = b""
    while b"\r\n\r\n" not in read and (data := source.recv(1 << 16)):
        read += data
    return read


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def opened(page: Page, address: str) -> Page:
    """The page, whose Python runs."""
    page.goto(address)
    expect(page.locator("[data-boot=phase]")).to_be_hidden()
    return page
