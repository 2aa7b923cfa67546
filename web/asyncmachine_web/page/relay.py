"""Tunnels from this page or worker to the relay that served it.

    server.listen(relay.listen("browser1", "orchestrator"))                  # waits to be called there
    client = rpc.Client(relay.dial("browser1", "orchestrator"), schema=Orchestrator)

What a tunnel is and how it stands is in `asyncmachine.rpc.transport.tunnel`. One that gave up asks again when the page
becomes visible or online. What a page tells of it is in `refusals`.

Tunnels are closed when the page goes, so that a reloaded page finds its ids free; should the relay not know of the end
yet, the resume secret that the tab keeps (`tab.mjs`) proves whose the id is.
"""

from __future__ import annotations

import os
from typing import Any, Final

import asyncmachine as am
from asyncmachine.rpc.transport import LOST, Transport, TransportClosed
from asyncmachine.rpc.transport.browser import connect
from asyncmachine.rpc.transport.tunnel import TIMEOUT, Op, Refused, Tunnel, TunnelStates
from asyncmachine.rpc.transport.tunnel_tokens import Tokens
from asyncmachine_web.page.given import need
from asyncmachine_web.page.lifecycle import lifecycle

__all__ = ["Browser", "Refused", "Tunnel", "TunnelStates", "dial", "listen"]


class Browser:
    """The real outside. The relay is where `boot.mjs` came from, or where `AM_RELAY` leads from there."""

    def __init__(self) -> None:
        need("a tunnel", "base", "tab")
        import js
        from asyncmachine_js import base

        self.url: str = js.URL.new(os.environ.get("AM_RELAY", "."), base).href.rstrip("/") + "/"
        self.named = "AM_RELAY"
        self.tokens = Tokens(self.post)

    async def post(self, path: str, body: str) -> tuple[int, str]:
        """Status and text of the answer. Raises TransportClosed when there is none."""
        import js
        from pyodide.ffi import JsException, to_js

        options = {
            "method": "POST",
            "headers": {"content-type": "application/json"},
            "body": body,
            "signal": js.AbortSignal.timeout(TIMEOUT * 1000),
        }
        try:
            response = await js.fetch(self.url + path, to_js(options, dict_converter=js.Object.fromEntries))
            return response.status, await response.text()
        except JsException as error:
            raise TransportClosed(LOST, f"{self.url}{path}: {error.message}") from error

    async def connect(self, path: str, subprotocols: tuple[str, ...]) -> Transport:
        url = "ws" + self.url.removeprefix("http") + path  # https becomes wss
        return await connect(url, subprotocols=subprotocols, timeout=TIMEOUT)

    def secret(self, id: str) -> str:
        from asyncmachine_js import tab

        return tab.secret(id)

    def keep(self, id: str, secret: str) -> None:
        from asyncmachine_js import tab

        if tab.secret(id) != secret:
            tab.keep(id, secret)


_BROWSERS: Final[dict[str, Browser]] = {}
"""One for each relay, so that its tunnels ask for their tokens together."""


def listen(id: str, target: str, *, parent: am.View[Any] | None = None) -> Tunnel:
    """A tunnel that waits to be called by `target`."""
    return _tunnel("listen", id, target, parent)


def dial(id: str, target: str, *, parent: am.View[Any] | None = None) -> Tunnel:
    """A tunnel that calls `target`."""
    return _tunnel("dial", id, target, parent)


def _tunnel(op: Op, id: str, target: str, parent: am.View[Any] | None) -> Tunnel:
    browser = Browser()
    tunnel = Tunnel(op, id, target, _BROWSERS.setdefault(browser.url, browser), parent=parent)
    page = lifecycle()
    bound = page.on_leave(tunnel.leave), page.on_wake(tunnel.retry)

    def forget(_id: str) -> None:
        for binding in bound:
            page.machine.detach(binding)

    tunnel.machine.on_dispose(forget)
    return tunnel
