"""Python starts in a page: bare, under PyScript, and when something is wrong."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.web.browser import Mishaps, open_python, run, vendor_folder

COUNTERS = BARE, PYSCRIPT = ["/pages/bare-counter.html", "/pages/pyscript-counter.html"]
PHASES = ["downloading runtime", "starting Python", "loading packages", "ready"]
RECORD = """
window.phases = []; window.snapshots = [];
addEventListener('asyncmachine:boot', e => {
    phases.push(e.detail.phase);
    if (e.detail.snapshot) snapshots.push(e.detail.snapshot);
});
window.started = new Promise(done => addEventListener('asyncmachine:boot', e => e.detail.snapshot && done()));
"""
SNAPSHOT = "**/python.snapshot"
SNAPSHOT_FILE = vendor_folder() / "snapshot" / "python.snapshot"


@pytest.mark.parametrize("address", COUNTERS)
def test_phases_are_told_in_order_and_a_snapshot_makes_library_and_wheel_needless(
    page: Page, mishaps: Mishaps, address: str
) -> None:
    page.add_init_script(RECORD)
    page.goto(address)
    expect(page.locator("#badge")).to_have_text("0 clicks")
    assert page.evaluate("phases") == PHASES
    marks = "performance.getEntriesByType('mark').map(m => m.name).filter(n => n.startsWith('asyncmachine:'))"
    assert page.evaluate(marks) == [f"asyncmachine:{phase}" for phase in PHASES]
    expect(page.locator("[data-boot=error]")).to_be_hidden()
    assert page.evaluate("crossOriginIsolated") is True
    assert page.evaluate("snapshots") == ["USED"]
    assert not [url for url in mishaps.requests if re.search(r"python_stdlib|asyncmachine-.*whl", url)]


@pytest.mark.parametrize("address", COUNTERS)
def test_the_pages_own_html_is_drawn_before_the_runtime_is_asked_for(page: Page, address: str) -> None:
    """Though that takes its time: the frame comes a while after the boot has begun."""
    page.add_init_script(
        """
        const draw = requestAnimationFrame;
        const begun = new Promise((done) => addEventListener("asyncmachine:boot", () => setTimeout(done, 300)));
        window.requestAnimationFrame = (callback) => begun.then(() => draw(callback));
        requestAnimationFrame(() => (window.drawn = performance.now()));
        """
    )
    page.goto(address)
    expect(page.locator("#badge")).to_have_text("0 clicks")
    drawn, begun, asked = page.evaluate(
        """() => [drawn, performance.getEntriesByName("asyncmachine:downloading runtime")[0].startTime, Math.min(
            ...performance.getEntriesByType("resource").filter(({ name }) => name.includes("pyodide.asm.wasm"))
                .map(({ startTime }) => startTime))]"""
    )
    assert asked >= min(drawn, begun + LONGEST_FRAME)


def test_a_page_that_cannot_be_drawn_starts_python_all_the_same(page: Page, mishaps: Mishaps) -> None:
    page.add_init_script("window.requestAnimationFrame = () => 0")
    page.add_init_script(RECORD)
    page.goto("/pages/bare-counter.html")
    page.evaluate("started")
    assert page.evaluate("phases")[:2] == PHASES[:2]


LONGEST_FRAME = 1000
"""Milliseconds that boot.mjs waits for the frame at most."""

Mishap = Callable[[Route], None]


@pytest.fixture(scope="session")
def instead(built: Path, base_url: str) -> Callable[[str, bytes], Mishap]:
    """Makes a route that has the relay send these bytes: what is so large takes long by way of Playwright."""

    def prepare(name: str, body: bytes) -> Mishap:
        (built / name).write_bytes(body)
        return lambda route: route.continue_(url=f"{base_url}/built/{name}")

    return prepare


@pytest.fixture(scope="session")
def mishap(instead: Callable[[str, bytes], Mishap]) -> dict[str, Mishap]:
    """What may happen to a snapshot on its way."""
    good = SNAPSHOT_FILE.read_bytes()
    damaged = bytearray(good)
    damaged[len(good) // 2] ^= 1
    return {
        "one bit in the middle": instead("damaged.snapshot", bytes(damaged)),
        "cut": instead("cut.snapshot", good[:-1000]),
        "empty": lambda route: route.fulfill(body=b""),
        "not found": lambda route: route.fulfill(status=404),
        "busy": lambda route: route.fulfill(status=503),
        "no answer": lambda route: route.abort(),
    }


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("one bit in the middle", "DAMAGED"),
        ("cut", "DAMAGED"),
        ("empty", "DAMAGED"),
        ("not found", "MISSING"),
        ("busy", "MISSING"),
        ("no answer", "MISSING"),
    ],
)
def test_what_is_not_a_good_snapshot_is_not_used(
    page: Page, mishaps: Mishaps, mishap: dict[str, Mishap], name: str, why: str
) -> None:
    """Where it is downloaded; a page needs no Python to find out."""
    mishaps.expect("404|503|ERR_FAILED")
    page.route(SNAPSHOT, mishap[name])
    page.goto("/pages/blank.html")
    download = "import('/runtime.mjs').then(m => m.downloadSnapshot()).then(() => 'USED', error => error.code)"
    assert page.evaluate(download) == why


@pytest.mark.parametrize(
    ("address", "name", "why"), [(BARE, "not found", "MISSING"), (PYSCRIPT, "one bit in the middle", "DAMAGED")]
)
def test_without_a_good_snapshot_it_starts_from_scratch(
    page: Page, mishaps: Mishaps, mishap: dict[str, Mishap], address: str, name: str, why: str
) -> None:
    """With our packages only."""
    mishaps.expect("404")
    page.route(SNAPSHOT, mishap[name])
    page.add_init_script(RECORD)
    page.goto(address)
    expect(page.locator("#badge")).to_have_text("0 clicks")
    assert page.evaluate("phases") == PHASES
    assert page.evaluate("snapshots") == [why]
    expect(page.locator("[data-boot=error]")).to_be_hidden()
    requested: list[Any] = page.evaluate("performance.getEntriesByType('resource').map(r => new URL(r.name).pathname)")
    assert any(path.endswith("/sources.zip") for path in requested)
    wheels = sorted(path.rsplit("/", 1)[1].split("-")[0] for path in requested if path.endswith(".whl"))
    assert wheels == ["asyncmachine", "msgspec"]


def test_a_snapshot_of_another_wheel_is_stale(page: Page) -> None:
    """Old memory never runs new code. The lock names a wheel that the snapshot was not made of."""
    name: list[str] = []

    def rename(route: Route) -> None:
        lock = route.fetch().json()
        ours = lock["packages"]["asyncmachine"]
        name.append(ours["file_name"])
        ours["file_name"] = "asyncmachine-0.1.0-0new-py3-none-any.whl"
        route.fulfill(json=lock)

    def serve(route: Route) -> None:
        folder = route.request.url.rpartition("/")[0]
        route.fulfill(response=route.fetch(url=f"{folder}/{name[0]}"))

    page.route("**/pyodide-lock.json", rename)
    page.route("**/asyncmachine-*.whl", serve)
    page.add_init_script(RECORD)
    page.goto("/pages/bare-counter.html")
    expect(page.locator("#badge")).to_have_text("0 clicks")
    assert page.evaluate("snapshots") == ["STALE"]


def test_a_snapshot_that_does_not_fit_the_runtime_is_given_up(
    page: Page, mishaps: Mishaps, instead: Callable[[str, bytes], Mishap]
) -> None:
    """Its checksum of a new runtime is wrong, all else is right."""
    mishaps.expect("wasm instantiation failed|UNFIT")  # Pyodide's own words
    body = bytearray(SNAPSHOT_FILE.read_bytes())
    length = int.from_bytes(body[40:44], "little")
    header = bytes(body[44 : 44 + length])
    changed = re.sub(rb'"sum":(-?)(\d)', lambda found: b'"sum":%s%d' % (found[1], (int(found[2]) % 9) + 1), header)
    assert changed != header
    body[44 : 44 + length] = changed
    body[8:40] = hashlib.sha256(body[40:]).digest()
    page.route(SNAPSHOT, instead("unfit.snapshot", bytes(body)))
    page.add_init_script(RECORD)
    page.goto("/pages/bare-counter.html")
    expect(page.locator("#badge")).to_have_text("0 clicks")
    assert page.evaluate("phases") == ["downloading runtime", "starting Python", *PHASES[1:]]
    assert page.evaluate("snapshots") == ["USED", "UNFIT"]


def test_a_page_may_do_without_a_snapshot(page: Page, mishaps: Mishaps) -> None:
    """It then starts as without a good one."""

    def switch_off(route: Route) -> None:
        response = route.fetch()
        html = response.text().replace('{"sources"', '{"snapshot": false, "sources"')
        route.fulfill(response=response, body=html)

    page.route("**/bare-counter.html", switch_off)
    page.add_init_script(RECORD)
    page.goto("/pages/bare-counter.html")
    page.evaluate("started")
    assert page.evaluate("snapshots") == ["OFF"]
    assert not [url for url in mishaps.requests if "python.snapshot" in url]


def test_what_the_snapshot_lacks_is_imported_from_archives(python: Page, mishaps: Mishaps) -> None:
    """The library's and our wheel are downloaded when something is read from them, and only then."""

    def asked() -> list[str]:
        return [
            url.rpartition("/")[2] for url in mishaps.requests if re.search(r"python_stdlib|asyncmachine-.*whl", url)
        ]

    assert asked() == []
    told = run(
        python,
        """
        import importlib.metadata, sys
        assert "statistics" not in sys.modules
        import statistics
        json.dumps([statistics.mean([1, 2, 3]), importlib.metadata.version("asyncmachine")])
        """,
    )
    assert told == [2, "0.1.0"]
    assert sorted(asked()) == sorted(set(asked()))
    assert len(asked()) == 2


def test_native_packages_come_with_the_snapshot_and_are_installed_as_any_other(python: Page, mishaps: Mishaps) -> None:
    told = run(
        python,
        """
        import importlib.metadata, inspect, msgspec, pyodide_js, _pyodide
        import msgspec._core
        files = importlib.metadata.files("msgspec")
        json.dumps([importlib.metadata.version("msgspec"), msgspec._core.__file__, len(files) > 10,
                    all(file.locate().exists() for file in files), pyodide_js.loadedPackages.msgspec,
                    inspect.getsource(msgspec.inspect.IntType).splitlines()[0]])
        """,
    )
    assert re.fullmatch(r"0\.\d+\.\d+", told[0])
    assert told[1].startswith("/lib/python3.14/site-packages/msgspec/_core.")
    assert told[2:] == [True, True, "default channel", "class IntType(Type):"]
    assert not [url for url in mishaps.requests if "msgspec" in url]


def test_a_wheel_beside_the_page_is_installed_as_the_docs_say(python: Page, mishaps: Mishaps) -> None:
    wheel = io.BytesIO()
    with ZipFile(wheel, "w") as archive:
        archive.writestr("greet.py", "def greet(): return 'hello'")
        archive.writestr("greet-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greet\nVersion: 1.0\n")
        archive.writestr("greet-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("greet-1.0.dist-info/RECORD", "")
    python.route("**/wheels/greet-1.0-py3-none-any.whl", lambda route: route.fulfill(body=wheel.getvalue()))
    section = (Path(__file__).parents[1] / "docs" / "pages.md").read_text().partition("## Other packages")[2]
    (code,) = re.findall(r"```python no-run\n(.*?)```", section, re.DOTALL)[:1]
    told = run(python, f"{code}\nimport greet\njson.dumps(greet.greet())")
    assert told == "hello"
    assert not mishaps.foreign


def test_a_traceback_through_the_library_and_ours_downloads_neither(python: Page, mishaps: Mishaps) -> None:
    told = run(
        python,
        """
        import traceback
        told = ""
        for act in (lambda: json.loads("{"), lambda: am.Machine({"A": {}}).add("B"), lambda: rpc.Client("nowhere")):
            try:
                act()
            except Exception as error:
                told += "".join(traceback.format_exception(error))
        json.dumps(told)
        """,
    )
    for file in (r"asyncmachine/machine/machine\.py", r"asyncmachine/rpc/client\.py"):
        assert re.search(rf'\.whl/{file}", line \d+, in \w+\n', told)
    assert re.search(r'File "/lib/python314.zip/json/decoder.py", line \d+, in raw_decode\n', told)
    assert "Expecting property name" in told
    assert not [url for url in mishaps.requests if re.search(r"python_stdlib|asyncmachine-.*whl", url)]


def test_an_archive_that_cannot_be_had_is_an_error_of_the_import(python: Page, mishaps: Mishaps) -> None:
    mishaps.expect("ERR_FAILED")
    python.route("**/python_stdlib.zip", lambda route: route.abort())
    told = run(
        python,
        """
        try:
            import statistics
        except OSError as error:
            told = type(error).__name__
        json.dumps([told, 1 + 1])
        """,
    )
    assert told == ["OSError", 2]


def test_two_pages_have_their_own_random_numbers_and_environment(context: BrowserContext) -> None:
    """Though their memory comes from one snapshot."""
    told = []
    for _ in range(2):
        page = context.new_page()
        open_python(page)
        code = "import os, random, uuid; json.dumps([random.random(), str(uuid.uuid4()), os.environ['AM_TEST']])"
        told.append(run(page, code))
    (number, unique, environment), (other_number, other_unique, _) = told
    assert number != other_number
    assert unique != other_unique
    assert environment == "page"


def test_the_version_we_tell_pyscript_is_the_one_we_load(page: Page) -> None:
    page.goto("/pages/bare-counter.html")
    told, loaded = page.evaluate(
        "Promise.all([import('/boot.mjs'), import('/vendor/pyodide/pyodide.mjs')]).then(all => all.map(m => m.version))"
    )
    assert told == loaded


def test_a_failed_boot_is_tried_again(page: Page, mishaps: Mishaps) -> None:
    """The wasm file is missing three times: as long as a server takes to begin anew."""
    mishaps.expect("503")
    mishaps.expect("wasm instantiation failed|answered 503")
    failed: list[str] = []

    def fail_thrice(route: Route) -> None:
        if len(failed) == 3:
            route.continue_()
        else:
            failed.append(route.request.url)
            route.fulfill(status=503)

    page.route("**/*.wasm", fail_thrice)
    page.add_init_script(RECORD)
    page.goto("/pages/bare-counter.html")
    expect(page.locator("#badge")).to_have_text("0 clicks")
    assert page.evaluate("phases") == ["downloading runtime", "retrying"] * 3 + PHASES


def test_a_loader_that_was_not_there_at_first_is_asked_for_again(page: Page, mishaps: Mishaps) -> None:
    """It is imported twice, and the first time before it is needed."""
    mishaps.expect("503")
    failed: list[str] = []

    def fail_once(route: Route) -> None:
        if failed:
            route.continue_()
        else:
            failed.append(route.request.url)
            route.fulfill(status=503)

    page.route("**/pyodide.mjs", fail_once)
    page.goto("/pages/bare-counter.html")
    expect(page.locator("#badge")).to_have_text("0 clicks")
    assert failed


def test_a_boot_whose_tries_all_fail_says_why(page: Page, mishaps: Mishaps) -> None:
    mishaps.expect("404|wasm instantiation failed|answered 404|did not start")
    page.route("**/*.wasm", lambda route: route.fulfill(status=404))
    page.add_init_script(RECORD)
    page.goto("/pages/bare-counter.html")
    expect(page.locator("[data-boot=error]")).to_have_text(
        re.compile(r"Python did not start \(downloading runtime\): .*pyodide\.asm\.wasm answered 404.*Reload the page")
    )
    assert page.evaluate("phases") == ["downloading runtime", "retrying"] * 3 + ["downloading runtime", "failed"]


def test_a_wrong_media_type_is_named_and_does_not_hang(page: Page, mishaps: Mishaps) -> None:
    mishaps.expect("wasm instantiation failed|must be application/wasm")

    def mislabel(route: Route) -> None:
        route.fulfill(response=route.fetch(), content_type="text/plain")

    page.route("**/*.wasm", mislabel)
    page.goto("/pages/bare-counter.html")
    expect(page.locator("[data-boot=error]")).to_contain_text("as text/plain, it must be application/wasm")


def test_a_boot_that_hangs_is_ended_by_its_time_out(page: Page, mishaps: Mishaps) -> None:
    """All four tries; the settings give them half a second each."""
    mishaps.expect("did not start|404")
    page.route(SNAPSHOT, lambda route: route.fulfill(status=404))
    page.route("**/python_stdlib.zip", lambda route: None)
    page.goto("/pages/bare-slow.html")
    expect(page.locator("[data-boot=error]")).to_contain_text("no result within 0.5 s")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('{"sources": ["a.zip",]}', "they are no JSON: "),
        ('["../built/sources.zip"]', "they must be a JSON object"),
        ('{"source": ["a.zip"]}', "there is no source; there are sources, main, env, timeout, snapshot"),
        ('{"toString": 1}', "there is no toString; there are sources"),
        ('{"sources": "a.zip"}', 'sources must be a list of addresses, as ["app.zip"]'),
        ('{"main": "counter.show"}', 'main must be "package.module:function"'),
        ('{"env": {"AM_LOG": 2}}', "env must be an object of texts"),
        ('{"timeout": 0}', "timeout must be a number of seconds above 0"),
        ('{"snapshot": "no"}', "snapshot must be true or false"),
    ],
)
def test_wrong_settings_of_a_page_are_named_at_once(page: Page, mishaps: Mishaps, said: str, why: str) -> None:
    """Nothing is tried again: they would be as wrong."""
    mishaps.expect("did not start")

    def rewrite(route: Route) -> None:
        response = route.fetch()
        html = re.sub(r'\{"sources".*\}', lambda _: said, response.text())
        route.fulfill(response=response, body=html)

    page.route("**/bare-counter.html", rewrite)
    page.add_init_script(RECORD)
    page.goto("/pages/bare-counter.html")
    expect(page.locator("[data-boot=error]")).to_contain_text(f"the page's settings (#asyncmachine): {why}")
    expect(page.locator("[data-boot=error]")).not_to_contain_text("Reload")
    assert page.evaluate("phases") == ["failed"]
    assert not [url for url in mishaps.requests if url.endswith(".wasm")]


RELOAD = ". Reload the page to try again."
LEFT_OUT = 'my_app.backend is not part of the page: "leave_out" in pyproject.toml leaves it out, or it is not there'
CANNOT = "ImportError: cannot import name 'backend' from 'my_app' (PLACE)"
MAINS = [
    (
        "page:mian",
        "",
        'there is no mian in it; did you mean main? it is "main" in the page\'s settings (#asyncmachine)',
    ),
    ("page:main", "from .backend import A", f"ModuleNotFoundError: No module named 'my_app.backend'. {LEFT_OUT}"),
    ("page:main", "from . import backend", f"{CANNOT}. {LEFT_OUT}"),
    ("page:soon", "async def soon(): raise ValueError('wrong')", "ValueError: wrong"),
    (
        "page:soon",
        "import js\nasync def soon(): await js.fetch('http://127.0.0.1:9')",
        f"pyodide.ffi.JsException: TypeError: Failed to fetch{RELOAD}",
    ),
]


@pytest.mark.parametrize(("main", "text", "why"), MAINS, ids=["function", "left out", "left out, too", "later", "cut"])
def test_a_main_that_fails_is_told_with_what_helps(
    page: Page, mishaps: Mishaps, main: str, text: str, why: str
) -> None:
    """A reload is told of where it may."""
    mishaps.expect("Traceback|Failed to fetch|Content Security")
    sources = io.BytesIO()
    with ZipFile(sources, "w") as archive:
        archive.writestr("my_app/__init__.py", "")
        archive.writestr("my_app/page.py", f"{text}\ndef main(): pass")

    def rewrite(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=response.text().replace("counter:show", f"my_app.{main}"))

    page.route("**/bare-counter.html", rewrite)
    page.route("**/sources.zip", lambda route: route.fulfill(body=sources.getvalue()))
    page.goto("/pages/bare-counter.html")
    told = re.escape(f"my_app.{main} failed: {why}").replace("PLACE", r"\S+/my_app/__init__\.py")
    expect(page.locator("[data-boot=error]")).to_have_text(re.compile(f"^{told}$"))


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("**/sources.zip", r"sources\.zip answered 404"),
        ("**/msgspec-*.whl", "msgspec could not be loaded"),
        ("**/pyodide-lock.json", r"pyodide-lock\.json answered 404"),
    ],
)
def test_missing_files_are_named(page: Page, mishaps: Mishaps, lost: str, message: str) -> None:
    mishaps.expect("404|did not start|integrity")
    page.route(SNAPSHOT, lambda route: route.fulfill(status=404))  # it holds packages itself
    page.route(lost, lambda route: route.fulfill(status=404))
    page.goto("/pages/bare-counter.html")
    expect(page.locator("[data-boot=error]")).to_have_text(re.compile(message))


def test_a_missing_boot_module_is_named(page: Page, mishaps: Mishaps) -> None:
    mishaps.expect("404")
    page.route("**/boot.mjs", lambda route: route.fulfill(status=404))
    page.goto("/pages/bare-counter.html")
    expect(page.locator("[data-boot=error]")).to_contain_text("page.mjs could not be loaded")


@pytest.mark.parametrize(
    ("config", "end"),
    [
        ("nowhere.json", "PY0404"),
        ('{"interpreter": "./nowhere.mjs"}', r"Failed to fetch dynamically imported module: \S+/nowhere\.mjs"),
        ("{", "Failed to fetch dynamically imported module"),
        ("{}", "Failed to fetch dynamically imported module"),
    ],
)
def test_pyscript_with_a_broken_configuration_asks_nobody_else(
    page: Page, mishaps: Mishaps, config: str, end: str
) -> None:
    """PyScript falls back to a public server when it has no interpreter; our pages keep that from happening."""
    mishaps.expect(".*")
    broken = "pyscript-counter.html"

    def rewrite(route: Route) -> None:
        response = route.fetch()
        html = re.sub(r"config='[^']*'", lambda _: f"config='{config}'", response.text())
        route.fulfill(response=response, body=html)

    page.route(f"**/{broken}", rewrite)
    page.goto(f"/pages/{broken}")
    mishaps.wait_until_told(page, end)
    assert mishaps.elsewhere == []
    assert page.locator("#badge").inner_text() == ""


def test_modules_that_ran_before_the_snapshot_are_what_an_import_would_make(page: Page) -> None:
    """Those of aRPC among them, whose package did not run: it needs native code."""
    page.goto("/pages/python.html")
    page.wait_for_selector("#python", state="attached")
    told = page.evaluate(
        """() => python.runPython(`
import importlib.util, json, sys
from types import ModuleType
(finder,) = [each for each in sys.meta_path if hasattr(each, "made")]
ran = dict(finder.made["asyncmachine.rpc"])
assert importlib.util.find_spec("asyncmachine.rpc.errors").name == "asyncmachine.rpc.errors"  # takes nothing away
import asyncmachine.rpc.errors
assert issubclass(asyncmachine.rpc.errors.RpcError, asyncmachine.AmError)  # by way of the package
assert asyncmachine.rpc.RpcError is asyncmachine.rpc.errors.RpcError
lacking = [name for name in ran if eval(name, {"asyncmachine": asyncmachine}) is not ran[name]]

import zipfile
modules = {}
with zipfile.ZipFile(finder.wheel) as archive:
    files = [file for file in archive.namelist() if file.startswith(("asyncmachine/", "asyncmachine_web/page/"))]
for file in files:
    if file.endswith(".py"):
        name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        try:
            modules[name] = importlib.import_module(name)
        except ImportError:
            pass  # for servers
def home(value):  # where it says that it comes from
    if isinstance(value, ModuleType):
        return sys.modules.get(value.__name__)
    found = sys.modules.get(value.__module__)
    for part in value.__qualname__.split("."):
        found = vars(found).get(part)
    return found

wrong = [
    f"{name}.{key}"
    for name, module in modules.items()
    for key, value in vars(module).items()
    if isinstance(value, ModuleType) or isinstance(value, type) and value.__module__ in modules
    if home(value) is not value
]
for name, module in modules.items():
    package, _, tail = name.rpartition(".")
    if module.__spec__.name != name or package and not hasattr(sys.modules[package], tail):
        wrong.append(name)
json.dumps([lacking, wrong, "asyncmachine.rpc.transport.addresses" in ran, sorted(finder.made)])
`)"""
    )
    assert json.loads(told) == [[], [], True, []]
