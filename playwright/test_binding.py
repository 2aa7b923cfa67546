"""Bindings in a real page: many of them, for long, with fields, with mistakes, and with values of every kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import CDPSession, Page, expect

from tests.web.browser import Mishaps, run
from tests.web.looks import A_SECOND

PREPARE = """
import gc, js, sys
from pyodide.ffi import create_once_callable
from asyncmachine_web.page.ui import Html, Page, progress
from asyncmachine_web.page.reads import Source

States = {"On": {}, "Hit": {"multi": True}, "No": {"require": ["On"]}} | {f"S{i}": {} for i in range(1000)}
machine = am.Machine(States, id="bound")
page = Page(machine)

def body(html):
    js.document.body.innerHTML = html

async def frame():
    for _ in range(2):
        drawn = asyncio.get_running_loop().create_future()
        js.requestAnimationFrame(create_once_callable(lambda _: drawn.set_result(None)))
        await drawn

def texts(selector):
    return [found.textContent for found in js.document.querySelectorAll(selector)]
"""


@pytest.fixture
def bound(shared: Page) -> Iterator[Page]:
    """A page whose Python has a machine of a thousand states and more, and an empty document."""
    run(shared, PREPARE + "\nNone")
    yield shared
    run(shared, "page.close(); machine.dispose(); None")


@pytest.fixture
def cdp(bound: Page) -> CDPSession:
    return bound.context.new_cdp_session(bound)


FLOOD = """
body('<p id="p"></p><ul id="l"></ul>')
draws = 0

def text(m):
    global draws
    draws += 1
    return str(m.count("Hit"))

page.bind("#p", text=text)
page.each("#l", lambda m: [{"id": n, "t": m.tick(n)} for n in ("Hit", "On")], "<li>{t}</li>")

async def flood(changes):
    # One a millisecond; after a pause those that it cost follow at once.
    begin = js.performance.now()
    done = 0
    while done < changes:
        while done < min(changes, js.performance.now() - begin):
            machine.add("Hit")
            done += 1
        await asyncio.sleep(0.002)
    await frame()

None
"""


def heap(cdp: CDPSession) -> tuple[int, int]:
    """Bytes of JavaScript's heap that are in use, and document nodes, after garbage is collected."""
    for _ in range(2):
        cdp.send("HeapProfiler.collectGarbage")
    counters: dict[str, int] = cdp.send("Memory.getDOMCounters")
    used: int = cdp.send("Runtime.getHeapUsage")["usedSize"]
    return used, counters["nodes"]


def test_a_thousand_bindings_follow_a_thousand_states(bound: Page) -> None:
    told = run(
        bound,
        """
        body("".join(f'<p id="s{i}"></p>' for i in range(1000)))
        evaluated = []
        for i in range(1000):
            def text(m, name=f"S{i}"):
                evaluated.append(name)
                return f"{name} {m.tick(name)}"
            page.bind(f"#s{i}", text=text, cls={"on": f"S{i}"})
        await frame()
        told = [texts("p")[999], js.document.querySelectorAll(".on").length]
        machine.add([f"S{i}" for i in range(1000)])
        await frame()
        told += [texts("p")[999], js.document.querySelectorAll(".on").length]
        evaluated.clear()
        machine.remove("S7")
        await frame()
        told += [evaluated, texts("p")[7], js.document.querySelectorAll(".on").length]
        json.dumps(told)
        """,
    )
    assert told == ["S999 0", 0, "S999 1", 1000, ["S7"], "S7 2", 999]


MOUNT = """
    from asyncmachine.rpc.transport.memory import pair

    class Shop(rpc.StateSource):
        Open = am.state()
        Order = am.state(multi=True)

    shop = am.Machine(Shop, id="shop")
    server = rpc.Server(shop, push_interval=0.0)

    async def mount(times):
        for i in range(times):
            body(f'<p id="p"></p><ul id="l"></ul><input id="f"><form id="o"><button>go</button></form>')
            typed = page.value("")
            page.bind("#p", text=lambda m: m.tick("Hit"), cls={"on": "On"}, visible="On")
            page.bind("#f", value=typed)
            form = page.form("#o", "Hit")
            page.each("#l", lambda m: [{"id": n} for n in m.active_states()], "<li>{id}</li>")
            if i % 100 == 99:
                machine.toggle("On")
                await frame()  # the others leave before they are ever drawn
            form.close()
        return await left()

    async def mount_mirrors(times):
        for i in range(times):
            body(f'<p id="p"></p><ul id="l"></ul><form id="o"><button>go</button></form>')
            near, far = pair()
            serving = asyncio.create_task(server.serve(far))
            client = rpc.Client.over(near, Shop, id="shop")
            client.start()
            await client.when_ready()
            shown = page.bind("#p", client, text=lambda m: m.stale, cls={"on": "Open"}, visible="Open")
            page.each("#l", lambda m: [{"id": n} for n in m.active_states()], "<li>{id}</li>", source=client)
            form = page.form("#o", "Order", source=client)
            if i % 10 == 9:
                shop.toggle("Open")
                await frame()
            form.close()
            if i % 2:
                shown.close()
            await client.stop()
            await serving
        return await left()

    async def left():
        body("")
        await frame()
        gc.collect()
        return [len(page._bindings), len(page._handlers), len(page._sources), len(page._ageing), len(machine.tracers),
                len(gc.get_objects())]

    None
"""


@pytest.mark.parametrize(("mount", "warm", "times"), [("mount", 500, 10_000), ("mount_mirrors", 50, 300)])
def test_mounting_and_unmounting_many_times_leaves_nothing(
    bound: Page, cdp: CDPSession, mount: str, warm: int, times: int
) -> None:
    """Also where each shows a mirror of its own, whose client is stopped afterwards."""
    bound.evaluate("python._module.enable_pyproxy_allocation_tracing()")
    run(bound, MOUNT)
    *left, objects = run(bound, f"json.dumps(await {mount}({warm}))")
    assert left == [0, 0, 0, 0, 0]
    used, nodes = heap(cdp)
    proxies = bound.evaluate("python._module.pyproxy_alloc_map.size")
    *left, objects_later = run(bound, f"json.dumps(await {mount}({times}))")
    assert left == [0, 0, 0, 0, 0]
    used_later, nodes_later = heap(cdp)
    assert bound.evaluate("python._module.pyproxy_alloc_map.size") < proxies + 10
    assert objects_later < objects + 500
    assert used_later < used + 1_000_000
    assert nodes_later < nodes + 100


@pytest.mark.parametrize("seconds", [4, pytest.param(60, marks=pytest.mark.nightly)])
def test_a_flood_of_changes_is_drawn_once_a_frame_and_leaves_nothing(
    bound: Page, cdp: CDPSession, seconds: int
) -> None:
    """A thousand changes a second, while the page is seen."""
    run(bound, FLOOD)
    bound.evaluate(COUNT_FRAMES)
    run(bound, "await flood(1000); None")
    used, nodes = heap(cdp)
    draws, frames, shown, wanted = run(
        bound,
        f"""
        draws = js.frames.drawn = 0
        await flood({seconds * 1000})
        json.dumps([draws, js.frames.drawn, texts("#p")[0], str((machine.tick("Hit") + 1) // 2)])
        """,
    )
    bound.evaluate("frames.over = true")
    assert shown == wanted == str(1000 + seconds * 1000)
    assert 0 < draws <= frames + 1
    used_later, nodes_later = heap(cdp)
    assert used_later < used + 500_000
    assert nodes_later < nodes + 50


COUNT_FRAMES = """() => {
    window.frames = { drawn: 0, over: false };
    const next = () => { frames.drawn += 1; if (!frames.over) requestAnimationFrame(next); };
    requestAnimationFrame(next);
}"""


def test_a_hidden_page_catches_up_once(bound: Page) -> None:
    """Nothing is evaluated while nobody looks, and all that changed is one batch on return."""
    run(
        bound,
        """
        body('<p id="p"></p>')
        evaluated = 0
        def text(m):
            global evaluated
            evaluated += 1
            return str(m.count("Hit"))
        page.bind("#p", text=text)
        await frame()
        evaluated = 0
        None
        """,
    )
    # What a hidden page's does: it calls when the page is seen again.
    bound.evaluate(
        "() => { window.drawing = requestAnimationFrame; window.held = []; "
        "window.requestAnimationFrame = (callback) => held.push(callback); }"
    )
    told = run(bound, "for _ in range(5000): machine.add('Hit')\njson.dumps([evaluated, len(page._bindings._touched)])")
    hidden = bound.locator("#p").inner_text()
    bound.evaluate("() => { window.requestAnimationFrame = drawing; held.forEach((each) => drawing(each)); }")
    assert told == [0, 1]
    assert hidden == "0"
    expect(bound.locator("#p")).to_have_text("5000")
    assert run(bound, "json.dumps(evaluated)") == 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2**53 + 1", "9007199254740993"),
        ("float('nan')", "nan"),
        ("None", ""),
        ("'\\ud800\\u2028<b>\\0'", None),
        ("'x' * 3_000_000", None),
    ],
)
def test_values_cross_equal(bound: Page, value: str, shown: str | None) -> None:
    told = run(
        bound,
        f"""
        body('<p id="p"></p>')
        value = {value}
        shown = page.value("before")
        page.bind("#p", text=shown, attr={{"data-x": shown}})
        await frame()
        shown.set(value)
        await frame()
        wanted = "" if value is None else str(value)
        element = js.document.getElementById("p")
        kept = element.getAttribute("data-x") == wanted if element.hasAttribute("data-x") else value is None
        json.dumps([element.textContent == wanted, kept, element.children.length, wanted[:100]])
        """,
    )
    text, attribute, children, wanted = told
    assert (text, attribute, children) == (True, True, 0)
    assert shown is None or wanted == shown


def test_values_without_a_text_are_told_and_disturb_nobody(bound: Page, mishaps: Mishaps) -> None:
    mishaps.expect("a bytes has no text of its own|a set has no text of its own")
    told = run(
        bound,
        """
        body('<p id="a"></p><p id="b"></p><p id="c"></p>')
        page.bind("#a", text=lambda m: b"x")
        page.bind("#b", text=lambda m: {1})
        page.bind("#c", text=lambda m: "fine")
        await frame()
        json.dumps(texts("p"))
        """,
    )
    assert told == ["", "", "fine"]


def test_a_template_that_javascript_cannot_take_disturbs_nobody(bound: Page, mishaps: Mishaps) -> None:
    mishaps.expect("#bad list")
    told = run(
        bound,
        """
        body('<ul id="bad"></ul><ul id="good"></ul><p id="p"></p>')
        page.each("#bad", lambda m: [{"id": m.tick("Hit")}], '<li title="{id}" title="{id}">x</li>')
        page.each("#good", lambda m: [{"id": m.tick("Hit")}], "<li>{id}</li>")
        page.bind("#p", text=lambda m: m.tick("Hit"))
        await frame()
        machine.add("Hit")
        await frame()
        json.dumps([texts("#good li"), texts("#p")])
        """,
    )
    assert told == [["1"], ["1"]]


def test_html_is_text_unless_it_is_marked(bound: Page) -> None:
    told = run(
        bound,
        """
        body('<p id="p"></p><ul id="l"></ul>')
        evil = "<img src=x onerror='document.title=1'>"
        shown = page.value(evil)
        page.bind("#p", text=shown)
        page.each("#l", shown.get and (lambda m: [{"id": 1, "evil": evil, "good": Html("<b>{}</b>").format(evil)}]),
                  "<li title='{evil}'>{evil}{good}</li>")
        await frame()
        counts = [js.document.querySelectorAll(s).length for s in ("img", "#l b")]
        shown.set(Html("<i>{}</i>").format(evil))
        await frame()
        json.dumps([counts, js.document.querySelector("#p").innerHTML, js.document.querySelectorAll("img").length])
        """,
    )
    assert told == [[0, 1], "<i>&lt;img src=x onerror='document.title=1'&gt;</i>", 0]


def test_fields_go_both_ways(bound: Page) -> None:
    run(
        bound,
        """
        body('''<input id="t"><input id="n" type="number"><input id="c" type="checkbox"><input id="no" type="checkbox">
            <select id="s"><option>a<option>b</select>
            <input type="radio" name="r" value="x" class="r"><input type="radio" name="r" value="y" class="r">
            <p id="p"></p>''')
        t, n, s, r = page.value("one"), page.value(1), page.value("b"), page.value("x")
        page.bind("#t", value=t)
        page.bind("#n", value=n)
        page.bind("#s", value=s)
        page.bind(".r", value=r)
        page.bind("#c", checked="On")
        page.bind("#no", checked="No")
        page.bind("#p", text=lambda m: f"{t.get()} {n.get()!r} {s.get()} {r.get()} {m.is_('On')} {m.is_('No')}")
        await frame()
        None
        """,
    )
    shown = bound.locator("#p")
    expect(shown).to_have_text("one 1 b x False False")
    assert bound.evaluate("[t.value, n.value, s.value, document.querySelector('.r').checked]") == [
        "one",
        "1",
        "b",
        True,
    ]
    bound.locator("#no").click()
    expect(bound.locator("#no")).not_to_be_checked()  # it requires On
    bound.locator("#t").fill("two")
    bound.locator("#n").fill("2")
    bound.locator("#s").select_option("a")
    bound.locator(".r").nth(1).check()
    bound.locator("#c").check()
    expect(shown).to_have_text("two 2 a y True False")
    bound.locator("#no").check()
    expect(shown).to_have_text("two 2 a y True True")
    run(bound, "t.set('three'); n.set(3); s.set('b'); r.set('x'); machine.set([]); await frame(); None")
    expect(bound.locator("#t")).to_have_value("three")
    expect(bound.locator("#n")).to_have_value("3")
    expect(bound.locator("#s")).to_have_value("b")
    expect(bound.locator(".r").nth(0)).to_be_checked()
    expect(bound.locator("#c")).not_to_be_checked()


def test_typing_does_not_move_the_cursor(bound: Page) -> None:
    run(bound, "body('<input id=t>'); t = page.value('abc'); page.bind('#t', value=t); await frame(); None")
    bound.locator("#t").focus()
    bound.evaluate("t.setSelectionRange(1, 1)")
    bound.keyboard.type("xy")
    run(bound, "await frame(); None")
    assert bound.evaluate("[t.value, t.selectionStart]") == ["axybc", 3]


def test_what_was_typed_before_a_field_is_bound_wins_and_what_was_not_touched_is_filled_in(bound: Page) -> None:
    run(
        bound,
        """
        body('''<input id="text"><input id="number" type="number" value="1"><input id="box" type="checkbox">
            <textarea id="area">old</textarea>
            <select id="choice"><option disabled>–</option><option>a</option><option>c</option></select>
            <label><input type="radio" name="size" value="s" checked>s</label>
            <label><input type="radio" name="size" value="l">l</label>
            <input id="untouched">
            <select id="other"><option disabled>–</option><option>a</option><option>b</option></select>
        ''')
        None
        """,
    )
    bound.locator("#text").fill("Ada")
    bound.locator("#number").fill("7")
    bound.locator("#box").check()
    bound.locator("#area").fill("new")
    bound.locator("#choice").select_option("c")
    bound.locator("[value=l]").check()
    told = run(
        bound,
        """
        first = dict(text="", number=0, box=False, area="", choice="a", untouched="given", other="b")
        values = {name: page.value(value) for name, value in first.items()}
        for name, value in values.items():
            page.bind(f"#{name}", **{"checked" if name == "box" else "value": value})
        size = page.value("s")
        page.bind("[name=size]", value=size)
        await frame()
        json.dumps([value.get() for value in (*values.values(), size)])
        """,
    )
    assert told == ["Ada", 7, True, "new", "c", "given", "b", "l"]
    shown = "[...document.querySelectorAll('[id]:is(input, textarea, select)')].map((field) => field.value)"
    assert bound.evaluate(shown) == ["Ada", "7", "on", "new", "c", "given", "b"]
    assert bound.evaluate("document.querySelector('[name=size]:checked').value") == "l"
    run(bound, "page.bind('#text', value=page.value('anew')); await frame(); None")
    expect(bound.locator("#text")).to_have_value("anew")  # what it showed had come from here


def test_a_form_is_one_line_and_tells_how_it_went(bound: Page) -> None:
    run(
        bound,
        """
        body('''<form id="f"><input name="name" id="name"><button>send</button>
            <p data-message role="status"></p></form>''')
        got = []
        def HitState(e):
            got.append(e.raw_args["name"])
            e.remove("Hit")
        machine.bind({"HitState": HitState})
        name = page.value("")
        page.bind("#name", value=name)
        page.form("#f", "Hit", until="On", timeout=60)
        await frame()
        None
        """,
    )
    form = bound.locator("#f")
    bound.locator("#name").fill("Ada")
    bound.keyboard.press("Enter")
    expect(form).to_have_attribute("aria-busy", "true")
    expect(form).to_have_attribute("data-state", "busy")
    run(bound, "machine.add('On'); None")
    expect(form).to_have_attribute("data-state", "done")
    expect(bound.locator("#name")).to_have_value("")
    assert run(bound, "json.dumps([got, name.get()])") == [["Ada"], ""]
    assert bound.url.endswith("/pages/python.html")


SENDING = """
    body('''<form id="f"><input name="text" id="text"><input name="more" id="more">
        <input type="radio" class="r" name="r" value="x" checked><input type="radio" class="r" name="r" value="y">
        <input type="checkbox" id="on"><input type="checkbox" id="yes" name="yes">
        <input id="computed"><button>send</button></form>''')
    text, more, r, yes = page.value(""), page.value(""), page.value("x"), page.value(False)
    got = []
    page.bind("#text", value=text)
    page.bind("#more", value=more)
    page.bind(".r", value=r)
    page.bind("#yes", checked=yes)
    page.bind("#on", checked="On")
    page.bind("#computed", value=lambda m: m.tick("On"))
    page.on("input", "#on", "No")
    page.form("#f", "Hit", until="S0", timeout=60, args=lambda fields: got.append(fields["text"]))
    machine.add("On")
    await frame()
    None
"""
TOLD = """
    await frame()
    json.dumps([text.get(), more.get(), r.get(), yes.get(), machine.is_("On"), machine.is_("No")])
"""


def test_a_form_that_was_done_changes_values_and_no_states(bound: Page) -> None:
    run(bound, SENDING)
    bound.locator("#yes").check()
    bound.locator(".r").nth(1).check()
    bound.locator("#text").fill("first")
    bound.keyboard.press("Enter")
    expect(bound.locator("#f")).to_have_attribute("data-state", "busy")
    run(bound, "machine.add('S0'); None")
    expect(bound.locator("#f")).to_have_attribute("data-state", "done")
    assert run(bound, TOLD) == ["", "", "x", False, True, False]
    expect(bound.locator("#text")).to_have_value("")
    expect(bound.locator("#computed")).to_have_value("1")
    expect(bound.locator("#on")).to_be_checked()
    expect(bound.locator(".r").nth(0)).to_be_checked()


def test_two_forms_are_sent_and_emptied_each_by_itself(bound: Page) -> None:
    refused = run(
        bound,
        """
        one = '<form id="%s"><input name="x"><button>go</button> <p data-message></p></form>'
        body(one % "a" + one % "b")
        try:
            page.form("form", "Hit")
        except Exception as error:
            refused = f"{type(error).__name__}: {error}"
        page.form("#a, #none", "Hit", messages={"done": "Done."})
        page.form("#b", "No")
        json.dumps(refused)
        """,
    )
    assert refused.startswith("BindingError: 'form' matches 2 forms; call page.form for each")
    first, second = bound.locator("#a"), bound.locator("#b")
    for form in (first, second):
        form.locator("input").fill("tea")
    first.locator("button").click()
    expect(first).to_have_attribute("data-state", "done")
    expect(first).to_have_text("go Done.")
    expect(first.locator("input")).to_have_value("")
    expect(second.locator("input")).to_have_value("tea")
    expect(second).to_have_text("go")
    second.locator("button").click()
    expect(second).to_have_text("go This is not possible now.")
    expect(second.locator("input")).to_have_value("tea")
    expect(first).to_have_text("go Done.")


def test_a_form_with_files_is_refused_and_they_can_be_read_on_their_own(bound: Page) -> None:
    refused = run(
        bound,
        """
        body('<form id="f"><input id="photo" type="file" name="photo"><input name="x"><button>go</button></form>')
        got, read = [], asyncio.get_running_loop().create_future()
        try:
            page.form("#f", "Hit")
        except Exception as error:
            refused = f"{type(error).__name__}: {error}"
        js.document.querySelector("#photo").removeAttribute("name")
        page.form("#f", "Hit", args=lambda fields: got.append(dict(fields)))

        async def chosen(event):
            read.set_result((await js.document.querySelector("#photo").files.item(0).arrayBuffer()).to_bytes())

        page.on("change", "#photo", chosen)
        json.dumps(refused)
        """,
    )
    assert refused.startswith("BindingError: '#f' sends no files: a form sends texts; leave out the name")
    bound.locator("#photo").set_input_files({"name": "a.bin", "mimeType": "image/png", "buffer": b"a\0\xff"})
    assert run(bound, "json.dumps(list(await read))") == [*b"a\0\xff"]
    bound.locator("button").click()
    expect(bound.locator("form")).to_have_attribute("data-state", "done")
    assert run(bound, "json.dumps(got)") == [{"x": ""}]


def test_a_field_of_files_that_comes_into_a_bound_form_is_named_and_nothing_is_sent(
    bound: Page, mishaps: Mishaps
) -> None:
    """It may stand elsewhere, and nobody need have chosen a file."""
    why = "BindingError: nothing was sent, since there are files in photo: a form sends texts"
    mishaps.expect(why)
    run(
        bound,
        """
        body('<form id="f"><input name="x"><button>go</button></form>')
        got = []
        page.form("#f", "Hit", args=lambda fields: got.append(dict(fields)))
        js.document.body.insertAdjacentHTML("beforeend", '<input type="file" name="photo" form="f">')
        None
        """,
    )
    bound.locator("button").click()
    expect(bound.locator("form")).to_have_attribute("data-state", "failed")
    assert run(bound, "json.dumps([got, 'Hit' in machine])") == [[], False]
    assert why in "".join(mishaps.seen)


def test_what_is_typed_while_a_form_is_busy_stays_also_when_it_is_sent_too_early(bound: Page) -> None:
    run(bound, SENDING)
    bound.locator("#text").fill("first")
    bound.keyboard.press("Enter")
    expect(bound.locator("#f")).to_have_attribute("data-state", "busy")
    bound.locator("#text").fill("second")
    bound.locator(".r").nth(1).check()
    bound.locator("#text").press("Enter")
    run(bound, "machine.add('S0'); None")
    expect(bound.locator("#f")).to_have_attribute("data-state", "done")
    assert run(bound, TOLD) == ["second", "", "y", False, True, False]
    expect(bound.locator("#text")).to_have_value("second")
    expect(bound.locator(".r").nth(1)).to_be_checked()
    run(bound, "machine.remove('S0'); None")
    bound.locator("#text").press("Enter")
    run(bound, "machine.add('S0'); None")
    expect(bound.locator("#text")).to_have_value("")
    assert run(bound, "json.dumps(got)") == ["first", "second"]


def test_a_handler_that_mounts_its_view_anew_is_called_once_a_click(bound: Page) -> None:
    run(
        bound,
        """
        clicks = 0

        def mount():
            body('<button id="b">x</button>')
            return page.on("click", "#b", again)

        def again(_):
            global clicks, handle
            clicks += 1
            if clicks < 100:
                handle.close()
                handle = mount()

        handle = mount()
        None
        """,
    )
    for _ in range(3):
        bound.locator("#b").click()
    assert run(bound, "json.dumps(clicks)") == 3


def test_a_form_that_is_shown_again_is_sent_once(bound: Page) -> None:
    run(
        bound,
        """
        def view():
            body('<form id="f"><button id="go">go</button></form>')
            page.form("#f", "Hit")

        view()
        once = len(page._handlers)
        for _ in range(2):
            view()
        js.document.getElementById("go").click()  # before the frame in which the forms that are gone are let go
        await frame()
        sent = machine.tick("Hit")
        None
        """,
    )
    assert run(bound, "json.dumps([sent, len(page._handlers) - once])") == [1, 0]
    bound.locator("#go").click()
    run(bound, "await frame()")
    assert run(bound, "json.dumps(machine.tick('Hit') - sent)") == 2  # an active Multi state's ticks go by two
    run(bound, "body(''); await frame()")
    assert run(bound, "json.dumps(len(page._handlers))") == 0


def test_what_is_no_selector_is_refused_and_keeps_nobody_from_hearing(bound: Page) -> None:
    run(
        bound,
        """
        body('<button id="b">x</button>')
        heard, refused = [], []
        for slip in (
            lambda: page.on("click", "#b[", heard.append),
            lambda: page.bind("#b[", visible="On"),
            lambda: page.each("#b[", lambda m: [], "<li></li>"),
            lambda: page.fill("#b[", lambda m: None, "<li></li>"),
            lambda: page.form("#b[", "Hit"),
        ):
            try:
                slip()
            except Exception as error:
                refused.append(f"{type(error).__name__}: {error}")
        page.on("click", "#b", heard.append)
        None
        """,
    )
    bound.locator("#b").click()
    assert run(bound, "json.dumps([refused, len(heard)])") == [["BindingError: '#b[' is no selector"] * 5, 1]


def test_an_expression_that_is_cancelled_or_wants_to_exit_disturbs_nobody(bound: Page, mishaps: Mishaps) -> None:
    mishaps.expect("CancelledError|SystemExit")
    told = run(
        bound,
        """
        body('<p id="a"></p><p id="b"></p><p id="c"></p>')
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()
        page.bind("#a", text=lambda m: gone.result())
        page.bind("#b", text=lambda m: sys.exit(m.tick("Hit")))
        page.bind("#c", text=lambda m: m.tick("Hit"))
        await frame()
        machine.add("Hit")
        await frame()
        json.dumps(texts("p"))
        """,
    )
    assert told == ["", "", "1"]


def test_an_address_that_may_be_code_is_not_shown(bound: Page, mishaps: Mishaps) -> None:
    mishaps.expect("an address with .* was left out")
    told = run(
        bound,
        """
        body('<ul id="l"></ul><a id="a" href="/before">a</a>')
        evil = page.value(" JavaScript:document.title=1")
        page.bind("#a", attr={"href": evil})
        page.each("#l", lambda m: [{"id": 1, "url": evil.get()}], '<li><a href="{url}">{url}</a></li>')
        await frame()
        json.dumps([js.document.querySelector("#l").innerHTML, js.document.querySelector("#a").outerHTML])
        """,
    )
    assert 'href=""' in told[0] and ">" in told[0]
    assert told[1] == '<a id="a">a</a>'


def test_what_is_there_or_not_and_what_is_style_work_under_the_strict_policy(bound: Page) -> None:
    told = run(
        bound,
        """
        body('<ul id="l"></ul><p id="p">p</p>')
        width = page.value(40)
        page.bind("#p", attr={"style": lambda m: f"width: {width.get()}px", "aria-busy": "On"})
        page.each("#l", lambda m: [{"id": 1, "done": m.is_("On"), "w": width.get()}],
                  '<li><button disabled="{done}" aria-pressed="{done}"></button><i style="width: {w}px"></i></li>')
        await frame()
        def looks():
            button, bar, p = (js.document.querySelector(name) for name in ("button", "i", "#p"))
            return [button.disabled, button.getAttribute("aria-pressed"), bar.style.width, p.style.width,
                    p.getAttribute("aria-busy")]
        first = looks()
        machine.add("On"); width.set(50)
        await frame()
        json.dumps([first, looks()])
        """,
    )
    assert told == [[False, "false", "40px", "40px", "false"], [True, "true", "50px", "50px", "true"]]


def test_a_select_shows_its_value_when_the_option_comes_later(bound: Page) -> None:
    run(
        bound,
        """
        body('<select id="s"></select>')
        chosen, names = page.value("b"), page.value([])
        page.bind("#s", value=chosen)
        page.each("#s", lambda m: [{"id": n} for n in names.get()], '<option value="{id}">{id}</option>')
        await frame()
        names.set(["a", "b", "c"])
        await frame()
        """,
    )
    expect(bound.locator("#s")).to_have_value("b")
    bound.locator("#s").select_option("c")
    assert run(bound, "names.set(['c', 'a']); await frame(); json.dumps(chosen.get())") == "c"
    expect(bound.locator("#s")).to_have_value("c")


@pytest.mark.parametrize(
    ("bind", "why"),
    [
        ("page.bind('#d', value=page.value(''))", "'#d' is no field that has a value"),
        ("page.bind('#d', checked='On')", "'#d' is no field that has a checked"),
        ("page.form('#d', 'Hit')", "'#d' is no form"),
    ],
    ids=["value", "checked", "form"],
)
def test_what_is_no_field_or_form_is_refused(bound: Page, bind: str, why: str) -> None:
    told = run(
        bound,
        f"""
        body('<div id="d"></div>')
        try:
            {bind}
        except Exception as error:
            told = f"{{type(error).__name__}}: {{error}}"
        json.dumps(told)
        """,
    )
    assert told == f"BindingError: {why}"


def test_a_form_may_have_fields_of_any_name(bound: Page) -> None:
    """In the browser a form's `elements` is a field of that name, if there is one."""
    run(
        bound,
        """
        body('<form id="f"><input name="elements"><input name="reset"><input name="closest"><button>go</button></form>')
        sent = []
        page.form("#f", "Hit", args=lambda fields: sent.append(dict(fields)))
        None
        """,
    )
    for name in ("elements", "reset", "closest"):
        bound.locator(f"[name={name}]").fill(name)
    bound.locator("button").click()
    expect(bound.locator("form")).to_have_attribute("data-state", "done")
    assert run(bound, "json.dumps(sent)") == [{name: name for name in ("elements", "reset", "closest")}]
    expect(bound.locator("[name=elements]")).to_have_value("")


def test_what_shows_a_mirror_is_marked_stale_within_a_second_of_a_cut(bound: Page) -> None:
    """The source is in a worker, which is killed."""
    run(
        bound,
        """
        body('<p id="m"></p><p id="l"></p><ul id="u"></ul>')
        worker = Worker.fork("source", "workload:serve")
        client = rpc.Client(worker.dial, workload.Leaf)
        client.start()
        await client.when_ready()
        page.bind("#m", client, text=lambda m: f"{m.count('Done')} {'stale' if m.stale else 'live'}")
        page.bind("#l", text=lambda m: m.tick("Hit"))
        page.each("#u", lambda m: [{"id": n} for n in m.active_states()], "<li>{id}</li>", source=client)
        await client.netmach.add("Job")
        None
        """,
    )
    expect(bound.locator("#m")).to_have_text("1 live")
    expect(bound.locator("#u li")).to_have_text(["Done"])
    expect(bound.locator("[data-stale]")).to_have_count(0)
    frames = bound.evaluate(
        """async () => {
            await python.runPythonAsync("worker.terminate()");
            let frames = 0;
            for (; document.querySelectorAll("[data-stale]").length !== 2; frames++) {
                await new Promise(requestAnimationFrame);
            }
            return frames;
        }"""
    )
    assert frames <= A_SECOND
    expect(bound.locator("#m")).to_have_text("1 stale")
    assert bound.locator("#l").get_attribute("data-stale") is None
    run(bound, "worker.restart(); await client.when_ready(); None")
    expect(bound.locator("[data-stale]")).to_have_count(0)
