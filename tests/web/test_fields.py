"""Fields and forms against a fake document: what a person changes, and what the machine makes of it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import ref

import pytest

import asyncmachine as am
from asyncmachine import rpc
from asyncmachine.rpc.states import ClientStates
from asyncmachine.rpc.transport.memory import pair
from asyncmachine_web.page.bindings import BindingError, Html, as_content
from asyncmachine_web.page.forms import Form
from asyncmachine_web.page.ui import Page, UiEvent
from tests.web.surface import FakeDocument


class Shop(am.StatesDef):
    Open = am.state()
    Order = am.state(multi=True, require=Open)
    Saved = am.state(multi=True)


@dataclass(frozen=True)
class Wanted(am.Args, prefix="shop", state="Order"):
    name: str


class ShopHandlers:
    def __init__(self) -> None:
        self.orders: list[dict[str, object]] = []

    def OrderState(self, e: am.Event) -> None:
        e.remove(Shop.Order)
        self.orders.append(dict(e.raw_args))


def opened(**elements: int) -> tuple[am.Machine[Shop], ShopHandlers, FakeDocument, Page]:
    handlers = ShopHandlers()
    machine = am.Machine(Shop, handlers, id="shop")
    document = FakeDocument(**elements)
    return machine, handlers, document, Page(machine, surface=document.open)


# Fields


def test_a_text_goes_both_ways_and_is_not_sent_back() -> None:
    _, _, document, page = opened(name=1, greeting=1)
    name = page.value("Ada")
    page.bind("#name", value=name)
    page.bind("#greeting", text=name)
    assert document.draw() == {("#name", "value", ""): "Ada", ("#greeting", "text", ""): "Ada"}
    document.fire("input", "#name", value="Bob")
    assert name.get() == "Bob"
    assert document.draw() == {("#greeting", "text", ""): "Bob"}
    name.set("Cleo")
    assert document.draw() == {("#name", "value", ""): "Cleo", ("#greeting", "text", ""): "Cleo"}


def test_what_was_typed_before_the_field_was_bound_wins() -> None:
    _, _, document, page = opened(name=1, count=1, agreed=1, greeting=1)
    document.changed = {"#name": "Bob", "#count": "7", "#agreed": True}
    name, count, agreed = page.value("Ada"), page.value(1), page.value(False)
    page.bind("#name", value=name)
    page.bind("#count", value=count)
    page.bind("#agreed", checked=agreed)
    page.bind("#greeting", text=name)
    assert (name.get(), count.get(), agreed.get()) == ("Bob", 7, True)
    assert document.draw() == {("#greeting", "text", ""): "Bob"}  # what the fields show stays


def test_what_was_changed_early_mutates_nothing() -> None:
    machine, _, document, page = opened(open=1)
    document.changed = {"#open": True}
    page.bind("#open", checked="Open")
    assert document.draw() == {("#open", "checked", ""): False}
    assert Shop.Open not in machine


def test_numbers_stay_numbers_and_are_not_rewritten_while_they_are_typed() -> None:
    _, _, document, page = opened(size=1)
    size = page.value(1.0)
    page.bind("#size", value=size)
    document.draw()
    document.fire("input", "#size", value="2.")
    assert size.get() == 2.0
    assert document.draw() == {}
    document.fire("input", "#size", value="2.x")
    assert size.get() == 2.0
    size.set(3)
    assert document.draw() == {("#size", "value", ""): "3"}


def test_a_checkbox_of_a_state_shows_what_became_of_the_mutation() -> None:
    machine, _, document, page = opened(open=1, order=1)
    page.bind("#open", checked="Open")
    page.bind("#order", checked="Order")
    document.draw()
    document.fire("input", "#order", checked=True)
    assert document.draw() == {("#order", "checked", ""): False}  # requires Open
    document.fire("input", "#open", checked=True)
    assert Shop.Open in machine
    assert document.draw() == {}
    document.fire("input", "#open", checked=False)
    assert Shop.Open not in machine


def test_a_checkbox_of_a_value_sets_it() -> None:
    _, _, document, page = opened(on=1)
    on = page.value(False)
    page.bind("#on", checked=on)
    document.draw()
    document.fire("input", "#on", checked=True)
    assert on.get() is True
    assert document.draw() == {}


def test_what_is_computed_is_shown_again() -> None:
    _, _, document, page = opened(a=1)
    page.bind("#a", value=lambda m: str(m.tick("Open")))
    document.draw()
    document.fire("input", "#a", value="9")
    assert document.draw() == {("#a", "value", ""): "0"}


def test_the_reset_of_a_form_sets_values_and_mutates_nothing() -> None:
    """Where a field shows a state or something computed, it shows that again."""
    machine, _, document, page = opened(name=1, on=1, open=1, computed=1)
    name, on = page.value("Ada"), page.value(True)
    page.bind("#name", value=name)
    page.bind("#on", checked=on)
    page.bind("#open", checked="Open")
    page.bind("#computed", value=lambda m: m.tick("Open"))
    page.on("input", "#open", "Saved")
    machine.add(Shop.Open)
    document.draw()
    for field in ("#name", "#on", "#open", "#computed"):
        document.fire("input", field, reset=True)
    assert (name.get(), on.get()) == ("", False)
    assert machine.active_states() == (Shop.Open,)
    assert document.draw() == {("#open", "checked", ""): True, ("#computed", "value", ""): "1"}


def test_closed_fields_do_not_listen() -> None:
    _, _, document, page = opened(name=1, other=1)
    name = page.value("")
    handle = page.bind("#name", value=name)
    page.bind("#other", value=name)
    document.draw()
    handle.close()
    assert [where for _, where, _ in document.listening.values()] == ["#other"]
    (gone,) = document.listening
    document.draw(ended=(gone,))
    assert not document.listening
    assert not page._handlers


# Forms


def form_state(document: FakeDocument) -> tuple[str | None, str | None]:
    shown = {document.defined[number][1:]: value for number, value in document.shown.items()}
    return shown[("attr", "data-state")], shown.get(("text", ""))


async def settled(page: Page) -> None:
    while page._tasks:
        await asyncio.gather(*page._tasks)


async def test_a_form_adds_a_state_and_waits_for_another() -> None:
    machine, handlers, document, page = opened(form=1)
    document.elements["form [data-message]"] = 1
    page.form("form", "Order", until="Saved", args=lambda fields: Wanted(fields["name"]))
    machine.add(Shop.Open)
    document.draw()
    assert form_state(document) == (None, "")
    document.fire("submit", "form", form={"name": "tea"})
    while not handlers.orders:
        await asyncio.sleep(0)
    document.draw()
    assert form_state(document)[0] == "busy"
    document.fire("submit", "form", form={"name": "tea"})  # impatient
    assert document.sent == ["form"]
    machine.add(Shop.Saved)
    await settled(page)
    assert document.draw() == {
        ("form", "attr", "data-state"): "done",
        ("form", "attr", "aria-busy"): None,
        ("form", "reset", ""): "1",
    }
    assert handlers.orders == [{"shop__Order": Wanted("tea")}]


async def test_a_form_that_is_sent_twice_at_once_is_sent_once() -> None:
    machine, handlers, document, page = opened(form=1)
    page.form("form", "Order")
    machine.add(Shop.Open)
    for name in ("tea", "coffee"):
        document.fire("submit", "form", form={"name": name})
    await settled(page)
    assert handlers.orders == [{"name": "tea"}]
    assert document.sent == ["form"]


async def test_several_fields_of_one_name_all_arrive() -> None:
    machine, handlers, document, page = opened(form=1, typed=1)
    machine.add(Shop.Open)
    page.form("form", "Order")
    page.form("#typed", "Order", args=lambda f: {"kinds": f.all("kind"), "none": f.all("none"), "last": f["kind"]})
    for selector in ("form", "#typed"):
        document.fire("submit", selector, form=[["kind", "green"], ["name", "tea"], ["kind", "fine"]])
        await settled(page)
    assert handlers.orders == [
        {"kind": ["green", "fine"], "name": "tea"},
        {"kinds": ["green", "fine"], "none": [], "last": "fine"},
    ]


def test_what_is_not_one_form_or_has_files_is_refused_and_leaves_nothing() -> None:
    machine, _, document, page = opened(form=2, div=-1, photo=1)
    document.elements["photo [type=file][name]"] = 1
    for selector, why in {
        "form": "'form' matches 2 forms; call page.form for each",
        "#div": "'#div' is no form",
        "#photo": "'#photo' sends no files: a form sends texts; leave out the name of its field of files",
    }.items():
        with pytest.raises(BindingError) as refused:
            page.form(selector, "Order")
        assert why in str(refused.value)
    assert not document.defined
    assert document.draw() == {}
    assert not machine.tracers


async def test_a_field_of_files_that_came_later_is_named_and_nothing_is_sent() -> None:
    machine, handlers, document, page = opened(form=1)
    document.elements["form [data-message]"] = 1
    machine.add(Shop.Open)
    page.form("form", "Order")
    document.draw()
    files = [["photo", None], ["scan", None], ["photo", None]]
    document.fire("submit", "form", form=[["name", "tea"], *files])
    await settled(page)
    assert ("form", "reset", "") not in document.draw()
    assert form_state(document) == ("failed", "Something went wrong, and this did not work.")
    (told,) = document.reports
    assert "submit form" in told
    assert "BindingError: nothing was sent, since there are files in photo, scan: a form sends texts" in told
    assert handlers.orders == []
    document.fire("submit", "form", form={"name": "tea"})
    await settled(page)
    assert handlers.orders == [{"name": "tea"}]


def test_an_event_names_the_fields_of_files_that_it_leaves_out() -> None:
    _, _, document, page = opened(form=1)
    told: list[UiEvent] = []
    page.on("submit", "form", told.append)
    document.fire("submit", "form", form=[["name", "tea"], ["photo", None]])
    assert [(event.form, event.form.files) for event in told] == [({"name": "tea"}, ("photo",))]


async def test_the_message_of_a_form_stands_in_it_however_that_is_selected() -> None:
    _, _, document, page = opened(**{"form, #order": 1, "form, #order [data-message]": 1})
    page.form("form, #order", "Order")
    document.fire("submit", "form, #order")
    await settled(page)
    document.draw()
    assert form_state(document) == ("refused", "This is not possible now.")
    assert (":is(form, #order) [data-message]", "text", "") in document.defined.values()


async def test_a_refused_form_says_so_and_keeps_its_fields() -> None:
    _, _, document, page = opened(form=1)
    document.elements["form [data-message]"] = 1
    page.form("form", "Order", until="Saved", messages={"refused": "We are closed."})
    document.draw()
    document.fire("submit", "form", form={})
    await settled(page)
    assert ("form", "reset", "") not in document.draw()
    assert form_state(document) == ("refused", "We are closed.")


async def test_what_a_form_said_of_the_last_time_is_over_when_somebody_types() -> None:
    _, _, document, page = opened(form=1)
    document.elements["form [data-message]"] = 1
    page.form("form", "Order", until="Saved")
    document.fire("submit", "form", form={})
    await settled(page)
    document.draw()
    document.fire("input", "form", reset=True)
    document.draw()
    assert form_state(document)[0] == "refused", "nobody has typed"
    document.fire("input", "form")
    document.draw()
    assert form_state(document) == (None, "")


async def test_a_form_tells_why_it_is_refused_if_it_is_asked_to() -> None:
    _, _, document, page = opened(form=1)
    document.elements["form [data-message]"] = 1
    page.form("form", "Order", until="Saved", messages={"refused": "Not now: {reason}."})
    document.fire("submit", "form", form={})
    await settled(page)
    document.draw()
    assert form_state(document) == ("refused", "Not now: Order requires Open.")


@pytest.mark.parametrize("handler", ["OrderEnter", "OrderState"])
async def test_a_form_whose_handler_raises_has_failed_and_does_not_say_why_unless_told_to(handler: str) -> None:
    machine, _, document, page = opened(form=1, other=1)
    document.elements |= {"form [data-message]": 1, "other [data-message]": 1}
    machine.add(Shop.Open)

    def broken(_: am.Event) -> None:
        raise OSError("no room in /srv/shop")

    machine.bind({handler: broken})
    page.form("form", "Order")
    for _ in range(2):  # `Exception` stays active, and ticks all the same
        document.fire("submit", "form", form={"name": "tea"})
        await settled(page)
        assert document.draw().get(("form", "reset", "")) is None
        assert form_state(document) == ("failed", "Something went wrong, and this did not work.")
    assert ["no room in /srv/shop" in told for told in document.reports] == [True, True]  # on the page's console
    document.shown.clear()
    page.form("#other", "Order", messages={"failed": "Sorry: {error}."})
    document.fire("submit", "#other", form={"name": "tea"})
    await settled(page)
    document.draw()
    assert form_state(document) == ("failed", "Sorry: no room in /srv/shop.")


async def test_a_form_that_is_refused_after_an_error_is_still_refused() -> None:
    machine, _, document, page = opened(form=1)
    document.elements["form [data-message]"] = 1
    machine.add_err(OSError("something else"))
    page.form("form", "Order")
    document.fire("submit", "form", form={"name": "tea"})
    await settled(page)
    document.draw()
    assert form_state(document) == ("refused", "This is not possible now.")
    assert document.reports == []


class RemoteShop(rpc.StateSource):
    Open = am.state()
    Order = am.state(multi=True, require=Open)
    Saved = am.state(multi=True)


@dataclass
class Remote:
    """A shop, and a page of its mirror."""

    shop: am.Machine[RemoteShop]
    client: rpc.Client
    document: FakeDocument
    page: Page

    async def send(self) -> tuple[str | None, str | None]:
        """How the form stands after it was sent."""
        self.document.fire("submit", "form", form={"name": "tea"})
        await settled(self.page)
        self.document.draw()
        return form_state(self.document)


@asynccontextmanager
async def remote(mutate: tuple[str, ...] = ("*",)) -> AsyncIterator[Remote]:
    shop = am.Machine(RemoteShop, id="shop")
    server = rpc.Server(shop, push_interval=0.001, allow=lambda *_: rpc.Grants(mutate=mutate))
    near, far = pair()
    serving = asyncio.create_task(server.serve(far))
    client = rpc.Client.over(near, RemoteShop)
    client.start()
    await client.when_ready()
    document = FakeDocument(form=1)
    document.elements["form [data-message]"] = 1
    page = Page(client, surface=document.open)
    page.form("form", "Order", until="Saved", timeout=5)
    yield Remote(shop, client, document, page)
    page.close()
    await client.stop()
    await serving
    for machine in (client.machine, server.machine, shop):
        machine.dispose()


async def test_an_error_of_a_server_is_told_from_its_veto_and_is_not_shown() -> None:
    async with remote() as page:
        assert await page.send() == ("refused", "This is not possible now.")
        page.shop.add(RemoteShop.Open)

        def broken(_: am.Event) -> None:
            raise OSError("no room in /srv/shop")

        bound = page.shop.bind({"OrderState": broken})
        assert await page.send() == ("failed", "Something went wrong, and this did not work.")
        page.shop.bind({"ExceptionState": lambda e: e.remove("Exception")})
        assert await page.send() == ("failed", "Something went wrong, and this did not work.")
        page.shop.detach(bound)
        page.shop.bind({"OrderEnter": lambda _: False})
        assert (await page.send())[0] == "refused"
        assert page.document.reports == []


async def test_an_async_handler_that_raises_ends_the_waiting_for_what_does_not_follow() -> None:
    """Its mutation has been carried out."""
    async with remote() as page:
        page.shop.add(RemoteShop.Open)

        async def broken(_: am.Event) -> None:
            raise OSError("no room in /srv/shop")

        page.shop.bind({"OrderState": broken})
        for _ in range(2):  # `Exception` stays active, and ticks all the same
            assert await page.send() == ("failed", "Something went wrong, and this did not work.")
        page.document.fire("input", "form")
        page.shop.add(RemoteShop.Saved)
        page.document.draw()
        assert form_state(page.document) == (None, "")
        assert page.document.reports == []


async def test_an_error_that_goes_while_a_form_waits_is_none_of_it() -> None:
    machine, handlers, document, page = opened(form=1)
    machine.add_err(OSError("something else"))
    page.form("form", "Order", until="Saved")
    machine.add(Shop.Open)
    document.fire("submit", "form", form={"name": "tea"})
    while not handlers.orders:
        await asyncio.sleep(0)
    machine.remove(Shop.Exception)
    await asyncio.sleep(0)
    document.draw()
    assert form_state(document)[0] == "busy"
    machine.add(Shop.Saved)
    await settled(page)
    document.draw()
    assert form_state(document)[0] == "done"
    page.close()


async def test_what_an_async_handler_of_the_page_raised_is_told_where_it_is_asked_for() -> None:
    machine, _, document, page = opened(form=1)
    document.elements["form [data-message]"] = 1
    page.form("form", "Order", until="Saved", messages={"failed": "Sorry: {error}."})
    machine.add(Shop.Open)

    async def broken(_: am.Event) -> None:
        raise OSError("no room")

    machine.bind({"OrderState": broken})
    document.fire("submit", "form", form={"name": "tea"})
    await settled(page)
    document.draw()
    assert form_state(document) == ("failed", "Sorry: no room.")
    (told,) = document.reports
    assert "OSError: no room" in told
    page.close()


async def test_what_the_server_does_not_let_a_page_do_is_refused() -> None:
    async with remote(mutate=("Saved",)) as page:
        page.shop.add(RemoteShop.Open)
        assert await page.send() == ("refused", "This is not possible now.")


async def test_a_form_whose_connection_ends_before_the_answer_may_have_been_carried_out() -> None:
    async with remote() as page:
        page.shop.add(RemoteShop.Open)
        page.shop.bind({"OrderState": lambda _: page.client.machine.add(ClientStates.Disconnecting) and None})
        state, message = await page.send()
        assert state == "late"
        assert "look before you try again" in str(message)


async def test_a_form_whose_answer_does_not_come_is_late_and_can_be_sent_again() -> None:
    machine, handlers, document, page = opened(form=1)
    document.elements["form [data-message]"] = 1
    page.form("form", "Order", until="Saved", timeout=0.01)
    machine.add(Shop.Open)
    for _ in range(2):
        document.fire("submit", "form", form={"name": "tea"})
        await settled(page)
        document.draw()
        assert form_state(document) == ("late", "No answer yet. It may still come: look before you try again.")
    assert handlers.orders == [{"name": "tea"}] * 2


async def late(**messages: str) -> tuple[am.Machine[Shop], ShopHandlers, FakeDocument, Page]:
    """A form that nothing has followed in time."""
    machine, handlers, document, page = opened(form=1)
    document.elements["form [data-message]"] = 1
    page.form("form", "Order", until="Saved", timeout=0.01, messages=messages)
    machine.add(Shop.Open)
    document.draw()
    document.fire("submit", "form", form={"name": "tea"})
    await settled(page)
    document.draw()
    assert form_state(document)[0] == "late"
    return machine, handlers, document, page


async def test_a_form_that_is_late_is_done_when_what_it_waited_for_comes() -> None:
    machine, _, document, page = await late(done="Thank you.")
    machine.add_err(OSError("something else"))
    assert document.draw() == {}
    machine.add(Shop.Saved)
    assert document.draw()["form", "reset", ""] == "1"
    assert form_state(document) == ("done", "Thank you.")
    machine.add(Shop.Saved)
    assert document.draw() == {}
    page.close()


async def test_who_types_after_a_form_was_late_goes_on() -> None:
    machine, _, document, page = await late()
    document.fire("input", "form")
    document.draw()
    assert form_state(document) == (None, "")
    machine.add(Shop.Saved)
    assert document.draw() == {}
    page.close()


async def test_a_form_that_is_sent_again_after_it_was_late_is_done_once() -> None:
    machine, handlers, document, page = await late()
    document.fire("submit", "form", form={"name": "tea"})
    while len(handlers.orders) < 2:
        await asyncio.sleep(0)
    machine.add(Shop.Saved)
    await settled(page)
    assert document.draw()["form", "reset", ""] == "1"
    assert form_state(document)[0] == "done"
    page.close()


async def test_a_form_that_is_gone_is_not_kept_by_what_it_was_late_for() -> None:
    machine, _, document, page = await late()
    forms = [each for each in gc.get_objects() if isinstance(each, Form) and each.state.get() == "late"]
    (gone,) = map(ref, forms)
    document.draw(ended=tuple(document.defined))
    del forms
    gc.collect()
    assert gone() is None
    machine.add(Shop.Saved)
    page.close()
    machine.dispose()
    assert document.draw() == {}


class Slow(am.Machine[Shop]):
    """Its answer is the test's to give."""

    answer: am.Result

    def add(self, *_: object, **__: object) -> am.Result:
        return self.answer


@pytest.mark.parametrize(("outcome", "state"), [(am.Outcome.EXECUTED, "done"), (am.Outcome.CANCELED, "refused")])
async def test_a_form_without_until_is_told_of_an_answer_that_comes_late(outcome: am.Outcome, state: str) -> None:
    machine, document = Slow(Shop, id="shop"), FakeDocument(form=1)
    page = Page(machine, surface=document.open)
    page.form("form", "Order", timeout=0.01)
    machine.answer = am.Result.make_pending()
    document.fire("submit", "form", form={"name": "tea"})
    await settled(page)
    document.draw()
    assert form_state(document)[0] == "late"
    machine.answer._settle(outcome)
    document.draw()
    assert form_state(document)[0] == state
    page.close()


async def test_a_form_without_until_is_done_when_the_mutation_is() -> None:
    machine, handlers, document, page = opened(form=1)
    page.form("form", "Order")
    machine.add(Shop.Open)
    document.fire("submit", "form", form={"name": "tea"})
    await settled(page)
    document.draw()
    assert form_state(document) == ("done", None)
    assert handlers.orders == [{"name": "tea"}]


async def test_a_form_without_a_connection_says_that_nothing_was_sent_and_keeps_its_fields() -> None:
    document = FakeDocument(form=1)
    document.elements["form [data-message]"] = 1
    client = rpc.Client("tcp://127.0.0.1:9", Shop, id="shop")
    page = Page(client, surface=document.open)
    page.form("form", "Order")
    document.draw()
    document.fire("submit", "form", form={"name": "tea"})
    await settled(page)
    assert ("form", "reset", "") not in document.draw()
    told = "There is no connection now. Nothing was sent: try again when it is back."
    assert form_state(document) == ("unsent", told)
    page.close()
    client.machine.dispose()


async def test_arguments_that_cannot_be_made_are_told() -> None:
    _, _, document, page = opened(form=1)
    document.elements["form [data-message]"] = 1

    def args(fields: dict[str, str]) -> object:
        raise am.AmError("the name is missing")

    page.form("form", "Order", args=args)
    document.fire("submit", "form", form={})
    await settled(page)
    document.draw()
    assert form_state(document) == ("failed", "This did not work: the name is missing")


def test_a_closed_form_leaves_nothing_and_a_misspelt_state_is_refused() -> None:
    _, _, document, page = opened(form=1)
    page.form("form", "Order", until="Saved").close()
    assert not document.defined
    assert not document.listening
    with pytest.raises(am.StateMissing):
        page.form("form", "Order", until="Savd")
    assert not document.defined


# HTML


def test_html_is_escaped_unless_it_is_marked() -> None:
    _, _, document, page = opened(a=1, rows=1)
    text = page.value("<i>")
    page.bind("#a", text=text)
    assert document.draw() == {("#a", "text", ""): "<i>"}
    text.set(Html("<i>"))
    assert document.draw() == {("#a", "text", ""): {"html": "<i>"}}
    text.set("<i>")
    assert document.draw() == {("#a", "text", ""): "<i>"}
    page.each("#rows", lambda m: [{"id": 1, "name": Html("<b>x</b>"), "raw": "<b>"}], "<li>{name}{raw}</li>")
    assert list(document.draw().values()) == [[["1", {"html": "<b>x</b>"}, "<b>"]]]


def test_what_is_filled_into_html_is_escaped_unless_it_is_marked_too() -> None:
    made = Html("<b title='{t}'>{}{}</b>").format("<i>", Html("<u>"), t="'\"&")
    assert made == "<b title='&#x27;&quot;&amp;'>&lt;i&gt;<u></b>"
    assert isinstance(made, Html)


def test_html_is_no_attribute() -> None:
    _, _, document, page = opened(a=1)
    page.bind("#a", attr={"title": page.value(Html("<b>"))})
    assert document.draw() == {("#a", "attr", "title"): "<b>"}


# Numbers and other values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**53 + 1, "9007199254740993"),
        (-(2**200), str(-(2**200))),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (0.1, "0.1"),
        (None, ""),
        ("\ud800 \0 \u2028 𝄞", "\ud800 \0 \u2028 𝄞"),
        ("x" * 3_000_000, "x" * 3_000_000),
    ],
)
def test_values_arrive_equal(value: object, text: str) -> None:
    _, _, document, page = opened(a=1)
    page.bind("#a", text=page.value(value))
    assert document.draw() == {("#a", "text", ""): text}


@pytest.mark.parametrize("value", [b"x", bytearray(), memoryview(b""), {1}, frozenset({1})])
def test_values_without_a_text_are_typed_errors(value: object) -> None:
    with pytest.raises(BindingError, match="has no text of its own"):
        as_content(value)


# Templates


def test_a_template_is_filled_once_or_not_at_all() -> None:
    machine, _, document, page = opened(panel=1)
    page.fill("#panel", lambda m: {"n": m.tick("Open")} if "Open" in m else None, "<p>{n}</p>")
    assert list(document.draw().values()) == [[]]
    machine.add(Shop.Open)
    assert list(document.draw().values()) == [[["", "1"]]]


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ({"refusd": "No"}, "a form is never 'refusd', but busy, done, failed, late, refused, unsent"),
        ({"failed": "{eror}"}, "may ask for {error} and {reason} alone: KeyError('eror')"),
        ({"failed": "{"}, "may ask for {error} and {reason} alone: ValueError"),
        ({"failed": "{error.nothing}"}, "may ask for {error} and {reason} alone: AttributeError"),
    ],
    ids=["state", "name", "brace", "attribute"],
)
def test_a_message_that_could_not_be_said_is_refused(messages: dict[str, str], why: str) -> None:
    page = Page(am.Machine(Shop), surface=FakeDocument(form=1).open)
    with pytest.raises(BindingError) as refused:
        page.form("#form", "Order", messages=messages)
    assert why in str(refused.value)


def test_nothing_to_bind_and_an_async_expression_are_refused() -> None:
    page = Page(am.Machine(Shop), surface=FakeDocument(p=1).open)
    with pytest.raises(BindingError, match="nothing of '#p' is bound"):
        page.bind("#p")

    async def later(m: object) -> str:
        return ""

    with pytest.raises(BindingError, match="an expression answers at once"):
        page.bind("#p", text=later)
