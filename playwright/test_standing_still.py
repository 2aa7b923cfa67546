"""A tab whose script stands still keeps its tunnels: the browser answers pings for it, and loses no message.

It is stopped as a debugger stops it. What Playwright drives freezes no page, and shows all of them: asked to do
otherwise, it says yes and goes on. Chromium by its own protocol freezes one in `test_frozen.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from asyncmachine_relay import Limits, Match, Relay, Tunnel
from tests.web.browser import Mishaps, serving

PINGS = Limits(ping=0.2, pong=1.0, idle=3600, hello=60)
"""Many pings fit into the seconds that a test has."""

OPEN = """async () => {
    const answer = await fetch("/token", {method: "POST", headers: {"content-type": "application/json"},
        body: JSON.stringify({op: "dial", id: "tab", target: "clock"})});
    const {token} = await answer.json();
    window.got = []; window.ended = null; window.pause = 0; window.last = performance.now();
    const look = () => { pause = Math.max(pause, performance.now() - last); last = performance.now(); };
    setInterval(look, 50);
    window.tunnel = new WebSocket(`ws://${location.host}/dial/tab/clock`, ["amrpc.v1", `amtok.${token}`]);
    tunnel.binaryType = "arraybuffer";
    tunnel.onmessage = (e) => got.push(new Uint8Array(e.data)[0]);
    tunnel.onclose = (e) => { window.ended = e.code; };
    await new Promise((resolve) => { tunnel.onopen = resolve; });
    tunnel.send(new Uint8Array([0]));
}"""


async def clock(tunnel: Tunnel) -> None:
    """Sends a number five times a second, as long as the page is there."""
    await tunnel.transport.recv()
    number = 0
    while True:
        number = (number + 1) % 256
        await tunnel.transport.send(bytes([number]))
        await asyncio.sleep(0.2)


@pytest.fixture
def limits() -> Limits:
    return PINGS


@pytest.fixture
def address(tmp_path: Path, limits: Limits) -> Iterator[str]:
    (tmp_path / "index.html").write_text("<!doctype html><link rel=icon href=data:,><p>hello")
    with serving(Relay(tmp_path, dial=[Match("tab", "clock", clock)], limits=limits, csp={"/": "pyscript"})) as origin:
        yield f"{origin}/"


@pytest.fixture
def mishaps(address: str) -> Mishaps:
    """This relay is the only host."""
    return Mishaps(address.rstrip("/"))


def test_a_tab_that_stands_still_keeps_its_tunnel(page: Page, address: str) -> None:
    """Four seconds are twenty pings, and four times what a pong may take."""
    stands_still(page, address, 4)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("limits", [Limits(hello=60)], ids=["defaults"])
def test_a_tab_that_stands_still_for_minutes_keeps_its_tunnel(page: Page, address: str) -> None:
    """With the relay's own limits: a ping every 20 s."""
    stands_still(page, address, min(600.0, 60 * float(os.environ.get("AM_NIGHTLY_MINUTES", "3"))))


def stands_still(page: Page, address: str, seconds: float) -> None:
    """No script of the tab runs for so long; then all that was sent meanwhile is there, in order."""
    page.goto(address)
    page.evaluate(OPEN)
    page.wait_for_function("got.length >= 3")
    before: int = page.evaluate("got.length")
    session = page.context.new_cdp_session(page)
    session.send("Debugger.enable")
    session.send("Debugger.pause")
    page.wait_for_timeout(seconds * 1000)
    session.send("Debugger.resume")
    # Of five a second, half at least: the computer may be busy.
    page.wait_for_function("least => got.length >= least", arg=before + int(2.5 * seconds))
    assert page.evaluate("ended") is None
    assert page.evaluate("pause") > 900 * seconds, "it did stand still"
    found = page.evaluate("got")
    assert found == [number % 256 for number in range(1, len(found) + 1)]
