"""Real Chromium on pages that the real relay serves.

A test gets `page` and relative addresses (`page.goto("/pages/counter.html")`). It fails for what a person would not
see: console warnings and errors, unhandled errors and rejections, requests to a foreign host. A test that provokes some
names them: `mishaps.expect("404")`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext

from asyncmachine_relay import Relay, StaticRoot
from asyncmachine_web.build import pack, static_folder
from tests.web.browser import CHROMIUM, FLAGS, Mishaps, serving

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Debian's Chromium, which may run as root here and asks nobody by itself."""
    return {**browser_type_launch_args, "executable_path": CHROMIUM, "args": FLAGS}


@pytest.fixture(scope="session")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Our static files, and `pages/` with its Python, for all tests that need no relay of their own."""
    built = tmp_path_factory.mktemp("built")
    pack(HERE / "pages", ["workload.py", "counter.py"], built / "sources.zip")
    static: list[StaticRoot] = [("/pages/", HERE / "pages"), ("/built/", built), static_folder()]
    with serving(Relay(static, csp={"/pages/pyscript": "pyscript"})) as address:
        yield address


@pytest.fixture
def mishaps(base_url: str) -> Mishaps:
    return Mishaps(base_url)


@pytest.fixture
def context(context: BrowserContext, mishaps: Mishaps) -> Iterator[BrowserContext]:
    """Pytest-playwright's, watched."""
    context.set_default_timeout(30_000)
    mishaps.watch(context)
    yield context
    mishaps.check()
