"""Real Chromium on pages that the real relay serves.

A test gets `page` and relative addresses (`page.goto("/pages/counter.html")`). It fails for what a person would not
see: console warnings and errors, unhandled errors and rejections, requests to a foreign host. A test that provokes some
names them: `mishaps.expect("404")`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, expect

from asyncmachine_relay import Match, Relay, StaticRoot, Tunnel
from asyncmachine_web.build import Project, build, new_app, pack, static_folder
from tests.web.browser import (
    CHROMIUM,
    INTERRUPT,
    NOT_RESTORED,
    TEST_FLAGS,
    WATCH,
    Mishaps,
    open_python,
    run,
    serving,
    vendor_folder,
)
from tests.web.projects import NAME, Running

HERE = Path(__file__).parent

# Each page and worker boots a Python of its own, on a machine that may be busy: these are hang detectors.
PATIENCE = 60_000
TEST_TIMEOUT = 240
expect.set_options(timeout=PATIENCE)


LONGEST = ("test_wheel.py", "test_kills.py", "test_refusals.py", "test_workers.py", "test_runs.py", "test_tabs.py")
"""Files that go first: side by side, no long one is left for the end, when the other process has nothing more to do."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test more time than those without a browser have, and begin with those that take longest.

    Unless the command line says how much, as mutants do that would wait in vain.
    """
    for item in items:
        told = item.get_closest_marker("timeout") or item.config.getoption("timeout")
        if HERE in item.path.parents and told is None:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT))
        # Now and then Chromium keeps a page no longer, for a reason of its own that it calls "masked".
        if "caching" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.flaky(reruns=2, only_rerun=NOT_RESTORED))
    items.sort(key=lambda item: [*LONGEST, item.path.name].index(item.path.name))


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Debian's Chromium, which may run as root here and asks nobody by itself."""
    return {**browser_type_launch_args, "executable_path": CHROMIUM, "args": TEST_FLAGS}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is made for the pages, at `/built/`."""
    return tmp_path_factory.mktemp("built")


@pytest.fixture(scope="session")
def base_url(built: Path) -> Iterator[str]:
    """Our static files, `pages/` with its Python, and tunnels that echo, for tests without a relay of their own."""
    pack(HERE / "pages", ["workload.py", "jobs.py", "counter.py", "shop.py", "early.py"], built / "sources.zip")
    static: list[StaticRoot] = [("/pages/", HERE / "pages"), ("/built/", built), static_folder()]
    static.append(("/vendor/", vendor_folder()))
    matches = [Match(r"[a-z0-9]+", target="echo", serve=echo)]
    with serving(Relay(static, listen=matches, dial=matches, csp={"/pages/pyscript": "pyscript"})) as address:
        yield address


async def echo(tunnel: Tunnel) -> None:
    """Sends back what comes, with the tunnel's id before it."""
    while True:
        data = await tunnel.transport.recv()
        await tunnel.transport.send(f"{tunnel.id} ".encode() + data)


@pytest.fixture
def python(page: Page) -> Page:
    """A page in which a test can `run` Python that has only just started."""
    open_python(page)
    return page


@pytest.fixture
def interruptible(page: Page) -> Page:
    """A page, to be opened by the test, that has its first worker's `interrupt` and counts what is `unanswered`."""
    page.add_init_script(INTERRUPT)
    return page


@dataclass
class Kept:
    """A page whose Python the tests of a module share."""

    page: Page
    failures: int = 0
    """How many tests had failed when it was last known to be well."""


@pytest.fixture(scope="module")
def kept(browser: Browser, base_url: str) -> Iterator[Kept]:
    """Started once: most of what a small test would take is the start of its Python."""
    context = browser.new_context(base_url=base_url)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    open_python(page)
    yield Kept(page)
    context.close()


@pytest.fixture
def shared(kept: Kept, request: pytest.FixtureRequest, mishaps: Mishaps) -> Iterator[Page]:
    """As `python`, for tests that leave the page and its runtime as they were.

    Names that the test makes are gone after it, clients and workers among them have ended, its routes are gone, and the
    document is empty. After a failure the page is loaded anew.
    """
    page = kept.page
    if request.session.testsfailed > kept.failures:
        kept.failures = request.session.testsfailed
        open_python(page)
    mishaps.watch(page.context)
    run(page, REMEMBER)
    yield page
    run(page, "await _forget()")
    page.context.unroute_all()
    page.evaluate("document.body.replaceChildren()")
    mishaps.unwatch(page.context)
    mishaps.check()


REMEMBER = """
async def _forget():
    made = {name: value for name, value in globals().items() if name not in _before}
    for name, value in made.items():
        if isinstance(value, rpc.Client):
            await value.stop()
    for name, value in made.items():
        if isinstance(value, Worker):
            value.terminate()
        del globals()[name]

_before = {*globals(), "_before"}
None
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of `am new app` that was built once."""
    root = new_app(NAME, tmp_path_factory.mktemp("kit"))
    build(Project.read(root), root / "dist")
    return root


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A project of the test's own."""
    return Path(shutil.copytree(made, tmp_path / NAME))


@pytest.fixture
def running(project: Path, mishaps: Mishaps) -> Iterator[Running]:
    """That project's command."""
    running = Running(project)
    mishaps._own = running.address.rstrip("/")
    yield running
    running.stop()


@pytest.fixture
def mishaps(base_url: str) -> Mishaps:
    return Mishaps(base_url)


@pytest.fixture
def context(context: BrowserContext, mishaps: Mishaps) -> Iterator[BrowserContext]:
    """Pytest-playwright's, watched."""
    context.set_default_timeout(PATIENCE)
    mishaps.watch(context)
    yield context
    mishaps.check()


@pytest.fixture
def caching(
    browser_type: BrowserType, browser_type_launch_args: dict[str, Any], base_url: str, mishaps: Mishaps
) -> Iterator[Page]:
    """A page of a Chromium that keeps pages, as people's do and Playwright's does not."""
    kept = {**browser_type_launch_args, "ignore_default_args": ["--disable-back-forward-cache"]}
    browser = browser_type.launch(**kept)
    context = browser.new_context(base_url=base_url)
    context.add_init_script(WATCH)
    mishaps.watch(context)
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    browser.close()
    mishaps.check()
