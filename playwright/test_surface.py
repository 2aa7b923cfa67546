"""The modules of the page by themselves, in real Chromium without Python: bindings and the tab's secrets."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.web.browser import Mishaps

OPEN = """
async () => {
    const { open } = await import("/ui.mjs");
    window.sent = [];
    window.events = [];
    window.gone = [];
    window.flushes = 0;
    const flush = (ended) => {
        flushes++;
        gone.push(...JSON.parse(ended));
        return JSON.stringify(sent.splice(0));
    };
    window.ui = open(flush, (id, event) => events.push([id, JSON.parse(event)]));
    window.show = async (...changes) => {
        sent.push(...changes);
        ui.frame();
        await new Promise(requestAnimationFrame);
        await new Promise(requestAnimationFrame);
    };
}
"""


@pytest.fixture
def ui(page: Page) -> Page:
    """A page with `ui`, and `show(…)` to draw a frame."""
    page.goto("/pages/blank.html")
    page.evaluate(OPEN)
    return page


def tell(ui: Page, body: str) -> Any:
    return ui.evaluate(f"async () => {{ {body} }}")


def test_each_kind_writes_what_it_says(ui: Page) -> None:
    assert tell(
        ui,
        """
        document.body.innerHTML = '<p class="p">x</p><p class="p">y</p>';
        const kinds = [["text", ""], ["class", "on"], ["visible", ""], ["attr", "title"], ["attr", "data-x"]];
        kinds.forEach(([kind, detail], i) => ui.define(i + 1, ".p", kind, detail, 0));
        await show([1, "<b>"], [2, true], [3, false], [4, ""], [5, true]);
        const first = document.body.innerHTML;
        await show([1, {html: "<b>z</b>"}], [2, false], [3, true], [4, null], [5, false]);
        return [first, document.body.innerHTML];
        """,
    ) == [
        '<p class="p on" data-x="" title="" hidden="">&lt;b&gt;</p>' * 2,
        '<p class="p"><b>z</b></p>' * 2,
    ]


def test_only_what_changed_is_written_and_a_frame_is_asked_for_once(ui: Page) -> None:
    assert tell(
        ui,
        """
        document.body.innerHTML = '<p id="p"></p>';
        ui.define(1, "#p", "text", "", 0);
        await show([1, "a"]);
        let writes = 0;
        const written = new MutationObserver((records) => (writes += records.length));
        written.observe(p, { childList: true, characterData: true, subtree: true });
        const before = flushes;
        for (let i = 0; i < 10; i++) ui.frame();
        await show([1, "a"]);
        const same = writes;
        await show([1, "b"]);
        return [same, writes, flushes - before];
        """,
    ) == [0, 1, 2]


def test_a_text_keeps_its_node_and_takes_the_place_of_all_else(ui: Page) -> None:
    assert tell(
        ui,
        """
        document.body.innerHTML = "<p>x</p><p><i>x</i></p><p>x<br>y</p><p><!--x--></p><p></p>";
        const all = [...document.querySelectorAll("p")];
        const node = all[0].firstChild;
        ui.define(1, "p", "text", "", 0);
        await show([1, "a"]);
        return [...all.map((p) => p.innerHTML), all[0].firstChild === node];
        """,
    ) == ["a", "a", "a", "a", "a", True]


def test_a_text_is_never_markup_whatever_it_takes_the_place_of(ui: Page) -> None:
    told = tell(
        ui,
        """
        document.body.innerHTML = "<p>x</p><p><i>x</i></p><p>x<br>y</p><p><!--x--></p><p></p>";
        ui.define(1, "p", "text", "", 0);
        await show([1, "<b>"]);
        return [...document.querySelectorAll("p")].map((each) => [each.textContent, each.children.length]);
        """,
    )
    assert told == [["<b>", 0]] * 5


def test_rows_keep_their_elements_by_key(ui: Page) -> None:
    assert tell(
        ui,
        """
        document.body.innerHTML = '<ul id="l"></ul>';
        ui.define(1, "#l", "list", JSON.stringify(["<li title=", ">", "</li>"]), 0);
        await show([1, [["a", "1", "<i>"], ["b", "2", {html: "<i>y</i>"}]]]);
        const [a, b] = l.children;
        await show([1, [["b", "3", "z"], ["a", "1", "<i>"]]]);
        return [l.children[0] === b, l.children[1] === a, b.title, b.textContent, a.innerText];
        """,
    ) == [True, True, "3", "z", "<i>"]


def test_rows_in_a_picture_are_parts_of_it(ui: Page) -> None:
    """As HTML elements they would not be drawn. Within a `foreignObject` of one stands HTML again."""
    assert tell(
        ui,
        """
        document.body.innerHTML = `<svg width="100" height="100"><g id="l"></g>
            <foreignObject width="9" height="9" id="h"></foreignObject></svg>`;
        ui.define(1, "#l", "list", JSON.stringify(["<circle cx=", ' cy="9" r="4"><title>', "</title></circle>"]), 0);
        ui.define(2, "#h", "list", JSON.stringify(["<p>", "</p>"]), 0);
        await show([1, [["a", "10", "one"], ["b", "20", "two"]]], [2, [["a", "x"]]]);
        const [a, b] = l.children;
        await show([1, [["b", "30", "two"], ["a", "10", "one"]]]);
        return [
            l.children[0] === b, [...l.children].map((each) => each.cx.baseVal.value), b.textContent,
            document.elementFromPoint(b.getBoundingClientRect().x + 4, b.getBoundingClientRect().y + 4) === b,
            h.firstElementChild instanceof HTMLElement,
        ];
        """,
    ) == [True, [30, 10], "two", True, True]


def test_what_is_no_selector_is_told_and_binds_nothing(ui: Page) -> None:
    assert tell(
        ui,
        """
        document.body.innerHTML = '<p id="a"></p>';
        const told = [ui.define(1, "#a[", "text", "", 0), ui.listen(2, "click", "#a[", false)];
        ui.drop(1);
        ui.define(3, "#a", "text", "", 0);
        await show([1, "x"], [3, "y"]);
        return [...told, a.textContent, gone];
        """,
    ) == [-2, False, "y", []]


def test_bindings_end_with_the_last_of_their_elements(ui: Page) -> None:
    assert tell(
        ui,
        """
        document.body.innerHTML = '<p id="a" class="p"></p><p id="b" class="p"></p><p id="c"></p>';
        ui.define(1, ".p", "text", "", 0);
        ui.define(2, "#c", "text", "", 0);
        await show([1, "x"], [2, "x"]);
        a.remove();
        await show();
        const none = [...gone];
        const left = document.getElementById("b");
        left.remove();
        await show();
        await show([1, "later"], [2, "later"]);
        return [none, gone, left.textContent, c.textContent];
        """,
    ) == [[], [1], "x", "later"]


def test_an_element_that_is_only_moved_stays_bound(ui: Page) -> None:
    assert tell(
        ui,
        """
        document.body.innerHTML = '<p id="a"></p><div id="d"></div>';
        ui.define(1, "#a", "text", "", 0);
        d.append(a);
        await show([1, "x"]);
        return [gone, a.textContent];
        """,
    ) == [[], "x"]


def test_a_dropped_binding_neither_writes_nor_listens(ui: Page) -> None:
    assert tell(
        ui,
        """
        document.body.innerHTML = '<input id="i"><p id="p"></p>';
        ui.define(1, "#i", "value", "", 0);
        ui.listen(1, "input", "#i", false);
        await show([1, "x"]);
        ui.drop(1);
        await show([1, "y"]);
        i.dispatchEvent(new Event("input", { bubbles: true }));
        return [i.value, events.length];
        """,
    ) == ["x", 0]


def test_a_binding_that_fails_is_reported_and_the_others_go_on(ui: Page, mishaps: Mishaps) -> None:
    mishaps.expect("#a attr not one")
    told: list[str] = []
    ui.on("console", lambda message: told.append(message.text))
    assert (
        tell(
            ui,
            """
        document.body.innerHTML = '<p id="a"></p><p id="b"></p>';
        ui.define(1, "#a", "attr", "not one", 0);
        ui.define(2, "#b", "text", "", 0);
        await show([1, "x"], [2, "y"]);
        return b.textContent;
        """,
        )
        == "y"
    )
    assert len(told) == 1


def test_staleness_is_shown_at_everything_under_it(ui: Page) -> None:
    assert tell(
        ui,
        """
        document.body.innerHTML = '<p id="a"></p><p id="b"></p><p id="c"></p>';
        const stale = () => [...document.querySelectorAll("[data-stale]")].map((found) => found.id).join("");
        ui.define(9, "html", "stale", "", 0);
        ui.define(1, "#a", "text", "", 9);
        ui.define(2, "#b", "text", "", 0);
        await show([1, "x"], [2, "x"], [9, true]);
        ui.define(3, "#c", "text", "", 9);
        const during = stale();
        await show([9, false]);
        const after = stale();
        ui.drop(1);
        await show([9, true]);
        return [during, after, stale()];
        """,
    ) == ["ac", "", "c"]


def test_an_element_is_stale_while_anything_that_it_shows_is(ui: Page) -> None:
    """Two mirrors, of which the first stays away."""
    assert tell(
        ui,
        """
        document.body.innerHTML = '<p id="a"></p>';
        const stale = [];
        const note = async (...changes) => { await show(...changes); stale.push(a.hasAttribute("data-stale")); };
        ui.define(8, "html", "stale", "", 0);
        ui.define(9, "html", "stale", "", 0);
        ui.define(1, "#a", "text", "", 8);
        ui.define(2, "#a", "class", "on", 9);
        await note([8, false], [9, false]);
        await note([8, true]);
        await note([9, true]);
        await note([9, false]);
        ui.drop(1);
        await note();
        return stale;
        """,
    ) == [False, True, True, True, False]


def test_an_element_that_is_put_back_is_not_stale_for_what_it_showed_before(ui: Page) -> None:
    assert tell(
        ui,
        """
        document.body.innerHTML = '<p id="a" class="p"></p><p id="b" class="p"></p><p id="c" data-stale></p>';
        ui.define(9, "html", "stale", "", 0);
        ui.define(1, ".p", "text", "", 9);
        ui.define(2, "#c", "text", "", 0);
        await show([9, true]);
        const [first, second] = document.querySelectorAll(".p");
        first.remove();
        await show();
        document.body.append(first);
        const one = [first, second].map((each) => each.hasAttribute("data-stale"));
        second.remove();
        ui.drop(2);
        await show();
        return [one, second.hasAttribute("data-stale"), c.hasAttribute("data-stale")];
        """,
    ) == [[False, True], False, True]


def test_what_a_person_typed_is_known_so_that_it_can_be_put_right(ui: Page) -> None:
    assert tell(
        ui,
        """
        document.body.innerHTML = '<input id="i" type="checkbox">';
        ui.define(1, "#i", "checked", "", 0);
        ui.listen(1, "input", "#i", false);
        await show([1, false]);
        i.click();
        const typed = i.checked;
        await show([1, false]);
        return [typed, i.checked, events.map(([id, event]) => [id, event.checked])];
        """,
    ) == [True, False, [[1, True]]]


def test_events_tell_their_facts_at_the_element_that_was_asked_for(ui: Page) -> None:
    assert tell(
        ui,
        """
        document.body.innerHTML = `<form id="f"><input name="n" value="1"><input type="file" name="x">
            <button data-name="go"><i>go</i></button></form>`;
        let prevented;
        addEventListener("submit", (event) => (prevented = event.defaultPrevented));
        ui.listen(1, "click", "button", false);
        ui.listen(2, "submit", "#f", true);
        document.querySelector("i").click();
        await show();
        return [prevented, events.map(([id, event]) => [id, event.type, event.data, event.form])];
        """,
    ) == [True, [[1, "click", {"name": "go"}, [["n", "1"], ["x", None]]], [2, "submit", {}, [["n", "1"], ["x", None]]]]]


def test_an_element_tells_the_fields_of_the_form_it_belongs_to(ui: Page) -> None:
    """Also one that stands elsewhere, or in a form that has a field named `form`."""
    assert tell(
        ui,
        """
        document.body.innerHTML = `<form id="f"><input name="form" value="1"><p><i>price</i></p>
            <button type="button" name="do" value="quote">Quote</button></form>
            <input id="far" name="far" value="2" form="f"><button id="none">Alone</button>`;
        ui.listen(1, "click", "i, button, #far, #f", false);
        for (const each of ["i", "button", "#far", "#f", "#none"]) document.querySelector(each).click();
        return events.map(([, { form }]) => form);
        """,
    ) == [*[[["form", "1"], ["far", "2"]]] * 4, []]


def test_a_form_tells_each_field_of_a_name_and_the_button_that_sent_it(ui: Page) -> None:
    assert tell(
        ui,
        """
        document.body.innerHTML = `<form id="f"><input type="checkbox" name="k" value="a" checked>
            <input type="checkbox" name="k" value="b" checked><input type="checkbox" name="k" value="c">
            <button name="do" value="keep"></button><button id="send" name="do" value="send"></button></form>`;
        ui.listen(1, "submit", "#f", true);
        send.click();
        return events[0][1].form;
        """,
    ) == [["k", "a"], ["k", "b"], ["do", "send"]]


REBIND = """
    document.body.innerHTML = '<button id="b"></button>';
    const { open } = await import("/ui.mjs");
    let [calls, last] = [0, 1];
    const again = open(() => "[]", (id) => {
        if (++calls > 100) throw new Error("for ever");
        ACT
    });
    again.listen(1, "click", "#b", false);
    again.listen(50, "click", "#b", false);
    b.click();
    return [calls, last];
"""


def test_a_handler_may_end_its_listening_and_listen_anew(ui: Page) -> None:
    """As one does that mounts its view again."""
    again = "if (id === 50) return; again.drop(last); again.listen(++last, 'click', '#b', false);"
    assert tell(ui, REBIND.replace("ACT", again)) == [2, 2]


@pytest.mark.parametrize("act", ["again.drop(50);", "again.close();"])
def test_what_a_handler_ends_does_not_hear_of_the_same_event(ui: Page, act: str) -> None:
    assert tell(ui, REBIND.replace("ACT", act)) == [1, 1]


LISTEN = """
    document.body.innerHTML = '<ul id="jobs"></ul><ul id="l"></ul>';
    const told = [];
    const { warn } = console;
    console.warn = (message) => told.push(message);
    MORE
    await new Promise((done) => setTimeout(done, 1100));
    console.warn = warn;
    return told;
"""


def test_listening_where_nothing_matches_is_told_once(ui: Page) -> None:
    """Not where it has come or gone meanwhile, nor where a row will be; an event that comes later is heard."""
    assert tell(
        ui,
        LISTEN.replace(
            "MORE",
            """
            const template = JSON.stringify(['<li><button data-do="buy" class="big ', '">x</button></li>']);
            ui.define(9, "#l", "list", template, 0);
            const listened = ["#togle", "#later", "#ended", "#jobs li b", "#jbos li", "#jobs", "[data-do=buy]",
                "li > button.big", "[data-do=sell]"];
            listened.forEach((selector, number) => ui.listen(number + 1, "click", selector, false));
            ui.listen(20, "input", "#a, #b", false);
            ui.drop(3);
            document.body.insertAdjacentHTML("beforeend", '<p id="later"></p>');
            """,
        ),
    ) == [
        f'page.on("{event}", "{selector}", …): no element matches so far'
        for event, selector in (
            ("click", "#togle"),
            ("click", "#jbos li"),
            ("click", "[data-do=sell]"),
            ("input", "#a, #b"),
        )
    ]
    ui.evaluate("""document.body.insertAdjacentHTML("beforeend", '<p id="togle"></p>'); togle.click()""")
    assert ui.evaluate("events.map(([id]) => id)") == [1]


# What was sent is emptied


FORM = """
    document.body.innerHTML = `<form id="f"><input id="t" name="t" value="was"><input id="o" name="o">
        <input type="checkbox" id="c" name="c"><input type="file" name="file">
        <input type="radio" class="r" name="r" value="x" checked><input type="radio" class="r" name="r" value="y">
        <input type="radio" class="q" name="q" value="x"><input type="radio" class="q" name="q" value="y">
        <select id="s" name="s"><option>1<option>2</select>
        <select id="m" name="m" multiple><option>1<option>2<option>3</select><output>0</output><button></button></form>
        <input type="radio" id="outside" name="r" checked>`;
    const q = [...document.querySelectorAll(".q")];
    const r = [...document.querySelectorAll(".r")];
    const shown = () => [
        t.value, o.value, c.checked, s.value, [...m.selectedOptions].map((option) => option.value).join(""),
        r.findIndex((radio) => radio.checked), q.findIndex((radio) => radio.checked),
    ];
    ui.define(1, "#f", "reset", "", 0);
    t.value = "sent";
    c.checked = true;
    s.value = m.value = "2";
    r[1].checked = q[1].checked = true;
    ui.sending(1);
    const before = shown();
"""


def test_a_form_that_was_sent_is_emptied_and_tells_which_fields_changed(ui: Page) -> None:
    assert tell(
        ui,
        FORM
        + """
        ui.listen(2, "input", "#f", false);
        const told = [];
        f.addEventListener("input", ({ target }) => told.push(target.name));
        await show([1, null]);
        const kept = shown();
        await show([1, "1"]);
        return [before, kept, shown(), told.sort().join(" "), events.every(([id, event]) => event.reset)];
        """,
    ) == [["sent", "", True, "2", "2", 1, 1]] * 2 + [["was", "", False, "1", "", 0, -1], "c m q r r s t", True]


@pytest.mark.parametrize(
    ("change", "place", "stays"),
    [
        ("t.value = 'more'", 0, "more"),
        ("o.value = 'more'", 1, "more"),
        ("c.checked = false; o.value = 'x'", 2, False),
        ("s.value = '1'; o.value = 'x'", 3, "1"),
        ("m.options[2].selected = true", 4, "23"),
        ("q[0].checked = true", 6, 0),
    ],
)
def test_what_was_changed_while_a_form_was_sent_stays(ui: Page, change: str, place: int, stays: object) -> None:
    told = tell(ui, FORM + change + "; await show([1, '1']); return [shown(), outside.checked, f.outerHTML];")
    shown, outside, html = told
    assert shown[place] == stays
    assert outside
    assert " form=" not in html
    emptied = ["was", "", False, "1", "", 0, -1]
    assert [each for i, each in enumerate(shown) if i not in (1, place)] == [
        each for i, each in enumerate(emptied) if i not in (1, place)
    ]


def test_who_types_while_a_form_is_emptied_goes_on_where_they_were(ui: Page) -> None:
    tell(ui, FORM + "t.value = 'abcd'; t.focus(); t.setSelectionRange(1, 2); await show([1, '1']);")
    assert tell(ui, "return [t.value, t.selectionStart, t.selectionEnd, document.activeElement.id];") == [
        "abcd",
        1,
        2,
        "t",
    ]


def test_the_values_of_radios_follow_a_form_that_is_emptied(ui: Page) -> None:
    """Of those without a default none is checked then."""
    assert tell(
        ui,
        FORM
        + """
        ui.define(3, ".r", "value", "", 0);
        ui.listen(3, "input", ".r", false);
        ui.define(4, ".q", "value", "", 0);
        ui.listen(4, "input", ".q", false);
        await show([3, "y"], [4, "y"]);
        await show([1, "1"]);
        const last = (id) => events.findLast(([to]) => to === id)[1].value;
        return [shown().slice(-2), last(3), last(4)];
        """,
    ) == [[0, -1], "x", ""]


def test_a_form_that_nobody_sent_is_not_emptied(ui: Page) -> None:
    """Nor a field that came into one after it was sent."""
    assert tell(
        ui,
        FORM
        + """
        document.body.insertAdjacentHTML("beforeend", '<form id="g"><input id="u" value="was"></form>');
        u.value = "typed";
        ui.define(2, "#g", "reset", "", 0);
        const late = f.appendChild(document.createElement("input"));
        late.value = "x";
        await show([1, "1"], [2, "1"]);
        return [t.value, late.value, u.value];
        """,
    ) == ["was", "x", "typed"]


def test_closing_lets_go_of_everything(ui: Page) -> None:
    assert (
        tell(
            ui,
            """
        const { open } = await import("/ui.mjs");
        let destroyed = 0;
        const function_ = () => Object.assign(() => "[]", { destroy: () => destroyed++ });
        const second = open(function_(), function_());
        second.listen(1, "click", "body", false);
        second.close();
        document.body.click();
        return destroyed;
        """,
        )
        == 2
    )


# The tab's secrets


HELD = """
async (wanted) => {
    for (let tries = 0; ; tries++) {
        const { held } = await navigator.locks.query();
        if (held.length === wanted || tries === 200) return held.length;
        await new Promise(requestAnimationFrame);
    }
}
"""
CLAIM = "async () => { const { claim } = await import('/tab.mjs'); window.tab = await claim(); return tab.secrets; }"


def test_secrets_are_there_after_a_reload_and_not_in_a_copy(page: Page, context: BrowserContext) -> None:
    page.goto("/pages/blank.html")
    assert page.evaluate(CLAIM) == {}
    page.evaluate("tab.keep('mine', 'secret')")
    page.reload()
    assert page.evaluate(CLAIM) == {"mine": "secret"}
    with context.expect_page() as opened:
        page.evaluate("window.open(location.href)")
    copy = opened.value
    copy.wait_for_load_state()
    assert copy.evaluate(CLAIM) == {}
    copy.evaluate("tab.keep('mine', 'other')")
    page.reload()
    assert page.evaluate(CLAIM) == {"mine": "secret"}
    assert page.evaluate("[tab.secret('mine'), tab.secret('nobody')]") == ["secret", ""]


def test_a_page_that_was_left_lets_its_name_go_and_takes_it_again(page: Page) -> None:
    page.goto("/pages/blank.html")
    page.evaluate(CLAIM)
    assert page.evaluate(HELD, 1) == 1
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    assert page.evaluate(HELD, 0) == 0
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    assert page.evaluate(HELD, 1) == 1
