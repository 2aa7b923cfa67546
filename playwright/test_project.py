"""How a project of `am new app` is served, what its command refuses, and how fields look in its page."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from asyncmachine_web.build import static_folder
from tests.docs.pages import ROOT, blocks
from tests.ports import free_port
from tests.web.browser import Mishaps
from tests.web.looks import check_looks
from tests.web.projects import NAME, PATIENCE, Running, chosen, opened, proxy, refusing
from tests.web.test_served import SERVE


def test_where_nobody_chose_a_port_another_one_is_taken_and_told(project: Path) -> None:
    with ExitStack() as stack:
        with suppress(OSError):  # it may be busy already
            stack.enter_context(socket.create_server(("127.0.0.1", 8000)))
        moved = Running(project, port=None)
    moved.stop()
    assert moved.said.startswith("port 8000 is busy; listening on ")
    assert "an earlier one may still run" in moved.said
    assert moved.port != 8000


def test_a_port_that_was_chosen_is_that_one_or_none(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert refusing(project, port).startswith(f"port {port} of 127.0.0.1 is busy: end what listens there")
    for wrong in ("abc", "-1", "65536"):
        assert refusing(project, wrong) == f"PORT={wrong} is no port: give a number from 0 (any free one) to 65535"


def test_a_file_that_is_no_python_is_told_with_its_line_before_anything_is_served(project: Path) -> None:
    code = project / NAME / "page.py"
    code.write_text(code.read_text() + "\nif Page\n")
    line = code.read_text().count("\n")
    assert refusing(project).startswith(f"{NAME}/page.py:{line}: SyntaxError: expected ':'")


@pytest.mark.parametrize(
    ("file", "right", "wrong", "told"),
    [
        ("states.py", "require=Open", 'require="Opne"', "state 'Sign': require names unknown state 'Opne'"),
        ("backend.py", "def SignEnter", "def SingEnter", "SingEnter looks like a handler, but the schema has no state"),
    ],
)
def test_a_mistake_in_the_states_is_told_with_where_they_are_used(
    project: Path, file: str, right: str, wrong: str, told: str
) -> None:
    code = project / NAME / file
    text = code.read_text()
    assert right in text
    code.write_text(text.replace(right, wrong, 1))
    command, environment = [sys.executable, "-m", NAME], chosen(0)
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert told in done.stderr.splitlines()[-1]
    where = rf'{NAME}/backend\.py", line \d+, in __init__\n +self\.machine = am\.Machine\(Guests,'
    assert re.search(where, done.stderr)


def test_localhost_is_an_address_of_it_too(page: Page, running: Running, mishaps: Mishaps) -> None:
    mishaps._own = f"http://localhost:{running.port}"
    opened(page, f"{mishaps._own}/")
    expect(page.locator("#link")).to_have_text("live")


def test_a_page_below_a_mount_finds_its_relay(page: Page, project: Path, mishaps: Mishaps) -> None:
    code = project / NAME / "backend.py"
    text = code.read_text()
    code.write_text(text.replace("Relay([site],", 'Relay([("/apps/guests/", site)],', 1))
    running = Running(project)
    mishaps._own = running.address.rstrip("/")
    try:
        opened(page, f"{running.address}apps/guests/")
        expect(page.locator("#link")).to_have_text("live")
        page.locator("#name").fill("Ada")
        page.keyboard.press("Enter")
        expect(page.locator("#names li")).to_have_text(["Ada"])
    finally:
        running.stop()


def test_the_manuals_server_serves_behind_a_proxy_that_cuts_a_prefix_off(
    page: Page, project: Path, mishaps: Mishaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/server.md; the real nginx is in test_behind_nginx.py."""
    (project / NAME / "serve.py").write_text(SERVE)
    port = free_port()
    with proxy(port, "/apps/guests/") as front:
        mishaps._own = f"http://127.0.0.1:{front}"
        monkeypatch.setenv("ORIGIN", mishaps._own)
        serving = Running(project, port, module=f"{NAME}.serve")
        try:
            opened(page, f"{mishaps._own}/apps/guests/")
            expect(page.locator("#link")).to_have_text("live")
            page.locator("#name").fill("Ada")
            page.keyboard.press("Enter")
            expect(page.locator("#names li")).to_have_text(["Ada"])
            page.goto("about:blank")
        finally:
            serving.stop()
    assert serving.process.returncode == 0


MANUAL = list(blocks((ROOT / "docs" / "pages.md").read_text(encoding="utf-8")))
OWN, SCRIPTED = [
    block.code for block in MANUAL if block.info == "html" and block.code.startswith("<!-- page/index.html")
]
(CONFIGURATION,) = [block.code for block in MANUAL if block.info == "json"]
PHASES = """
    window.phases = [];
    addEventListener("asyncmachine:boot", ({ detail }) => phases.push(detail));
"""


@pytest.mark.parametrize("scripted", [False, True], ids=["page.mjs", "PyScript"])
def test_the_manuals_page_of_ones_own_starts_python(
    page: Page, project: Path, mishaps: Mishaps, scripted: bool
) -> None:
    """docs/pages.md: HTML of a few lines, and what takes its place for PyScript."""
    html = OWN.replace("my_app", NAME)
    (project / NAME / "page.py").write_text("import js\n\ndef main():\n    js.document.title = 'Open'\n")
    if scripted:
        html = html.replace('<script type="module" src="__release__/page.mjs"></script>', SCRIPTED)
        html = html.replace(f'"main": "{NAME}.page:main", ', "")
        (project / "page" / "pyscript.json").write_text(CONFIGURATION)
        (project / "page" / "main.py").write_text(f"from {NAME}.page import main\n\nmain()\n")
        command = project / NAME / "__main__.py"
        text = command.read_text()
        command.write_text(text.replace('Backend(ROOT / "dist", ', 'Backend(ROOT / "dist", csp={"/": "pyscript"}, ', 1))
    (project / "page" / "index.html").write_text(html)
    running = Running(project)
    mishaps._own = running.address.rstrip("/")
    mishaps.expect("404")  # Chromium looks for an icon
    page.add_init_script(PHASES)
    try:
        page.goto(running.address)
        expect(page).to_have_title("Open")
        expect(page.locator("[data-offline]")).to_be_visible()
        expect(page.locator("[data-boot]").filter(visible=True)).to_have_count(0)
        told = page.evaluate("phases")
        assert [detail["phase"] for detail in told] == re.findall(r"`([a-zP ]+)`", PHASE)[:4]
        assert [detail.get("snapshot") for detail in told] == [None, "USED", None, None]
    finally:
        running.stop()


(PHASE,) = re.findall(r"^\| `phase` \|(.*)$", (ROOT / "docs" / "pages.md").read_text(), re.MULTILINE)


def test_the_manual_has_every_phase_and_code_of_a_boot() -> None:
    boot, page, runtime, snapshot = (
        (static_folder() / f"{name}.mjs").read_text() for name in ("boot", "page", "runtime", "snapshot")
    )
    (phases,) = re.findall(r"@typedef \{(.*)\} Phase", boot)
    assert re.findall(r"`([a-zP ]+)`", PHASE) == re.findall(r'"([^"]+)"', phases)
    manual = (ROOT / "docs" / "pages.md").read_text()
    (why,) = re.findall(r"^\| `snapshot` \| with (.*)$", manual, re.MULTILINE)
    reasons = {"OFF", "USED", *re.findall(r'NoSnapshot\("(\w+)"\)', boot + runtime + snapshot), "UNFIT"}
    assert set(re.findall(r"`([A-Z]+)`", why)) == reasons
    (codes,) = re.findall(r"^\| `code`, `message` \|(.*)$", manual, re.MULTILINE)
    (told,) = re.findall(r"`code` is ([A-Z, or]+),", boot)
    assert set(re.findall(r"`([A-Z]+)`", codes)) == {
        *re.findall(r"[A-Z]+", told),
        *re.findall(r'code: "([A-Z]+)"', page),
    }


FIELDS = """
<section aria-labelledby="order-title"><h2 id="order-title">Order</h2><form id="order">
  <label for="who">For whom</label><input id="who" name="who" placeholder="A name" required>
  <label for="kind">Kind</label>
  <select id="kind"><option>Tea</option><option>A name that is too long</option></select>
  <label for="some">Several</label><select id="some" multiple><option>One</option><option>Two</option></select>
  <label for="note">Note</label><textarea id="note">Some words</textarea>
  <label id="gift"><input type="checkbox" checked> It is a gift, in words that have to wrap on a telephone</label>
  <label><input type="checkbox"> At once</label>
  <fieldset><legend>Size</legend><label><input type="radio" name="size" checked> Small</label></fieldset>
  <label for="file">Picture</label><input id="file" type="file">
  <p class="row"><label>Search <input id="search"></label> <button type="button">Go</button></p>
  <button>Order</button><p data-message role="status">This is not possible now.</p></form>
  <p>Price: <b id="price" data-stale>3.50</b> <span id="none" data-stale></span></p>
  <ul data-stale><li>One tea</li><li>Two coffees</li></ul><ul id="empty" data-stale></ul><ol><li>First</li></ol>
  <label for="draft">Draft</label><input id="draft" value="old" data-stale>
  <h2 id="more">More</h2><p id="on" class="badge on">Open</p><p id="old" class="badge on" data-stale>Busy</p>
  <button id="close">Close</button><form><label id="next">Next <input></label><button>Send</button></form>
  <progress id="bar" max="1" value="0.5" aria-label="Done"></progress><button id="stop">Stop</button>
</section>
"""


def test_fields_of_every_kind_fit_and_can_be_read(page: Page, project: Path) -> None:
    """A form that somebody writes has labels with room, fields of one look, and no box around what is stale."""
    html = (project / "page" / "index.html").read_text()
    style = (project / "page" / "style.css").read_text()
    html = html.replace('<link rel="stylesheet" href="style.css">', f"<style>{style}</style>")
    page.set_content(html.replace("</main>", f"{FIELDS}</main>").replace('<script type="module"', '<script type="no"'))
    check_looks(page)

    def style_of(selector: str, name: str) -> str:
        return str(page.locator(selector).evaluate("(each, name) => getComputedStyle(each)[name]", name))

    def box(selector: str) -> dict[str, float]:
        return dict(page.locator(selector).evaluate("(each) => each.getBoundingClientRect().toJSON()"))

    wide = box("#order")["width"]
    for field in ("#who", "#kind", "#some", "#note", "#file"):
        assert box(field)["width"] == wide, field
        assert style_of(field, "borderRadius") == style_of("#order > button", "borderRadius"), field
    for before, label in (("#who", "kind"), ("#kind", "some"), ("#some", "note"), ("#file", "draft")):
        assert box(f"label[for={label}]")["y"] - box(before)["bottom"] >= 8, label
    box_to_tick = box("#gift input")
    assert box_to_tick["width"] == box_to_tick["height"] <= 24
    assert box_to_tick["y"] >= box("#gift")["y"]
    for stale in ("#price", "#none", "#empty"):
        assert style_of(stale, "borderTopWidth") == "0px", stale
        assert style_of(stale, "color") == style_of(".where >> nth=0", "color")
    assert style_of("#draft", "borderTopStyle") == "dashed"
    assert style_of("ul[data-stale] >> nth=0", "listStyleType") == "none"
    assert box("[type=radio]")["width"] == box("[type=radio]")["height"]
    assert box("#order .row label")["bottom"] == box("#order .row button")["bottom"]
    assert style_of("#search", "fontWeight") == style_of("#who", "fontWeight") == "400"
    assert style_of("#search >> xpath=..", "fontWeight") == "600"
    assert style_of("#on", "color") != style_of("#old", "color") == style_of(".where >> nth=0", "color")
    assert box("#bar")["width"] == wide
    own = [("#order .row", "#order > button"), ("#file", "#search >> xpath=.."), ("#draft", "#more")]
    for above, below in [*own, ("#old", "#close"), ("#close", "#next"), ("#next + button", "#bar"), ("#bar", "#stop")]:
        assert box(below)["y"] - box(above)["bottom"] >= 8, below
