"""The workflow in real Chromium. Whatever happens to it ends in `WorkDelivered`; faults come when a state says so."""

# mypy: disable-error-code="import-untyped"
from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

import asyncmachine as am
from asyncmachine_relay import bind
from examples.wasm_workflow import dag, seeds
from examples.wasm_workflow.app import App
from examples.wasm_workflow.draws import Draw
from examples.wasm_workflow.orders import Cut
from examples.wasm_workflow.settings import Settings
from examples.wasm_workflow.states import Orchestrator
from tests.web.browser import Mishaps

ROOT = Path(__file__).parents[1]

CALM = Settings(seed=0, success_rate=10**9, hash_iterations=10_000, port=0)
BUSY = replace(CALM, hash_iterations=1_000_000)
"""A node works long enough for a test to interfere."""

RELAY_AWAY = "ERR_CONNECTION_REFUSED"
"""A browser reports each request to a server that is not there, and nothing that a page does can keep it from that."""

PATIENCE = 120.0
DELIVERED = re.compile("delivered the work")


class Native:
    """The native process, in a thread of its own, so that the test can wait for its states."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._entered: Future[App] = Future()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), name="native")

    def __enter__(self) -> Self:
        self._thread.start()
        self.app = self._entered.result()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        try:
            async with App(self._settings, bind(port=self._settings.port)) as app:
                self._entered.set_result(app)
                await self._stop.wait()
        except BaseException as error:
            if self._entered.done():
                raise
            self._entered.set_exception(error)

    def when(self, *states: Any) -> None:
        """Waits until the orchestrator has these states."""
        self._run(_met(lambda: self.app.machine.when(*states)))

    def when_not(self, *states: Any) -> None:
        """Waits until it has none of them."""
        self._run(_met(lambda: self.app.machine.when_not(*states)))

    def add(self, state: Orchestrator, args: Any = None) -> None:
        """Mutates the orchestrator."""
        self._loop.call_soon_threadsafe(self.app.machine.add, state, args)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        # Playwright runs a loop in the test's thread, so it must not block on the machine itself.
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def ends_well(self) -> None:
        """Waits for the end, and looks at the digests."""
        self.when(Orchestrator.WorkDelivered)
        assert dag.wrong(self.app.handlers.run.results) == ()
        assert not self.app.machine.is_err()

    def sentences(self) -> list[str]:
        """The story so far."""
        return [line.text for line in self.app.story.lines]


async def _met(wait: Callable[[], am.Wait]) -> None:
    await wait()


class Program:
    """The native process as its users start it. It can be killed, and started again at the same address."""

    def __init__(self) -> None:
        self.address = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        port = self.address.rstrip("/").rpartition(":")[2] or "0"
        command = [sys.executable, "-m", "examples.wasm_workflow", "--port", port, "--seed", "7"]
        options = ["--success-rate", "1000000", "--hash-iterations", str(BUSY.hash_iterations)]
        self._process = subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.match(r"Open (\S+)", line):
                self.address = found[1]
                return
        raise AssertionError("the process ended before it told its address")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture
def native(request: pytest.FixtureRequest) -> Iterator[Native]:
    """Serves the workflow with the test's settings."""
    with Native(request.param) as running:
        yield running


@pytest.fixture
def program() -> Iterator[Program]:
    """The workflow's command, running."""
    program = Program()
    program.start()
    yield program
    program.kill()


@pytest.fixture
def mishaps(request: pytest.FixtureRequest) -> Mishaps:
    """Watches over the pages of the test's own server."""
    if "program" in request.fixturenames:
        return Mishaps(request.getfixturevalue("program").address.rstrip("/"))
    return Mishaps(request.getfixturevalue("native").app.address.rstrip("/"))


def settings(chosen: Settings) -> pytest.MarkDecorator:
    """Which settings a test's native process has."""
    return pytest.mark.parametrize("native", [chosen], indirect=True, ids=["native"])


@settings(CALM)
def test_a_plain_run_delivers_and_shows_both_digests(native: Native, page: Page) -> None:
    page.goto(native.app.address)
    native.ends_well()
    expect(page.locator("#phase")).to_have_text("Round 1 delivered the work")
    expect(page.locator("#link")).to_have_text("live")
    for node, digest in dag.EXPECTED.items():
        shown = page.locator(f"#digest-{node}")
        expect(shown).to_have_class("right")
        expect(shown.locator("dd")).to_have_text(digest.hex())
    expect(page.locator("#story li").first).to_contain_text("both digests are right")


@settings(replace(CALM, seed=seeds.EVENTFUL_SEED, success_rate=5))
def test_every_node_corrupts_and_fails_at_least_once(native: Native, page: Page) -> None:
    """The seed is the first one whose third round delivers after all of that."""
    story = list(seeds.foretell(seeds.EVENTFUL_SEED, 5, 50))
    assert all({draw for drawn in story for draw in drawn[node]} == set(Draw) for node in dag.NODES)
    page.goto(native.app.address)
    native.ends_well()
    assert (native.app.handlers.run.round, native.app.handlers.run.restarts) == (3, 2)
    expect(page.locator("#round")).to_have_text("3")
    expect(page.locator("#restarts")).to_have_text("2 of 50")
    expect(page.locator("#story")).to_contain_text("round 1: browser3 failed, attempt 1, retried")


@settings(BUSY)
def test_a_leaf_that_is_killed_at_work_is_forked_again(native: Native, page: Page) -> None:
    page.goto(native.app.address)
    native.when(Orchestrator.Browser3Working)
    page.locator("#browser3 .kill").click()
    native.when_not(Orchestrator.Browser3Ready)
    native.ends_well()
    assert "round 1: browser3 starts over, attempt 2" in native.sentences()
    assert native.app.handlers.run.round == 1


@settings(BUSY)
def test_a_dispatcher_that_is_killed_forks_its_leaves_anew(native: Native, page: Page) -> None:
    page.goto(native.app.address)
    native.when(Orchestrator.Browser4Working)
    page.locator("#browser2 .kill").click()
    native.when_not(Orchestrator.Browser2Conn)
    native.ends_well()
    assert "round 1: browser2, browser3 and browser4 are gone" in native.sentences()


@settings(BUSY)
def test_a_tab_that_is_reloaded_at_work_has_its_ids_again(native: Native, page: Page) -> None:
    page.goto(native.app.address)
    native.when(Orchestrator.Browser1Working)
    page.reload()
    native.when_not(Orchestrator.Browser1Conn, Orchestrator.Browser2Conn)
    native.ends_well()
    expect(page.locator("#phase")).to_have_text(DELIVERED)
    expect(page.locator("#notice")).to_be_hidden()


@settings(BUSY)
def test_five_seconds_without_listener_and_tunnels(native: Native, page: Page, mishaps: Mishaps) -> None:
    mishaps.expect(RELAY_AWAY)
    page.goto(native.app.address)
    native.when(Orchestrator.Browser1Working)
    native.add(Orchestrator.CutConnection, Cut(5.0))
    expect(page.locator("#link")).to_have_text("reconnecting")
    native.when_not(Orchestrator.CutConnection)
    native.ends_well()
    expect(page.locator("#link")).to_have_text("live")
    assert native.app.handlers.run.restarts == 0


def test_the_native_process_is_killed_and_another_one_takes_over(
    program: Program, page: Page, mishaps: Mishaps
) -> None:
    mishaps.expect(RELAY_AWAY)
    page.goto(program.address)
    expect(page.locator("#browser1 .state")).to_have_text("Working")
    page.evaluate("window.untouched = true")
    program.kill()
    expect(page.locator("#link")).to_have_text("reconnecting")
    program.start()
    expect(page.locator("#phase")).to_have_text(DELIVERED)
    assert page.evaluate("window.untouched"), "nothing was reloaded"
    expect(page.locator("#story li").last).to_contain_text("run 1 begins with seed 7")


@settings(BUSY)
def test_a_duplicated_tab_is_told_that_the_ids_are_taken(native: Native, page: Page, context: BrowserContext) -> None:
    page.goto(native.app.address)
    native.when(Orchestrator.Browser1Working)
    with page.expect_popup() as opened:
        page.evaluate("open(location.href)")  # as duplicating does, it copies the session's storage
    copy = opened.value
    assert copy.evaluate("sessionStorage.length") > 0
    expect(copy.locator("#link")).to_have_text("open in another tab")
    expect(copy.locator("#notice")).to_contain_text("open in another tab")
    expect(page.locator("#link")).to_have_text("live")
    native.ends_well()
    assert not any("gone" in sentence for sentence in native.sentences()), "the first tab was not disturbed"
    page.close()
    copy.locator("#retry").click()
    expect(copy.locator("#notice")).to_be_hidden()
    expect(copy.locator("#phase")).to_have_text(DELIVERED)


@settings(BUSY)
def test_the_controls_are_mutations(native: Native, page: Page) -> None:
    page.goto(native.app.address)
    native.when(Orchestrator.Browser1Working)
    corrupt = page.locator("#corrupt")
    corrupt.click()
    expect(corrupt).to_have_attribute("aria-pressed", "true")
    corrupt.click()
    expect(corrupt).to_have_attribute("aria-pressed", "false")
    corrupt.click()
    native.ends_well()
    assert native.app.handlers.run.restarts == 1
    page.locator("#again").click()
    native.when_not(Orchestrator.WorkDelivered)
    native.ends_well()
    assert native.app.handlers.runs == 2


@settings(CALM)
def test_who_breaks_a_rule_is_told_and_the_run_goes_on(native: Native, page: Page) -> None:
    page.goto(native.app.address)
    told = page.evaluate(
        """async () => {
            const closed = (path, protocols) => new Promise((done) => {
                const socket = new WebSocket(`ws://${location.host}${path}`, protocols);
                socket.onclose = ({ code, reason }) => done(`${code} ${reason}`);
            });
            const path = "/listen/browser3/orchestrator";
            return [await closed(path, ["amrpc.v1"]), await closed(path, ["amrpc.v1", "amtok.AAAA"])];
        }"""
    )
    assert [text.split(":")[0] for text in told] == ["4401 AUTH", "4401 AUTH"]
    native.ends_well()


@settings(CALM)
def test_the_page_is_readable_on_a_phone_and_on_a_desk(native: Native, page: Page) -> None:
    """Nothing is wider than the screen, and an audit for people with a disability finds nothing, dark or light."""
    page.goto(native.app.address)
    native.ends_well()
    expect(page.locator("#phase")).to_have_text(DELIVERED)
    looks: list[tuple[int, Literal["light", "dark"]]] = [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")]
    for width, scheme in looks:
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = Axe().run(page)
        assert found.violations_count == 0, f"{width} px, {scheme}:\n{found.generate_report()}"
