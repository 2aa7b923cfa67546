"""Mirrors and payloads against a fake document: a page that follows a machine elsewhere."""

from __future__ import annotations

import asyncio
import gc
from weakref import ref

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ClientStates, ServerStates
from asyncmachine.rpc.transport import Transport
from asyncmachine.rpc.transport.memory import pair
from asyncmachine_web.page import feeds
from asyncmachine_web.page.bindings import BindingError
from asyncmachine_web.page.ui import Clock, Page
from tests.web.surface import FakeDocument


class Shop(rpc.StateSource):
    Open = am.state()


class Shown(rpc.Consumer):
    Ready = am.state()


class Link:
    """A client and a server in one process, whose connection can be cut and mended, and whose server restarts."""

    def __init__(self, consumer: am.Machine[Shown] | None = None) -> None:
        self.shop = am.Machine(Shop, id="shop")
        self.server = rpc.Server(self.shop, push_interval=0.0)
        self.serving: list[asyncio.Task[object]] = []
        self.ends: list[Transport] = []
        self.reachable = True
        self.client = rpc.Client(
            self.dial, Shop, consumer=consumer, backoff=rpc.Backoff(first=0.001, cap=0.001, tries=None, total=None)
        )

    async def dial(self) -> Transport:
        if not self.reachable:
            raise rpc.TransportClosed(1006, "the network is cut")
        ours, theirs = pair()
        self.ends.append(ours)
        self.serving.append(asyncio.create_task(self.server.serve(theirs)))
        return ours

    async def cut(self) -> None:
        self.reachable = False
        await self.ends[-1].close()
        await self.client.machine.when_not(ClientStates.Ready)

    async def restart(self) -> None:
        """Another source behind the same address."""
        await self.cut()
        await self.server.stop()
        self.shop = am.Machine(Shop, id="shop")
        self.server = rpc.Server(self.shop, push_interval=0.0)
        await self.mend()

    async def mend(self) -> None:
        self.reachable = True
        await self.client.when_ready()
        await self.server.machine.when(ServerStates.Ready)

    async def close(self) -> None:
        await self.client.stop()
        await self.server.stop()
        await asyncio.gather(*self.serving)


async def test_a_mirror_is_shown_like_a_machine_and_its_elements_know_that_it_is_stale() -> None:
    link = Link()
    document = FakeDocument(a=1, b=1)
    page = Page(link.client, surface=document.open)
    page.bind("#a", visible="Open", text=lambda m: "stale" if m.stale else "live")
    page.bind("#b", am.Machine(Shop), visible="Open")
    assert document.draw() == {
        ("html", "stale", ""): True,
        ("#a", "text", ""): "stale",
        ("#a", "visible", ""): False,
        ("#b", "visible", ""): False,
    }
    link.client.start()
    await link.client.when_ready()
    assert document.draw() == {("html", "stale", ""): False, ("#a", "text", ""): "live"}
    link.shop.add(Shop.Open)
    await link.client.netmach.when(Shop.Open)
    assert document.draw() == {("#a", "visible", ""): True}
    await link.cut()
    assert document.asks()
    assert document.draw() == {("html", "stale", ""): True, ("#a", "text", ""): "stale"}
    link.reachable = True
    await link.client.when_ready()
    assert document.draw() == {("html", "stale", ""): False, ("#a", "text", ""): "live"}
    mirrored = {selector for number, (selector, _, _) in document.defined.items() if number in document.under}
    assert mirrored == {"#a"}
    await link.close()
    page.close()


async def test_what_comes_through_a_repeater_is_stale_while_that_is_cut_off() -> None:
    link, document = Link(), FakeDocument(a=1)
    link.client.start()
    await link.client.when_ready()
    repeater = rpc.Server(link.client.netmach, "repeater")
    near, far = pair()
    serving = asyncio.create_task(repeater.serve(near))
    leaf = rpc.Client.over(far, Shop, id="leaf")
    leaf.start()
    await leaf.when_ready()
    page = Page(leaf, surface=document.open)
    page.bind("#a", text=lambda m: "stale" if m.stale else "live")
    assert document.draw() == {("html", "stale", ""): False, ("#a", "text", ""): "live"}
    await link.cut()
    await leaf.machine.when(ClientStates.SourceAway)
    assert document.asks()
    assert document.draw() == {("html", "stale", ""): True, ("#a", "text", ""): "stale"}
    assert leaf.machine.is_(ClientStates.Ready)
    await link.mend()
    await leaf.machine.when_not(ClientStates.SourceAway)
    assert document.draw() == {("html", "stale", ""): False, ("#a", "text", ""): "live"}
    await leaf.stop()
    await repeater.stop()
    await serving
    await link.close()
    page.close()


async def test_the_staleness_of_a_mirror_is_one_binding_and_ends_with_the_last_that_shows_it() -> None:
    """Nothing of the mirror is left in the page then, nor of the page at the mirror, which may be stopped or not."""
    link = Link()
    document = FakeDocument(a=1, b=1)
    page = Page(surface=document.open)
    before = len(link.client.machine.tracers), len(link.client.netmach.tracers)
    for _ in range(3):
        first = page.bind("#a", link.client, visible="Open")
        page.each("#b", lambda m: [], "<li></li>", source=link.client)
        assert [kind for _, kind, _ in document.defined.values()].count("stale") == 1
        document.draw()
        first.close()
        assert "stale" in [kind for _, kind, _ in document.defined.values()]
        document.draw(ended=tuple(number for number, (where, *_) in document.defined.items() if where == "#b"))
        assert not document.defined
        assert (len(page._bindings), len(page._sources), len(page._ageing)) == (0, 0, 0)
        assert (len(link.client.machine.tracers), len(link.client.netmach.tracers)) == before
    await link.close()
    page.close()


async def test_what_is_bound_to_a_mirror_and_never_drawn_leaves_nothing() -> None:
    link = Link()
    document = FakeDocument(a=1)
    page = Page(link.client, surface=document.open)
    page.bind("#a", visible="Open").close()
    with pytest.raises(BindingError, match="no element matches"):
        page.fill("#nowhere", lambda m: None, "<p></p>")
    assert not document.defined
    assert (len(page._bindings), len(page._sources), len(page._ageing)) == (0, 0, 0)
    await link.close()
    page.close()


async def test_what_is_the_pages_own_is_not_stale_with_its_mirror() -> None:
    consumer = am.Machine(Shown)
    link = Link(consumer)
    document = FakeDocument(own=1, told=1, came=1, state=1)
    page = Page(link.client, surface=document.open)
    price = page.value("3")
    page.bind("#own", text=price, value=price, visible=price)
    page.each("#own", page.value([]), "<li></li>")
    page.bind("#own", text=Clock())
    page.bind("#told", link.client, text=price)
    page.bind("#came", text=page.payload("price", consumer))
    page.each("#came", page.payloads("prices", consumer), "<li></li>")
    page.bind("#state", visible="Open")
    assert {document.defined[number][0] for number in document.under} == {"#told", "#came", "#state"}
    page.close()
    await link.close()


async def test_a_checkbox_of_a_mirror_waits_for_the_outcome() -> None:
    link = Link()
    document = FakeDocument(open=1)
    page = Page(link.client, surface=document.open)
    page.bind("#open", checked="Open")
    link.client.start()
    await link.client.when_ready()
    document.draw()
    document.fire("input", "#open", checked=True)
    assert document.draw() == {}
    await link.client.netmach.when(Shop.Open)
    assert document.draw() == {}
    assert Shop.Open in link.shop
    await link.close()
    page.close()


async def test_payloads_feed_values_and_lists() -> None:
    consumer = am.Machine(Shown, id="consumer")
    link = Link(consumer)
    document = FakeDocument(log=1, n=1)
    page = Page(consumer, surface=document.open)
    page.each("#log", page.payloads("lines", last=3, newest_first=True), "<li>{text}</li>")
    page.bind("#n", text=page.payload("figure", default=0))
    assert document.draw() == {("#log", "list", '["<li>", "</li>"]'): [], ("#n", "text", ""): "0"}
    link.client.start()
    await link.client.when_ready()
    await link.server.machine.when(ServerStates.Ready)
    await link.server.send_payload("lines", {"text": "one"})
    await link.server.send_payload("lines", [{"text": "two"}, {"text": "three", "id": 9}])
    await link.server.send_payload("figure", 2**53 + 1)
    await link.server.send_payload("foreign", {"text": "no"})
    assert document.draw() == {
        ("#log", "list", '["<li>", "</li>"]'): [["9", "three"], ["2", "two"], ["1", "one"]],
        ("#n", "text", ""): "9007199254740993",
    }
    await link.server.send_payload("lines", [{"text": "more"}, {"text": "THREE", "id": 9}])
    assert list(document.draw().values()) == [[["4", "more"], ["9", "THREE"], ["2", "two"]]]
    assert len(consumer.handlers()) == 1
    page.close()
    assert not consumer.handlers()
    await link.close()


async def test_rows_that_a_page_puts_back_are_not_overwritten_by_new_ones() -> None:
    """They have the numbers that they had on an earlier page."""
    consumer = am.Machine(Shown, id="consumer")
    link = Link(consumer)
    page = Page(consumer, surface=FakeDocument().open)
    lines = page.payloads("lines")
    lines.set([{"id": 1, "text": "one"}, {"id": 2, "text": "two"}, {"id": "own", "text": "three"}])
    link.client.start()
    await link.mend()
    await link.server.send_payload("lines", [{"text": "four"}, {"text": "six", "id": 6}, {"text": "five"}])
    await link.server.send_payload("lines", {"text": "seven"})
    assert [row["id"] for row in lines.get()] == [1, 2, "own", 3, 6, 5, 7]
    page.close()
    await link.close()


async def test_rows_of_a_source_end_with_the_first_row_of_another_one() -> None:
    """A cut ends none; after a restart of the server the same numbers mean other rows."""
    consumer = am.Machine(Shown, id="consumer")
    link, other = Link(consumer), Link(consumer)
    page = Page(consumer, surface=FakeDocument().open)
    lines = page.payloads("lines")
    for each in (link, other):
        each.client.start()
        await each.mend()
    await other.server.send_payload("lines", {"id": "other", "text": "of another server"})
    await link.server.send_payload("lines", [{"id": 0, "text": "old"}, {"id": 1, "text": "old"}])
    await link.cut()
    await link.mend()
    await link.server.send_payload("lines", {"id": 2, "text": "old"})
    assert [row["id"] for row in lines.get()] == ["other", 0, 1, 2]
    lines.update(lambda rows: [*rows, {"id": "own", "text": "put there by the page"}])
    await link.restart()
    await link.server.send_payload("lines", {"id": 1, "text": "new"})
    assert [(row["id"], row["text"]) for row in lines.get()] == [
        ("other", "of another server"),
        ("own", "put there by the page"),
        (1, "new"),
    ]
    await link.restart()
    await link.server.send_payload("lines", [])
    assert [row["id"] for row in lines.get()] == ["other", "own"]
    lines.set([])
    await link.server.send_payload("lines", {"id": 1, "text": "newer"})
    assert [row["text"] for row in lines.get()] == ["newer"]
    page.close()
    for each in (link, other):
        await each.close()


def test_a_machine_that_gets_no_payloads_is_refused() -> None:
    page = Page(am.Machine(Shop), surface=FakeDocument().open)
    with pytest.raises(BindingError, match=r"inherit from rpc\.Consumer"):
        page.payloads("lines")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page has no time to ask for what has come."""
    monkeypatch.setattr(feeds, "GRACE", 0.0)


def give(consumer: am.Machine[Shown], *names: str) -> None:
    for name in names:
        consumer.add(Shown.ServerPayload, rpc.ServerPayload(name=name, data=1, source="shop", source_tx="", token=b""))


async def told_after(consumer: am.Machine[Shown], *names: str) -> None:
    """When payloads of these names have come, and what is to be told was."""
    give(consumer, *names)
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_payload_that_nobody_asks_for_is_told_once_with_what_is_asked_for(
    at_once: None, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = am.Machine(Shown, id="shown")
    page, other = (Page(consumer, surface=FakeDocument().open) for _ in range(2))
    price, again = page.payload("prise"), other.payload("prise")
    names = other.payloads("names")
    await told_after(consumer, "prise", "price", "price", "figure" * 99)
    assert (price.get(), again.get(), names.get()) == (1, 1, [])
    assert consumer.err is None
    assert caplog.messages == [
        f"shown gets the payload {name!r}, which nothing asks for: a page asks for 'prise', 'names'"
        for name in ("price", ("figure" * 99)[:40])
    ]
    other.close()
    give(consumer, "prise")
    assert len(consumer.handlers()) == 1
    page.close()
    assert not consumer.handlers()
    await told_after(consumer, "more")
    assert len(caplog.messages) == 2


async def test_a_payload_that_is_asked_for_later_or_has_a_handler_of_its_own_is_not_told(
    at_once: None, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = am.Machine(Shown, id="shown")
    page = Page(consumer, surface=FakeDocument().open)
    page.payload("price")
    give(consumer, "figure")
    page.payload("figure")
    await told_after(consumer)
    own = consumer.bind({"ServerPayloadState": lambda e: None, "ReadyState": lambda e: None})
    await told_after(consumer, "names")
    assert caplog.messages == []
    consumer.detach(own)
    consumer.bind({"ReadyState": lambda e: None})
    await told_after(consumer, "names", "lines")
    assert [told.partition(",")[0] for told in caplog.messages] == ["shown gets the payload 'lines'"]
    consumer.dispose()
    page.close()


def test_a_page_that_is_gone_keeps_no_consumer() -> None:
    consumer = am.Machine(Shown, id="shown")
    page = Page(consumer, surface=FakeDocument().open)
    page.payload("price")
    gone = ref(consumer)
    del page, consumer
    gc.collect()
    assert gone() is None
