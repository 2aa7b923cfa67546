"""What a page tells of a tunnel that is refused, and of a client whose server refuses it."""

from __future__ import annotations

import asyncio

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ClientStates
from asyncmachine.rpc.transport.tunnel import Tunnel
from asyncmachine_web.page.refusals import refusal, words
from asyncmachine_web.page.ui import Page
from tests.rpc.test_tunnel import FakeRelay
from tests.web.surface import FakeDocument


class Shop(rpc.StateSource):
    Open = am.state()


def shown(document: FakeDocument) -> tuple[str, bool]:
    """Text and visibility of the notice."""
    document.draw()
    found = {document.defined[number][1]: value for number, value in document.shown.items()}
    text = found["text"]
    return text["html"] if text else "", found["visible"]


def notice(tunnel: Tunnel, *more: rpc.Client) -> FakeDocument:
    document = FakeDocument(refused=1)
    told = refusal(tunnel, *more)
    Page(surface=document.open).bind("#refused", tunnel.machine, text=told, visible=told)
    return document


async def test_what_will_not_pass_is_told_when_the_tunnel_gives_up_and_no_more_once_it_is_let_in() -> None:
    relay = FakeRelay()
    tunnel = Tunnel("dial", "a", "b", relay)
    document = notice(tunnel)
    for _ in range(3):
        assert shown(document) == ("", False)
        await relay.refuse(tunnel, 4401, "AUTH: log in first")
    told = words("AUTH", "log in first", again=False)
    assert shown(document) == (told, True)
    assert "you have to log in first" in told
    assert "not tried again by itself" in told
    tunnel.retry()
    transport = await tunnel()
    await relay.ends[-1].send(b"hello")
    await transport.recv()
    assert shown(document) == ("", False)


async def test_what_may_pass_is_told_to_be_tried_again() -> None:
    relay = FakeRelay()
    tunnel = Tunnel("dial", "a", "b", relay)
    document = notice(tunnel)
    for _ in range(3):
        assert shown(document) == ("", False)
        await relay.refuse(tunnel, 4409, "DUPLICATE: this id is taken")
    told, visible = shown(document)
    assert visible
    assert told.startswith("No connection: this is open elsewhere, perhaps in another tab. This is tried again every")
    assert told.endswith("(DUPLICATE: this id is taken)")


async def test_a_refusal_behind_the_tunnel_is_told_too() -> None:
    relay = FakeRelay()
    tunnel = Tunnel("dial", "a", "b", relay)
    shop = am.Machine(Shop)
    server = rpc.Server(shop, allow=lambda *_: None)
    client = rpc.Client(tunnel, Shop)
    document = notice(tunnel, client)
    client.start()
    while not relay.ends:
        await asyncio.sleep(0)
    assert shown(document) == ("", False)
    await server.serve(relay.ends[-1])
    await client.machine.when(ClientStates.ConnRetryFailed)
    told, _ = shown(document)
    assert told.startswith("No connection: you may not connect here. This is not tried again")
    await client.stop()
    for machine in (client.machine, server.machine, shop):
        machine.dispose()


NAMES = ["AUTH", "FORBIDDEN", "TARGET", "DUPLICATE", "LIMIT", "NO_RELAY", "VERSION", "SOMETHING"]


@pytest.mark.parametrize("name", NAMES)
def test_every_refusal_is_told_with_what_becomes_of_it_and_what_the_server_said(name: str) -> None:
    assert words(name, "the hint", again=True).endswith(f"every few seconds. ({name}: the hint)")
    assert words(name, "the hint", again=False).endswith(f"once it can work. ({name}: the hint)")
    assert ['href=""' in words(name, "", again=again) for again in (True, False)] == [False, True]


def test_what_a_server_says_of_its_refusal_is_text() -> None:
    assert words("AUTH", '<img src="x">', again=False).endswith("(AUTH: &lt;img src=&quot;x&quot;&gt;)")
