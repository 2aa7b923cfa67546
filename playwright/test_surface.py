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
    ) == [True, [[1, "click", {"name": "go"}, {}], [2, "submit", {}, {"n": "1"}]]]


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
