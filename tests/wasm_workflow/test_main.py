"""The command."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from examples.wasm_workflow import chromium
from examples.wasm_workflow.command import BAD_USE, main

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def command(*argv: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command as a process of its own; it is gone at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "examples.wasm_workflow", *argv),
        cwd=ROOT,
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def printed(process: asyncio.subprocess.Process, pattern: str) -> re.Match[str]:
    """The first line that fits."""
    assert process.stdout is not None
    while line := (await process.stdout.readline()).decode():
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"no line with {pattern!r}")


def test_impossible_settings_are_refused_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--success-rate", "2"], {}) == BAD_USE
    assert "wasm_workflow: SUCCESS_RATE=2: no run could ever succeed" in capsys.readouterr().err


async def test_ctrl_c_during_the_imports_leaves_no_traceback() -> None:
    async with command("--port", "0", PYTHONPROFILEIMPORTTIME="1") as process:
        assert process.stderr is not None
        while b"asyncmachine.machine" not in await process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert process.returncode == -signal.SIGINT
        assert b"Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_one_address_is_printed_and_a_signal_ends_it(number: signal.Signals) -> None:
    async with command("--port", "0", "--seed", "5") as process:
        await printed(process, r"^seed 5, rate 5, ")
        address = await printed(process, r"^Open (http://127\.0\.0\.1:\d+/)   ")
        port = int(address[1].rstrip("/").rpartition(":")[2])
        process.send_signal(number)
        out, err = await process.communicate()
        assert (process.returncode, out, err) == (0, b"", b"")
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


async def test_a_busy_port_is_told_and_replaced() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        async with command(PORT=str(port)) as process:
            notice = await printed(process, r"^port (\d+) is busy; listening on (\d+) instead")
            assert int(notice[1]) == port
            address = await printed(process, r"^Open http://127\.0\.0\.1:(\d+)/ ")
            assert address[1] == notice[2]


async def test_without_chromium_a_headless_run_says_what_to_install(tmp_path: Path) -> None:
    async with command("--headless", PORT="0", PATH=str(tmp_path)) as process:
        _, err = await process.communicate()
        assert process.returncode == 1
        assert b"Chromium is not installed: `apt-get install chromium`" in err


def test_chromium_is_found_under_its_several_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "google-chrome").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chromium.find() == str(tmp_path / "google-chrome")
