"""docs/server.md in a real browser: its process with a built page, behind nginx, below a path."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from asyncmachine_web.build import Project, build, new_app
from tests.docs.pages import ROOT
from tests.ports import free_ports
from tests.relay.test_proxies import NGINX, program
from tests.web.browser import Mishaps
from tests.web.test_served import NAME, SERVE


@pytest.fixture
def address(tmp_path: Path, mishaps: Mishaps) -> Iterator[str]:
    """Where nginx has the page."""
    nginx = program("nginx")
    project = new_app(NAME, tmp_path)
    (project / NAME / "serve.py").write_text(SERVE)
    build(Project.read(project), project / "dist")
    outer, inner = free_ports(2)
    text = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    config = tmp_path / "nginx.conf"
    config.write_text(
        NGINX.format(dir=tmp_path, example=example).replace(":8080", f":{outer}").replace(":12733", f":{inner}")
    )
    mishaps._own = f"http://127.0.0.1:{outer}"
    environment = {**os.environ, "ORIGIN": mishaps._own, "PORT": str(inner), "PYTHONDONTWRITEBYTECODE": "1"}
    with ExitStack() as running:
        for command in ([sys.executable, "-m", f"{NAME}.serve"], [nginx, "-p", str(tmp_path), "-c", str(config)]):
            process = running.enter_context(subprocess.Popen(command, cwd=project, env=environment))
            running.callback(process.terminate)
        for port in (inner, outer):
            until_open(port)
        yield f"{mishaps._own}/apps/shop/"


def until_open(port: int) -> None:
    """Until a program that was started listens there."""
    for _ in range(3000):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise AssertionError(f"nobody listens on {port}")


def test_a_page_below_a_path_finds_its_server_and_is_kept(page: Page, address: str, mishaps: Mishaps) -> None:
    page.goto(address)
    expect(page.locator("#link")).to_have_text("live")
    assert page.evaluate("crossOriginIsolated")
    page.locator("#name").fill("Ada")
    page.keyboard.press("Enter")
    expect(page.locator("#names li")).to_have_text(["Ada"])
    expect(page.locator("[data-offline]")).to_be_visible()
    assert {url for url in mishaps.requests if "/token" in url} == {f"{address}token"}
