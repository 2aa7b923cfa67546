"""The workflow's page in real Chromium: its controls are mutations, and it can be read on every screen."""

# mypy: disable-error-code="import-untyped"
from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Literal, Self

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

import asyncmachine as am
from asyncmachine_relay import bind
from examples.wasm_workflow import dag
from examples.wasm_workflow.app import App
from examples.wasm_workflow.settings import Settings
from examples.wasm_workflow.states import Orchestrator
from tests.web.browser import Mishaps

CALM = Settings(seed=0, success_rate=10**9, hash_iterations=10_000, port=0)
BUSY = replace(CALM, hash_iterations=1_000_000)
"""A node works long enough for a test to interfere."""

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

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        # Playwright runs a loop in the test's thread, so it must not block on the machine itself.
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def ends_well(self) -> None:
        """Waits for the end, and looks at the digests."""
        self.when(Orchestrator.WorkDelivered)
        assert dag.wrong(self.app.handlers.run.results) == ()
        assert not self.app.machine.is_err()


async def _met(wait: Callable[[], am.Wait]) -> None:
    await wait()


@pytest.fixture
def native(request: pytest.FixtureRequest) -> Iterator[Native]:
    """Serves the workflow with the test's settings."""
    with Native(request.param) as running:
        yield running


@pytest.fixture
def mishaps(request: pytest.FixtureRequest) -> Mishaps:
    """Watches over the pages of the test's own server."""
    return Mishaps(request.getfixturevalue("native").app.address.rstrip("/"))


def settings(chosen: Settings) -> pytest.MarkDecorator:
    """Which settings a test's native process has."""
    return pytest.mark.parametrize("native", [chosen], indirect=True, ids=["native"])


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
