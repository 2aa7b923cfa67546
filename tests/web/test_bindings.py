"""Bindings against a fake document: what is evaluated, what is sent, and what ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine_web.page.bindings import BindingError, Template
from asyncmachine_web.page.reads import Source
from asyncmachine_web.page.ui import Page
from tests.web.surface import FakeDocument


class Light(am.StatesDef):
    On = am.state(remove="Off")
    Off = am.state(remove=On)
    Blink = am.state(multi=True)


def opened(**elements: int) -> tuple[am.Machine[Light], FakeDocument, Page]:
    machine = am.Machine(Light, id="light")
    document = FakeDocument(**elements)
    return machine, document, Page(machine, surface=document.open)


def test_first_frame_shows_everything_and_later_ones_only_changes() -> None:
    machine, document, page = opened(lamp=1)
    page.bind("#lamp", text=lambda m: f"{m.tick('Blink')}", cls={"on": "On"}, attr={"aria-hidden": "Off"}, visible="On")
    assert document.asks()
    assert document.draw() == {
        ("#lamp", "text", ""): "0",
        ("#lamp", "class", "on"): False,
        ("#lamp", "attr", "aria-hidden"): "false",
        ("#lamp", "visible", ""): False,
    }
    assert not document.asks()
    machine.add(Light.On)
    assert document.asks()
    assert document.draw() == {("#lamp", "class", "on"): True, ("#lamp", "visible", ""): True}


def test_only_bindings_whose_states_ticked_are_evaluated() -> None:
    machine, document, page = opened(a=1, b=1)
    calls: list[str] = []

    def watched(name: str) -> Any:
        def expression(m: Source) -> bool:
            calls.append(name)
            return name in m

        return expression

    page.bind("#a", visible=watched("On"))
    page.bind("#b", visible=watched("Blink"))
    document.draw()
    calls.clear()
    machine.add(Light.Blink)
    document.draw()
    assert calls == ["Blink"]


def test_states_that_are_read_only_sometimes_are_followed() -> None:
    machine, document, page = opened(a=1)
    page.bind("#a", text=lambda m: m.tick("Blink") if "On" in m else "dark")
    assert document.draw() == {("#a", "text", ""): "dark"}
    machine.add(Light.Blink)
    assert document.draw() == {}
    machine.add(Light.On)
    assert document.draw() == {("#a", "text", ""): "1"}
    machine.add(Light.Blink)
    assert document.draw() == {("#a", "text", ""): "3"}
    machine.remove(Light.On)
    document.draw()
    machine.add(Light.Blink)
    assert not document.asks() or document.draw() == {}


def test_a_state_that_came_and_went_within_a_frame_sends_nothing() -> None:
    machine, document, page = opened(a=1)
    page.bind("#a", visible="On")
    document.draw()
    machine.add(Light.On)
    machine.remove(Light.On)
    assert document.draw() == {}


def test_active_states_follow_every_state() -> None:
    machine, document, page = opened(a=1)
    page.bind("#a", text=lambda m: " ".join(m.active_states()))
    assert document.draw() == {("#a", "text", ""): ""}
    machine.add([Light.On, Light.Blink])
    assert document.draw() == {("#a", "text", ""): "On Blink"}


def test_values_are_read_like_states() -> None:
    machine, document, page = opened(a=1)
    figures = page.value({"bytes": 1})
    page.bind("#a", text=lambda m: f"{figures.get()['bytes']} {'on' if 'On' in m else 'off'}")
    assert document.draw() == {("#a", "text", ""): "1 off"}
    figures.update(lambda old: {"bytes": old["bytes"] + 1})
    assert document.draw() == {("#a", "text", ""): "2 off"}
    machine.add(Light.On)
    assert document.draw() == {("#a", "text", ""): "2 on"}


def test_a_value_may_be_bound_by_itself_and_without_a_machine() -> None:
    document = FakeDocument(a=1)
    page = Page(surface=document.open)
    count = page.value(2**53 + 1)
    page.bind("#a", text=count, attr={"data-count": count})
    assert document.draw() == {
        ("#a", "text", ""): "9007199254740993",
        ("#a", "attr", "data-count"): "9007199254740993",
    }


def test_what_is_read_by_two_pages_is_followed_by_both_until_it_ends_there() -> None:
    machine, first, page = opened(a=1)
    second = FakeDocument(a=1)
    other = Page(machine, surface=second.open)
    value, source = page.value(1), Source(machine)

    def text(_: object) -> str:
        return f"{value.get()} {source.tick('Blink')}"

    handle = page.bind("#a", text=text)
    other.bind("#a", text=text)
    assert [each.draw() for each in (first, second)] == [{("#a", "text", ""): "1 0"}] * 2
    value.set(2)
    assert [each.draw() for each in (first, second)] == [{("#a", "text", ""): "2 0"}] * 2
    machine.add(Light.Blink)
    assert [each.draw() for each in (first, second)] == [{("#a", "text", ""): "2 1"}] * 2
    handle.close()
    machine.add(Light.Blink)
    assert [each.draw() for each in (first, second)] == [{}, {("#a", "text", ""): "2 3"}]
    value.set(3)
    assert [each.draw() for each in (first, second)] == [{}, {("#a", "text", ""): "3 3"}]
    other.close()
    assert not machine.tracers


def test_equal_values_of_other_types_are_told_apart() -> None:
    document = FakeDocument(a=1)
    page = Page(surface=document.open)
    value = page.value("")
    page.bind("#a", attr={"x": value})
    assert document.draw() == {("#a", "attr", "x"): ""}
    value.set(True)  # type: ignore[arg-type]
    assert document.draw() == {("#a", "attr", "x"): True}


def test_two_machines_in_one_page() -> None:
    machine, document, page = opened(a=1, b=1)
    other = am.Machine(Light, id="other")
    page.bind("#a", visible="On")
    page.bind("#b", other, visible="On")
    document.draw()
    other.add(Light.On)
    assert document.draw() == {("#b", "visible", ""): True}
    machine.add(Light.On)
    assert document.draw() == {("#a", "visible", ""): True}


def test_an_expression_that_raises_is_reported_and_tried_again_when_its_states_tick() -> None:
    machine, document, page = opened(a=1, b=1)
    page.bind("#a", text=lambda m: 1 // m.tick("On"))
    page.bind("#b", visible="On")
    assert document.draw() == {("#b", "visible", ""): False}
    assert len(document.reports) == 1
    assert document.reports[0].startswith("#a text: ")
    assert "ZeroDivisionError" in document.reports[0]
    machine.add(Light.On)
    assert document.draw() == {("#a", "text", ""): "1", ("#b", "visible", ""): True}


@pytest.mark.parametrize(
    "slip",
    [
        lambda m: m.is_("On", "Blnk"),
        lambda m: m.any_("On", "Blnk"),
        lambda m: "Blnk" in m,
        lambda m: m.tick("Blnk"),
        lambda m: m.count("Blnk"),
    ],
)
def test_a_misspelt_state_in_an_expression_is_told_once_with_the_name_that_was_meant(
    slip: Callable[[Source], object],
) -> None:
    machine, document, page = opened(a=1)
    page.bind("#a", text=slip)
    for _ in range(3):
        document.draw()
        machine.add(Light.Blink)
    (report,) = document.reports
    assert "StateMissing" in report
    assert "Blink" in report.splitlines()[-1]


def test_an_error_is_told_again_when_it_is_another_one_or_was_gone() -> None:
    machine, document, page = opened(a=1)
    faults: list[Exception | None] = [ValueError("a"), ValueError("a"), ValueError("b"), None, ValueError("b")]

    def faulty(m: Source) -> str:
        fault = faults[m.count("Blink")]
        if fault:
            raise fault
        return "well"

    page.bind("#a", text=faulty)
    for _ in faults:
        document.draw()
        machine.add(Light.Blink)
    assert [report.splitlines()[-1] for report in document.reports] == [
        "ValueError: a",
        "ValueError: b",
        "ValueError: b",
    ]


def test_closing_ends_a_binding_and_the_last_one_the_watch() -> None:
    machine, document, page = opened(a=1, b=1)
    first = page.bind("#a", visible="On", cls={"on": "On"})
    second = page.bind("#b", visible="Off")
    document.draw()
    assert [type(tracer) for tracer in machine.tracers] == [Source]
    first.close()
    first.close()
    assert len(document.defined) == 1
    machine.add(Light.On)
    assert document.draw() == {}
    second.close()
    assert not machine.tracers
    assert not document.defined


def test_bindings_of_elements_that_left_the_document_end() -> None:
    machine, document, page = opened(a=1)
    page.bind("#a", visible="On")
    document.draw()
    (number,) = document.defined
    assert document.draw(ended=(number,)) == {}
    assert not machine.tracers


def test_many_mounts_leave_nothing_behind() -> None:
    machine, document, page = opened(a=1)
    for _ in range(1000):
        handle = page.bind("#a", visible="On", text=lambda m: m.tick("Blink"))
        document.draw()
        handle.close()
    assert not document.defined
    assert not machine.tracers
    assert len(page._bindings) == 0
    assert not page._sources


def test_a_disposed_machine_shows_nothing_active() -> None:
    machine, document, page = opened(a=1)
    page.bind("#a", visible="On")
    machine.add(Light.On)
    document.draw()
    machine.dispose()
    assert document.asks()
    assert document.draw() == {("#a", "visible", ""): False}


def test_closing_the_page_ends_all() -> None:
    machine, document, page = opened(a=1)
    page.bind("#a", visible="On")
    page.on("click", "#a", "On")
    document.draw()
    page.close()
    assert document.closed
    assert not machine.tracers


def test_mistakes_are_refused_at_once_and_leave_nothing() -> None:
    machine, document, page = opened(a=1)
    with pytest.raises(BindingError, match="no element matches '#nowhere'"):
        page.bind("#nowhere", visible="On")
    document.elements["a["] = -2
    for refused in (
        partial(page.bind, visible="On"),
        partial(page.each, rows=lambda m: [], template="<li></li>"),
        partial(page.fill, row=lambda m: None, template="<li></li>"),
        partial(page.form, state="On"),
    ):
        with pytest.raises(BindingError, match=r"'#a\[' is no selector"):
            refused("#a[")
    with pytest.raises(am.StateMissing):
        page.bind("#a", visible="On", cls={"on": "Onn"})
    with pytest.raises(BindingError, match="say what to show"):
        page.bind("#a", text="On")  # type: ignore[arg-type]
    for unnamed in ("On", lambda m: m.is_("On")):
        with pytest.raises(BindingError, match="what to show of '#a' has no name"):
            page.bind("#a", unnamed)  # type: ignore[arg-type]
    with pytest.raises(BindingError, match="'on off' is not one class"):
        page.bind("#a", cls={"on off": "On"})
    with pytest.raises(BindingError, match=r"use page\.on\('click'"):
        page.bind("#a", attr={"onclick": "On"})
    with pytest.raises(BindingError, match="no machine to bind to"):
        Page(surface=FakeDocument(a=1).open).bind("#a", visible="On")
    assert not document.defined
    assert document.draw() == {}
    assert not machine.tracers


@pytest.mark.parametrize(
    ("bind", "why"),
    [
        (lambda page: page.bind("#a", text=7), "7 is a value; write lambda m: …, or page.value(…)"),
        (lambda page: page.bind("#a", visible=True), "True is a value"),
        (lambda page: page.bind("#a", cls={"on": False}), "False is a value"),
        (lambda page: page.bind("#a", attr={"title": None}), "None is a value"),
        (lambda page: page.bind("#a", checked=True), "True is a value"),
        (lambda page: page.each("#a", [{"id": 1}] * 99, "<li>{id}</li>"), "[{'id': 1}, {'id': 1}, {'id': 1}, "),
        (lambda page: page.fill("#a", {"id": 1}, "<li>{id}</li>"), "{'id': 1} is a value"),
        (lambda page: page.bind("#a", text=lambda: "x"), "an expression is called with the machine alone (too many"),
        (lambda page: page.bind("#a", text=lambda m, n: "x"), "(missing a required argument: 'n'); write lambda m: …"),
        (
            lambda page: page.bind("#a", text=lambda m, *, n: "x"),
            "(missing a required argument: 'n'); write lambda m: …",
        ),
        (lambda page: page.bind("#a", text=page.value("x").get), "an expression is called with the machine alone"),
    ],
    ids=["text", "visible", "class", "attribute", "checked", "rows", "row", "no argument", "two", "keyword", "method"],
)
def test_a_forgotten_lambda_is_refused_where_it_is_bound(bind: Callable[[Any], object], why: str) -> None:
    """Also without a machine, which a value needs as little."""
    for machine in (am.Machine(Light), None):
        document = FakeDocument(a=1)
        with pytest.raises(BindingError) as refused:
            bind(Page(machine, surface=document.open))
        assert why in str(refused.value)
        assert len(str(refused.value)) < 200
        assert not document.defined


def test_what_is_called_with_one_argument_is_an_expression() -> None:
    _, document, page = opened(a=1)
    expressions: dict[str, Any] = {
        "default": lambda m, n=1: m.tick("On") + n,
        "all": lambda *m: len(m),
        "partial": partial(lambda n, m: m.tick("On") + n, 2),
        "class": bool,
        "built-in": callable,
    }
    page.bind("#a", attr=expressions)
    shown = {name: value for (_, _, name), value in document.draw().items()}
    assert shown == {"default": "1", "all": "1", "partial": "2", "class": True, "built-in": False}


# Lists


def test_rows_are_sent_as_key_and_hole_values() -> None:
    _, document, page = opened(jobs=1)
    jobs = page.value([{"id": 7, "name": "<b>", "seconds": 0.25, "done": True, "note": None}])
    page.each("#jobs", jobs, '<li ?hidden="{done}">{name} {seconds:.1f}s {note}</li>')
    assert document.draw() == {
        ("#jobs", "list", '["<li ?hidden=\\"", "\\">", " ", "s ", "</li>"]'): [["7", True, "<b>", "0.2", None]]
    }
    jobs.set([dict(jobs.get()[0])])
    assert document.draw() == {}


def test_rows_follow_states() -> None:
    machine, document, page = opened(jobs=1)
    page.each("#jobs", lambda m: [{"id": name} for name in m.active_states()], "<li>{id}</li>")
    assert list(document.draw().values()) == [[]]
    machine.add(Light.On)
    assert list(document.draw().values()) == [[["On", "On"]]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": 1}], "a row has no 'name'; it has id"),
        ([{"id": 1, "name": ""}, {"id": 1, "name": ""}], "two rows have the same 'id'"),
        ([{"id": 1, "name": b"x"}], "a bytes has no text of its own"),
    ],
)
def test_rows_that_cannot_be_shown_are_reported(rows: list[dict[str, object]], message: str) -> None:
    _, document, page = opened(jobs=1)
    page.each("#jobs", page.value(rows), "<li>{name}</li>")
    assert document.draw() == {}
    assert message in document.reports[0]


def test_templates_take_plain_names_only() -> None:
    assert Template.parse("a{{b}}{c}") == Template(("a{b}", ""), (("c", ""),))
    with pytest.raises(BindingError, match="must be a plain name"):
        Template.parse("{a.b}")
    with pytest.raises(BindingError, match="must be a plain name"):
        Template.parse("{}")


@pytest.mark.parametrize(
    "template",
    [
        "<li onclick='{x}'>",
        '<li class="a > b" ONCLICK = "go({id}, {x})">',
        "<p></p><svg/onload={x}>",
        '<li ?onclick="{x}">',
        '<li\n  @click="{x}">',
        "<li .innerHTML='{x}'>",
        "<li a={id} .value={x}>",
    ],
)
def test_templates_have_no_holes_in_code_and_properties(template: str) -> None:
    with pytest.raises(BindingError, match=r"a hole of a template in (\?|@|\.)?\w+ would be (code|a property); use"):
        Template.parse(template)


@pytest.mark.parametrize(
    "template",
    [
        '<li onclick="go()" class="a {x}" ?hidden="{y}" data-on="{x}" icon={x}>{x}</li>',
        "<p title='{x} onclick='>onclick={x} .a={x}</p>",
        "<p>a < b: onclick={x}</p>",
    ],
)
def test_templates_have_holes_in_attributes_and_texts(template: str) -> None:
    assert Template.parse(template).holes


# Events


def test_events_add_states_and_call_handlers() -> None:
    machine, document, page = opened()
    seen: list[tuple[str, dict[str, str]]] = []
    page.on("click", "#on", "On")
    handle = page.on("submit", "form", lambda event: seen.append((event.type, event.form)))
    assert sorted(document.listening.values()) == [("click", "#on", False), ("submit", "form", True)]
    document.fire("click", "#on")
    assert Light.On in machine
    document.fire("submit", "form", form={"name": "Ada"})
    assert seen == [("submit", {"name": "Ada"})]
    handle.close()
    handle.close()
    document.fire("submit", "form", form={"name": "Bob"})
    assert len(seen) == 1


def test_an_event_gives_its_state_arguments() -> None:
    machine, document, page = opened()
    got: list[object] = []
    machine.bind({"OnState": lambda e: got.append(e.raw_args)})
    page.on("click", "#on", "On", args=lambda event: {"item": event.data["item"], "size": event.form["size"]})
    document.fire("click", "#on", data={"item": "tea"}, form=[["size", "large"]])
    assert got == [{"item": "tea", "size": "large"}]
    document.fire("click", "#on", data={})
    assert "KeyError: 'item'" in document.reports[0]
    with pytest.raises(BindingError, match="args are those of a state"):
        page.on("click", "#on", lambda _: None, args=lambda _: None)


def test_a_handler_that_raises_is_reported() -> None:
    _, document, page = opened()

    def broken(_: object) -> None:
        raise RuntimeError("no")

    page.on("click", "#a", broken)
    document.fire("click", "#a")
    assert "click #a: " in document.reports[0]
    assert "RuntimeError: no" in document.reports[0]


async def test_async_handlers_run_as_tasks() -> None:
    machine, document, page = opened()

    async def later(_: object) -> None:
        await machine.when(Light.On)
        raise RuntimeError("after On")

    page.on("click", "#a", later)
    document.fire("click", "#a")
    (task,) = page._tasks
    machine.add(Light.On)
    await task
    assert "RuntimeError: after On" in document.reports[0]
    assert not page._tasks
