"""The blocks of docs/pages.md run in a real page, in their order and in one namespace, and do what they say there."""

from __future__ import annotations

import importlib.util
import re
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine_relay import Match, Relay, StaticRoot, Target, Tunnel
from asyncmachine_web.build import pack, static_folder
from asyncmachine_web.page import ui
from tests.docs.pages import ROOT, Block, blocks
from tests.web.browser import Mishaps, come_back, run, serving, vendor_folder

HERE = Path(__file__).parent
FILE = re.compile(r"# (my_app/\w+\.py)\n")
MANUAL = (ROOT / "docs" / "pages.md").read_text(encoding="utf-8")
FOUND = list(blocks(MANUAL))
PYTHON = [block for block in FOUND if block.info == "python no-run" and HERE.name in block.before]
FILES = {named[1]: block for block in PYTHON if (named := FILE.match(block.code))}
STEPS = [block for block in PYTHON if block not in FILES.values()]
(HTML,) = [block.code for block in FOUND if block.info == "html" and not block.code.startswith("<!-- page/")]


class Echo(socketserver.BaseRequestHandler):
    """Sends back what comes."""

    def handle(self) -> None:
        while data := self.request.recv(4096):
            self.request.sendall(data)


class Till:
    """The server's side of the shop."""

    def __init__(self, states: Any) -> None:
        self.states = states
        self.names: list[str] = []
        self.shop = am.Machine(states.Shop, self, id="shop")
        self.shop.add("Open")

    def OrderState(self, e: am.Event) -> None:
        e.remove("Order")
        wanted = e.args(self.states.Wanted)
        self.names.append(" ".join([wanted.name, *wanted.kinds]))
        e.add("Saved")

    async def serve(self, tunnel: Tunnel) -> None:
        server = rpc.Server(self.shop, tunnel.id, push_interval=0.001)

        def row(number: int) -> dict[str, Any]:
            return {"id": number, "name": self.names[number]}

        def tell() -> None:
            server.send_payload("names", [row(number) for number in range(len(self.names))])
            server.send_payload("price", f"{3 * len(self.names)} €")

        def saved(_: am.Event) -> None:
            server.send_payload("orders", row(len(self.names) - 1))
            tell()

        told = self.shop.bind({"SavedState": saved})
        tell()
        await server.serve(tunnel.transport)
        self.shop.detach(told)
        server.machine.dispose()


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory, built: Path) -> Any:
    """The module of states, after the files of the manual were packed for its page."""
    root = tmp_path_factory.mktemp("manual")
    for name, block in {"my_app/__init__.py": Block(0, "", "", ""), **FILES}.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(block.code + "\n")
    pack(root, ["my_app"], built / "manual.zip")
    spec = importlib.util.spec_from_file_location("manual_states", root / "my_app" / "states.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def shop(states: Any, built: Path, mishaps: Mishaps) -> Iterator[str]:
    """The address of a relay with what the manual asks of it."""
    static: list[StaticRoot] = [("/pages/", HERE / "pages"), ("/built/", built), static_folder()]
    static.append(("/vendor/", vendor_folder()))
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as echo:
        serving_echo = threading.Thread(target=echo.serve_forever)
        serving_echo.start()
        target = Target("echo", "127.0.0.1", echo.server_address[1], raw=True)
        till = Till(states)
        with serving(Relay(static, dial=[Match(r"page-\w+", target="shop", serve=till.serve)], targets=[target])) as at:
            mishaps._own = at
            mishaps.expect("'names', which nothing asks for")  # until a later block does
            yield at
        echo.shutdown()
        serving_echo.join()


def opened(page: Page, address: str, *, only: str = "") -> Page:
    """A page in which the manual has run; of the blocks after the first those in which `only` is found."""
    page.goto(f"{address}/pages/manual.html")
    page.wait_for_selector("#python", state="attached")
    page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", HTML)
    for number, block in enumerate(STEPS):
        if number and only not in block.code:
            continue
        try:
            run(page, f"{block.code}\nNone")
        except Exception as error:
            error.add_note(f"docs/pages.md:{block.line}")
            raise
    return page


def test_the_manual_does_what_it_says(page: Page, context: BrowserContext, shop: str) -> None:
    opened(page, shop)
    expect(page.locator("#link")).to_have_text("live")
    expect(page.locator("#link")).to_have_class("on")
    expect(page.locator("#refused")).to_be_hidden()

    page.locator("[name=name]").fill("Ada")
    page.get_by_label("Rye").check()
    page.get_by_role("button", name="Two of it").click()
    expect(page.locator("#orders li")).to_have_text(["Ada rye Again", "Ada rye Again"])
    page.get_by_role("button", name="Order").click()
    expect(page.locator("#order")).to_have_attribute("data-state", "done")
    expect(page.locator("[data-message]")).to_have_text("Thank you.")
    expect(page.locator("[name=name]")).to_have_value("")
    page.locator("#orders button").last.click()
    expect(page.locator("#orders li")).to_have_count(4)
    expect(page.locator("#price")).to_have_text("12 €")
    expect(page.locator("#names li")).to_have_count(4)
    page.get_by_label("Quiet").check()
    run(page, "await shown.when(Shown.Quiet); None")

    expect(page.locator("#saved")).to_have_js_property("value", 1)
    expect(page.locator("#shop b")).to_have_text("Open")
    expect(page.locator("#since")).to_have_text(re.compile(r"\d+ (s|min)"))
    expect(page.locator("#time")).to_have_text(re.compile(r"\d\d:\d\d"))
    page.evaluate("dispatchEvent(new Event('offline'))")
    run(page, "await shown.when(Shown.Offline); None")
    page.evaluate("dispatchEvent(new Event('online'))")
    run(page, "await shown.when_not(Shown.Offline); None")

    page.locator("#note").fill("tea")
    second = opened(context.new_page(), shop)
    expect(second.locator("#note")).to_have_value("tea")
    second.locator("#note").fill("tea and cake")
    expect(page.locator("#note")).to_have_value("tea and cake")
    run(second, "await draft.mirror.add(Draft.Typed, Text(note.get(), ME)); None")  # what was typed is on disk, too
    page.close()
    expect(second.locator("#note")).to_have_value("tea and cake")
    run(second, "await draft.machine.when('Leading'); await draft.client.when_ready(); None")
    second.reload()
    third = opened(second, shop)
    expect(third.locator("#note")).to_have_value("tea and cake")


def test_the_draft_of_the_manual_is_the_same_again_in_a_page_that_was_in_the_cache(shop: str, caching: Page) -> None:
    opened(caching, shop, only="shared.join")
    second = opened(caching.context.new_page(), shop, only="shared.join")
    caching.locator("#note").fill("tea")
    expect(second.locator("#note")).to_have_value("tea")
    run(caching, "import asyncio\nwhile told != 'tea': await asyncio.sleep(0.01)\nNone")  # else it would tell it again
    caching.goto(f"{shop}/pages/blank.html")
    second.locator("#note").fill("tea and cake")  # at first nobody leads
    run(second, "await draft.machine.when('Leading'); await draft.client.when_ready(); None")
    come_back(caching)
    expect(caching.locator("#note")).to_have_value("tea and cake")


def test_the_list_of_the_manual_is_there_without_a_server(page: Page, shop: str, mishaps: Mishaps) -> None:
    opened(page, shop)
    page.locator("[name=name]").fill("Ada")
    page.get_by_role("button", name="Order").click()
    expect(page.locator("#names li")).to_have_text(["Ada"])
    run(page, "await last.keep(); None")
    mishaps.expect("ERR_FAILED")
    page.route("**/token", lambda route: route.abort())
    opened(page, shop, only="durable.open(Last")
    expect(page.locator("#names li")).to_have_text(["Ada"])
    expect(page.locator("#names")).to_have_attribute("data-stale", "")


def table(head: str) -> str:
    return MANUAL.partition(f"| {head} |")[2].partition("\n\n")[0]


def test_every_method_of_a_page_is_in_the_table() -> None:
    names = set(re.findall(r"`(\w+)\(", table("of a `Page`")))
    assert names == {name for name in vars(ui.Page) if not name.startswith("_")}


def test_every_fact_of_an_event_is_in_the_table() -> None:
    names = re.findall(r"`(\w+)`", re.sub(r"\|[^|]*\|$", "", table("of an event"), flags=re.MULTILINE))
    assert names == [field.name for field in fields(ui.UiEvent)]
