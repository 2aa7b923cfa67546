"""Who breaks a rule in mid-work is refused with a reason that a page can read, and the run goes on."""

from __future__ import annotations

import time
from contextlib import closing
from http.client import HTTPConnection

import pytest
from playwright.sync_api import Browser

from examples.wasm_workflow.states import Orchestrator
from tests.wasm_workflow.native import ENDLESS, PATIENCE, Serve
from tests.wasm_workflow.tab import Tab
from tests.web.browser import KEEP_SOCKETS

SEND = """
async ([path, frame]) => {
    const open = (socket) => new URL(socket.url).pathname.startsWith(path) && socket.readyState === WebSocket.OPEN;
    while (!sockets.some(open)) await new Promise(requestAnimationFrame);
    const socket = sockets.findLast(open);
    const closed = new Promise((done) => socket.addEventListener("close", done));
    const frames = { text: "text", oversized: new Uint8Array(2 ** 20 + 1), malformed: new Uint8Array([193, 255]) };
    socket.send(frames[frame]);
    const { code, reason } = await closed;
    return `${code} ${reason}`;
}
"""
"""Sends something wrong over the page's tunnel, once it is open; returns how it was closed."""

ASK = """
async (wish) => {
    const headers = { "content-type": "application/json" };
    const answer = await fetch("/token", { method: "POST", headers, body: JSON.stringify(wish) });
    return (await answer.json()).token;
}
"""
"""Asks for a token."""

OPEN = """
async (tokens) => {
    const protocols = ["amrpc.v1", ...tokens.map((token) => `amtok.${token}`)];
    const socket = new WebSocket("/listen/browser1/orchestrator", protocols);
    const { code, reason } = await new Promise((done) => socket.addEventListener("close", done));
    return `${code} ${reason}`;
}
"""
"""Opens a tunnel with what will not be let in; returns how it was closed."""

WISH = {"op": "listen", "id": "browser1", "target": "orchestrator"}
PATH = "/listen/browser1/orchestrator"


def test_a_wrong_frame_ends_its_tunnel_and_the_page_opens_it_again(serve: Serve, tab: Tab, address: str) -> None:
    """That of the mirror is no part of the run; with that of the node its attempt is lost, and it starts over."""
    flow = serve(ENDLESS)
    tab.page.add_init_script(KEEP_SOCKETS)

    def sent(path: str) -> dict[str, str]:
        return {frame: tab.page.evaluate(SEND, [path, frame]) for frame in ("text", "oversized", "malformed")}

    with flow.unfinished():
        tab.open(address)
        flow.reach(Orchestrator.RoundOpen)
        of_mirror = sent("/dial/browser1/")
        tab.expect_link("live")
        assert flow.machine.tick(Orchestrator.Browser1Conn) == 1
        of_node = sent("/listen/browser1/")
    for told in (of_mirror, of_node):
        assert told["text"] == "1003 TEXT: text frames are not taken; send binary ones"
        assert told["oversized"] == "1009 TOO_LARGE: a frame has at most 1048576 bytes; send chunks"
        assert told["malformed"].startswith("4400 BAD_FRAME: not a message: ")
    flow.deliver()
    tab.expect_delivery()
    assert flow.machine.tick(Orchestrator.Browser1Conn) > 1


def test_a_tunnel_needs_a_token_that_is_fresh_and_was_never_used(
    serve: Serve, tab: Tab, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = serve(ENDLESS)
    relay = flow.app.relay

    def ask() -> str:
        return str(tab.page.evaluate(ASK, WISH))

    def opened(*tokens: str) -> str:
        return str(tab.page.evaluate(OPEN, list(tokens)))

    with flow.unfinished():
        tab.open(address)
        flow.reach(Orchestrator.RoundOpen)
        assert opened().startswith("4401 AUTH: offer the subprotocols amrpc.v1 and amtok.")
        assert opened("forged") == "4401 AUTH: the token is malformed; fetch a fresh one from /token"
        used = ask()
        assert opened(used) == "4409 DUPLICATE: this id is taken; close its other tab, or use another id"
        assert opened(used) == "4401 AUTH: the token was used; fetch a fresh one from /token"
        old = ask()
        with monkeypatch.context() as later:
            later.setattr(relay._admission._tokens, "_clock", lambda: time.time() + relay.limits.token)
            assert opened(old) == "4401 AUTH: the token has expired; fetch a fresh one from /token"
    flow.deliver()
    tab.expect_delivery()
    assert flow.machine.tick(Orchestrator.Browser1Conn) == 1, "nobody took browser1's place"


def test_foreign_pages_and_hosts_are_turned_away_before_anything_is_accepted(
    serve: Serve, tab: Tab, address: str, port: int, browser: Browser
) -> None:
    flow = serve(ENDLESS)
    host, foreign = f"127.0.0.1:{port}", f"http://localhost:{port}"
    with flow.unfinished():
        tab.open(address)
        flow.reach(Orchestrator.RoundOpen)
        assert status("GET", "/", port, {"Host": "foreign.invalid"}) == 403
        for headers in (
            {"Host": host, "Origin": foreign},
            {"Host": host, "Origin": "null"},
            {"Host": "foreign.invalid"},
        ):
            assert status("POST", "/token", port, headers) == 403, headers
            assert status("GET", PATH, port, headers | UPGRADE) == 403, headers
        stranger = browser.new_context().new_page()
        answer = stranger.goto(foreign)
        assert answer is not None
        assert answer.status == 403
        stranger.goto("about:blank")
        open_from_afar = OPEN.replace('"/listen', f'"ws://{host}/listen')
        assert stranger.evaluate(open_from_afar, ["any"]) == "1006 ", "there is nothing to learn for it"
        stranger.context.close()
    flow.deliver()
    tab.expect_delivery()


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "amrpc.v1",
}


def status(method: str, path: str, port: int, headers: dict[str, str]) -> int:
    """How the relay answers."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.putrequest(method, path, skip_host=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
