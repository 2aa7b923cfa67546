"""How a headless run is judged. The browser is a program that writes what Chromium would, the workers are natives."""

import asyncio
import os
from pathlib import Path

import pytest

from asyncmachine_relay import bind
from examples.wasm_workflow import chromium, dag, headless, seeds
from examples.wasm_workflow.app import App
from examples.wasm_workflow.settings import Settings
from examples.wasm_workflow.states import Orchestrator
from tests.wasm_workflow.relayed import Relayed

QUICK = Settings(seed=seeds.EVENTFUL_SEED, hash_iterations=10)


@pytest.fixture
def fake_chromium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called chromium, to be written by the test."""
    program = tmp_path / "chromium"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return program


def write(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


async def test_a_good_run_prints_the_story_both_digests_and_the_times(fake_chromium: Path) -> None:
    write(fake_chromium, "exec sleep 1000")
    said: list[str] = []
    flow = Relayed(QUICK)
    async with flow:
        flow.app.listener = None
        assert await headless.run(flow.app, said.append) == ""
    for node, digest in dag.EXPECTED.items():
        assert f"{node} {digest.hex()} as expected" in said
    phases = [line.split("  ")[-1] for line in said[-4:]]
    # Page and dispatcher dial on their own: either may be first.
    assert sorted(phases) == sorted(name for name, _ in headless.PHASES) and phases[-1] == "work delivered"


async def test_a_browser_that_ends_is_the_reason_and_its_console_is_shown(fake_chromium: Path) -> None:
    write(fake_chromium, """echo '[1:2:INFO:CONSOLE(3)] "no Python today", source: x' >&2; echo other >&2; exit 7""")
    said: list[str] = []
    async with App(QUICK, bind()) as app:
        assert await headless.run(app, said.append) == "Chromium ended with code 7"
    assert '  "no Python today", source: x' in said
    assert "browser3 no result" in said
    assert not any("other" in line for line in said)


async def test_workers_that_never_come_are_named(fake_chromium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(fake_chromium, "exec sleep 1000")
    monkeypatch.setattr(headless, "BOOT_LIMIT", 0.1)
    async with App(QUICK, bind()) as app:
        reason = await headless.run(app, lambda line: None)
    assert reason == "not ready within 0.1 s: browser1, browser2, browser3, browser4"


async def test_a_workflow_that_gives_up_is_a_failure(fake_chromium: Path) -> None:
    write(fake_chromium, "exec sleep 1000")
    async with Relayed(Settings(seed=seeds.EVENTFUL_SEED, hash_iterations=10, max_restarts=0)) as flow:
        reason = await headless.run(flow.app, lambda line: None)
    assert reason == "the workflow failed: wrong digest from browser3 and browser4 after 0 restarts"


async def test_a_run_that_is_stuck_ends(fake_chromium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(fake_chromium, "exec sleep 1000")
    monkeypatch.setattr(headless, "RUN_LIMIT", 0.1)
    async with Relayed(Settings(seed=0, success_rate=10**9, hash_iterations=10_000_000)) as flow:
        assert await headless.run(flow.app, lambda line: None) == "no result within 0.1 s"
        assert Orchestrator.WorkersReady in flow.machine


async def test_all_of_the_browser_is_ended(fake_chromium: Path, tmp_path: Path) -> None:
    tells = tmp_path / "child"
    os.mkfifo(tells)
    write(fake_chromium, f"sleep 1000 & echo $! > {tells}; wait")
    async with chromium.opened("http://127.0.0.1:1/"):
        child = (await asyncio.to_thread(tells.read_text)).strip()
        assert Path(f"/proc/{child}/exe").exists()
    assert not Path(f"/proc/{child}/exe").exists()
