"""docs/server.md: its process serves a project behind a proxy and ends in order, and its settings are valid."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asyncmachine import rpc
from asyncmachine.rpc.transport.relayed import Relayed
from asyncmachine.rpc.transport.tunnel import Refused
from asyncmachine_relay.reading import parse
from asyncmachine_web.build import Project, new_app, pack
from tests.docs.pages import ROOT, blocks
from tests.ports import free_port

BLOCKS = list(blocks((ROOT / "docs" / "server.md").read_text(encoding="utf-8")))
(SERVE,) = [block.code for block in BLOCKS if block.info == "python no-run"]
LEFT_OUT, APART = [block.code for block in BLOCKS if block.info == "toml"]
NAME = "served_app"
FORWARDED = {"X-Forwarded-For": "203.0.113.7"}
"""What the proxy says of somebody."""


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The process of the manual, in a new project whose page is a line of text, and its address."""
    root = new_app(NAME, folder)
    (root / NAME / "serve.py").write_text(SERVE)
    (root / "dist").mkdir()
    (root / "dist" / "index.html").write_text("<p>the shop")
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "PORT": str(port), "ORIGIN": origin, "PYTHONDONTWRITEBYTECODE": "1"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", f"{NAME}.serve", cwd=root, env=environment)
    try:
        yield process, origin
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_page_behind_the_proxy_is_let_in_and_the_process_ends_in_order(tmp_path: Path) -> None:
    async with served(tmp_path) as (process, origin):
        client = rpc.Client(Relayed(origin, headers=FORWARDED).dial("page-1", "guests"), no_schema=True)
        client.start()
        await client.when_ready()
        assert client.netmach.is_("Open")
        with pytest.raises(Refused, match="FORBIDDEN"):
            await Relayed(origin, headers=FORWARDED).dial("other-1", "guests")()
        with pytest.raises(Refused, match="FORBIDDEN"):  # nothing but the proxy asks
            await Relayed(origin).dial("page-2", "guests")()
        await client.stop()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


def test_the_process_of_the_manual_is_not_in_what_visitors_get(tmp_path: Path) -> None:
    """A project's page has all of its package but what the manual leaves out."""
    root = new_app(NAME, tmp_path)
    (root / NAME / "serve.py").write_text(SERVE)
    table = root / "pyproject.toml"
    (said,) = re.findall(r"^leave_out = .*$", LEFT_OUT.replace("my_app", NAME), re.MULTILINE)
    table.write_text(re.sub(r"^leave_out = .*$", said, table.read_text(), flags=re.MULTILINE))
    project = Project.read(root)
    packed = pack(root, project.packages, tmp_path / "app.zip", leave_out=project.leave_out)
    with zipfile.ZipFile(packed) as archive:
        names = {name.removeprefix(f"{NAME}/") for name in archive.namelist()}
    assert names == {"__init__.py", "page.py", "states.py", "worker.py"}


def test_the_settings_of_a_relay_apart_are_valid(tmp_path: Path) -> None:
    config = parse(APART.replace("/opt/shop/dist", str(tmp_path)), "docs/server.md")
    assert config.pages.mounts == {"/apps/shop/": tmp_path}
    assert [(target.name, target.ids) for target in config.targets] == [("guests", "page-.+")]
