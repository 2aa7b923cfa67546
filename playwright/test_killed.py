"""A browser that is killed in the middle of a transfer: its tunnel is torn, so nobody takes a part for the whole."""

from __future__ import annotations

import socket
from pathlib import Path

from playwright.sync_api import Playwright

from asyncmachine_relay import Limits, Relay, Target
from tests.web.browser import chromium, kill, serving

MIB = 1 << 20
POUR = """async () => {
    const answer = await fetch("/token", {method: "POST", headers: {"content-type": "application/json"},
        body: JSON.stringify({op: "dial", id: "tab", target: "back"})});
    const {token} = await answer.json();
    const tunnel = new WebSocket(`ws://${location.host}/dial/tab/back`, ["amrpc.v1", `amtok.${token}`]);
    await new Promise((resolve) => { tunnel.onopen = resolve; });
    let at = 0;
    setInterval(() => {
        while (tunnel.bufferedAmount < 1 << 20) {
            const part = new Uint8Array(1 << 15);
            for (let n = 0; n < part.length; n++, at++) part[n] = at * 31 + (at >> 8) * 7;
            tunnel.send(part);
        }
    }, 5);
}"""
"""Byte by byte what `expected` makes."""


def expected(size: int) -> bytes:
    return bytes((at * 31 + (at >> 8) * 7) & 255 for at in range(size))


def test_a_browser_that_is_killed_in_the_middle_tears_the_backend_after_a_prefix(
    playwright: Playwright, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("<!doctype html><link rel=icon href=data:,><p>hello")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = Target("back", "127.0.0.1", listener.getsockname()[1], raw=True)
        relay = Relay(site, targets=[target], limits=Limits(leave=0.1), csp={"/": "pyscript"})
        with serving(relay) as origin, chromium(tmp_path / "profile") as (process, devtools):
            browser = playwright.chromium.connect_over_cdp(devtools)
            page = browser.contexts[0].new_page()
            page.goto(f"{origin}/")
            page.evaluate(POUR)
            backend, _ = listener.accept()
            with backend:
                backend.settimeout(60)
                found = bytearray()
                while len(found) < 4 * MIB:
                    found += backend.recv(1 << 16)
                kill(process)
                torn = False
                try:
                    while part := backend.recv(1 << 16):
                        found += part
                except ConnectionResetError:
                    torn = True
    assert torn
    assert found == expected(len(found))
