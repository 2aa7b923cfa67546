"""The workflow in real Chromium: one address for all tests, and one native process, or program, for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Page

from examples.wasm_workflow.settings import Settings
from tests.wasm_workflow.native import Launch, Program, Serve, native, reserved_port
from tests.wasm_workflow.tab import Tab
from tests.web.browser import Mishaps


@pytest.fixture(scope="session")
def port() -> Iterator[int]:
    with reserved_port() as found:
        yield found


@pytest.fixture
def address(port: int) -> str:
    """Where all of it happens, without a slash at its end."""
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def mishaps(address: str) -> Mishaps:
    """Watches over the pages of the workflow instead of those of the other tests' relay."""
    return Mishaps(address)


@pytest.fixture
def serve(port: int) -> Iterator[Serve]:
    """Serves the workflow from a thread, with the settings that the test gives."""
    with ExitStack() as running:
        yield lambda settings: running.enter_context(native(settings, port))


@pytest.fixture
def launch(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Serves the workflow from a process that can be killed."""
    launched: list[Program] = []

    def start(settings: Settings) -> Program:
        launched.append(Program(settings, port, tmp_path_factory.mktemp("program")))
        return launched[-1]

    yield start
    for program in launched:
        program.end()


@pytest.fixture
def tab(serve: Serve, launch: Launch, page: Page) -> Iterator[Tab]:
    """An empty tab. It is closed before its server is."""
    yield Tab(page)
    for left in page.context.pages:
        Tab(left).close()
