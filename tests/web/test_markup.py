"""Text of strangers stays text: where a template may have holes, and which addresses are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmachine_web.page.bindings import BindingError, Html, Template, as_value_of
from asyncmachine_web.page.markup import is_harmless


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ('<button onclick="{x}">', "would be code"),
        ('<button @click="{x}">', "would be code"),
        ('<p .innerHTML="{x}">', "would be a property"),
        ('<iframe srcdoc="{x}">', "would be a page of its own"),
        ("<iframe SRCDOC='<b>{x}'>", "would be a page of its own"),
        ("<script>let x = '{x}'</script>", "<script> would be code"),
        ("<style>p {{ color: {x} }}</style>", "<style> would be code"),
        ("<SCRIPT src=a>{x}", "<script> would be code"),
        ("<{x}>", "the name of an element"),
        ("<p></{x}>", "the name of an element"),
        ("<p {x}>", "for a text, or for the value"),
        ('<p data-{x}="1">', "for a text, or for the value"),
        ('<p a="1" {x}="2">', "for a text, or for the value"),
        ('<animate attributeName="href" values="#a;{x}">', "values would be an address"),
        ("<SET to={x} AttributeName=' xlink:HREF '>", "to would be an address"),
        ('<animate from="{x}" attributeName="a:href">', "from would be an address"),
        ('<set attributeName="{x}" to="javascript:a">', "attributeName would be an address"),
        ('<animate attributeName="c{x}" by="{x}">', "would be an address"),
    ],
)
def test_a_hole_where_text_would_be_more_than_that_is_refused(template: str, told: str) -> None:
    with pytest.raises(BindingError, match=told):
        Template.parse(template)


@pytest.mark.parametrize(
    "template",
    [
        '<li class="job {x}" ?hidden="{x}">{x}: <b>{x}</b></li>',
        "<script src=a.js></script><p>{x}</p>",
        "<style>p {{ color: red }}</style><p title={x}>{x}",
        '<a href="/orders/{x}">{x}</a>',
        '<animate attributeName="cx" values="0;{x}" dur="{x}s"/>',
        '<animate attributeName="href" values="#a;#b" dur="{x}s"/>',
        '<mail-line from="{x}" to="{x}" attributeName="href">',
        '<set-up to="{x}" attributeName="href">',
    ],
)
def test_a_hole_in_a_text_or_a_value_is_taken(template: str) -> None:
    assert Template.parse(template).rows([{"id": 1, "x": "y"}], "id")


CODE = [
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "\x01 \tjava\nscript:alert(1)",
    "vbscript:x",
    "data:text/html,<script>alert(1)</script>",
    "DATA:text/html;base64,x",
    "data:,x",
    "view-source:x",
]
PLAIN = [
    "",
    "/orders/7",
    "orders?at=12:30",
    "#part:2",
    "//cdn.example/x.png",
    "https://app.example/?q=javascript:",
    "mailto:ada@app.example",
    "tel:+123",
    "blob:https://app.example/1",
    "data:image/png;base64,x",
    "./javascript:x",
]


@pytest.mark.parametrize("address", CODE)
def test_an_address_that_may_be_code_is_left_out(address: str) -> None:
    assert not is_harmless(address)
    assert as_value_of("href", address) is None
    assert as_value_of("xlink:HREF", address) is None
    assert as_value_of("values", f"/a;{address}") is as_value_of("to", address) is None
    assert as_value_of("title", address) == address
    found = Template.parse('<li class="{c}"><a href="{url}">{url}</a>').rows(
        [{"id": 1, "c": "c", "url": address}], "id"
    )
    assert found == [["1", "c", "", address]]


@pytest.mark.parametrize("address", PLAIN)
def test_a_plain_address_is_shown(address: str) -> None:
    assert as_value_of("src", address) == address
    found = Template.parse("<img alt={alt} src={url}>").rows([{"id": 1, "alt": "a", "url": address}], "id")
    assert found == [["1", "a", address]]


def test_an_address_of_several_parts_is_looked_at_as_a_whole() -> None:
    template = Template.parse('<a href="{a}{b}">{a}</a> <a href="/x/{b}">')
    row = {"id": 1, "a": "java", "b": "script:alert(1)"}
    assert template.rows([row], "id") == [["1", "", "", "java", "script:alert(1)"]]


def test_html_that_is_marked_is_no_way_around() -> None:
    found = Template.parse("<a href={url}>").rows([{"id": 1, "url": Html("javascript:x")}], "id")
    assert found == [["1", ""]]


def test_html_that_is_marked_is_text_in_an_attribute() -> None:
    row = {"id": 1, "x": Html("<b>&amp;</b>")}
    found = Template.parse('<p title="a {x}" class={x}>{x}</p>').rows([row], "id")
    assert found == [["1", "<b>&amp;</b>", "<b>&amp;</b>", {"html": "<b>&amp;</b>"}]]


@given(st.text(), st.sampled_from(["javascript", "data", "vbscript"]))
def test_blanks_and_breaks_hide_no_scheme(rest: str, scheme: str) -> None:
    broken = "\n".join(scheme)
    assert not is_harmless(f" \x00\t{broken}:,{rest}")


@pytest.mark.parametrize(
    ("template", "given"),
    [
        ('<b disabled="{x}">', '<b ?disabled="\0">'),
        ("<b class=a HIDDEN={x}>", "<b class=a ?HIDDEN=\0>"),
        ('<b ?hidden="{x}">', '<b ?hidden="\0">'),
        ('<b hidden="a {x}">', '<b hidden="a \0">'),
        ('<b data-open="{x}">open="{x}"</b>', '<b data-open="\0">open="\0"</b>'),
        ('<b style="width:{x}%;top:{x}px">', '<b .style="width:\0%;top:\0px">'),
        ('<b style="color:red" title="{x}">', '<b style="color:red" title="\0">'),
    ],
    ids=["boolean", "unquoted", "by hand", "part", "other", "style", "style without a hole"],
)
def test_what_is_there_or_not_and_style_are_bound_as_such(template: str, given: str) -> None:
    assert "\0".join(Template.parse(template).strings) == given
