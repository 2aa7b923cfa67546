"""The chat in real Chromium: several tabs, both directions, cuts, keys, and an audit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect

from asyncmachine_relay import bind
from examples.wasm.app import App
from examples.wasm.chat import Patience
from examples.wasm.states import Foo, Said
from tests.wasm_workflow.native import reserved_port
from tests.web.browser import Mishaps
from tests.web.looks import check_looks, tab_to

CALM = Patience(bored=3600, hello=3600)
RESTLESS = Patience(look=0.1, bored=1.0, hello=3600)


class Native:
    """The chat's process, on a thread. `said` is what it printed."""

    def __init__(self, patience: Patience, port: int) -> None:
        self.patience = patience
        self.port = port
        self.said: list[tuple[str, str]] = []
        self.loop = asyncio.new_event_loop()
        self.stop = asyncio.Event()
        self.started: Future[App] = Future()
        self.thread = threading.Thread(target=lambda: self.loop.run_until_complete(self.serve()))
        self.thread.start()
        self.app = self.started.result()

    async def serve(self) -> None:
        async with App(bind(port=self.port, move=False), lambda *said: self.said.append(said), self.patience) as app:
            self.started.set_result(app)
            await self.stop.wait()

    @contextmanager
    def cut(self) -> Iterator[None]:
        """In the block there is no relay."""
        cut = self.app.cut()
        asyncio.run_coroutine_threadsafe(cut.__aenter__(), self.loop).result()
        yield
        asyncio.run_coroutine_threadsafe(cut.__aexit__(None, None, None), self.loop).result()

    def say(self, text: str) -> None:
        """The server says something itself."""
        self.loop.call_soon_threadsafe(lambda: self.app.machine.add(Foo.Msg, Said(text, "server-foo")))

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def native(request: pytest.FixtureRequest) -> Iterator[Native]:
    with reserved_port() as port:
        running = Native(getattr(request, "param", CALM), port)
        yield running
        running.end()


@pytest.fixture
def mishaps(native: Native) -> Mishaps:
    return Mishaps(native.app.address.rstrip("/"))


def join(page: Page, native: Native) -> str:
    """Open the chat; the tab's name, once both sides mirror each other."""
    page.goto(native.app.address)
    expect(page.locator("#link")).to_have_text("live")
    name = page.locator(".news span").first.inner_text().removeprefix("You are ").removesuffix(".")
    while name not in native.app.handlers.tabs:
        page.evaluate("new Promise(requestAnimationFrame)")
    return name


def say(page: Page, text: str) -> None:
    page.locator("#text").fill(text)
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_have_value("")


def test_tabs_talk_through_the_server(page: Page, native: Native) -> None:
    second, third = page.context.new_page(), page.context.new_page()
    names = [join(tab, native) for tab in (page, second, third)]
    assert len(set(names)) == 3
    say(page, "<i>hi</i>")
    for tab in (second, third):
        expect(tab.locator(".said")).to_have_text([f"{names[0]} <i>hi</i>"])
    expect(page.locator(".own")).to_have_text(["you <i>hi</i>"])
    say(third, "hello there")
    expect(page.locator(".said")).to_have_text([f"{names[2]} hello there"])
    expect(page.locator("#heard")).to_have_text("2")
    expect(page.locator("#sent")).to_have_text("1")
    assert native.said == [(names[0], "<i>hi</i>"), (names[2], "hello there")]
    second.close()
    say(page, "still there?")
    expect(third.locator(".said").last).to_have_text(f"{names[0]} still there?")


def test_a_reloaded_tab_is_there_again(page: Page, native: Native) -> None:
    first = join(page, native)
    other = page.context.new_page()
    join(other, native)
    page.reload()
    second = join(page, native)
    assert second != first
    say(other, "welcome back")
    expect(page.locator(".said")).to_contain_text(["welcome back"])
    assert native.said[-1][1] == "welcome back"
    assert len(native.app.handlers.tabs) == 2


def test_a_cut_loses_nothing_and_doubles_nothing(page: Page, native: Native, mishaps: Mishaps) -> None:
    other = page.context.new_page()
    first, second = join(page, native), join(other, native)
    for number in range(3):
        say(page, f"before {number}")
    say(other, "on its way")  # what was said last may not have arrived, or its answer not
    with mishaps.server_away():
        with native.cut():
            for tab in (page, other):
                expect(tab.locator("#link")).to_have_text("reconnecting")
            native.say("meanwhile")
            page.locator("#text").fill("kept in the field")
            page.keyboard.press("Enter")
            expect(page.locator("[data-message]")).to_contain_text("There is no connection now. Nothing was")
            expect(page.get_by_role("button", name="Send")).to_be_disabled()
        for tab in (page, other):
            expect(tab.locator("#link")).to_have_text("live")
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_have_value("")
    said = [(first, f"before {number}") for number in range(3)]
    said += [(second, "on its way"), ("server-foo", "meanwhile"), (first, "kept in the field")]
    for tab, name in ((page, first), (other, second)):
        heard = [f"{author} {text}" for author, text in said if author != name]
        expect(tab.locator(".said")).to_have_count(len(heard))
        assert sorted(tab.locator(".said").all_text_contents()) == sorted(heard)
    assert sorted(native.said) == sorted(said)


def test_a_tab_is_told_that_it_is_refused(page: Page, native: Native, mishaps: Mishaps) -> None:
    mishaps.expect("404")
    native.app.relay._admission.matches = dict.fromkeys(native.app.relay._admission.matches, ())
    page.goto(native.app.address)
    expect(page.locator("#link")).to_have_text("refused")
    expect(page.locator("#refused")).to_contain_text(
        "No connection: the server does not offer what this page asks for. This is not tried again by itself"
    )


@pytest.mark.parametrize("native", [RESTLESS], indirect=True)
def test_the_server_tells_that_it_is_bored(page: Page, native: Native) -> None:
    join(page, native)
    expect(page.locator(".news")).to_contain_text(["You are", "server-foo is bored"])
    expect(page.locator("#bored")).to_have_class("mood on")
    say(page, "wake up")
    expect(page.locator("#bored")).to_have_class("mood")


def test_keys_alone_will_do_and_an_empty_message_is_refused(page: Page, native: Native) -> None:
    name = join(page, native)
    text = page.locator("#text")
    tab_to(page, text)
    page.keyboard.type("   ")
    page.keyboard.press("Enter")
    expect(page.locator("[data-message]")).to_have_text("This did not work: there is nothing to say")
    expect(text).to_be_focused()
    page.keyboard.type("hi")
    expect(page.locator("[data-message]")).to_be_empty()  # what was said of the last one
    tab_to(page, page.get_by_role("button", name="Send"))
    page.keyboard.press("Space")
    expect(page.locator(".own")).to_have_text(["you hi"])
    expect(page.locator("[data-message]")).to_be_empty()
    expect(text).to_have_value("")
    tab_to(page, page.get_by_role("log"))  # which scrolls by keys
    assert native.said == [(name, "hi")]


def test_the_page_is_readable_on_a_phone_and_on_a_desk(page: Page, native: Native) -> None:
    join(page, native)
    say(page, "word " * 60)
    check_looks(page)
