"""The workflow as five native processes over TCP: the same digests, whatever happens to a process."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace

import pytest

from examples.wasm_workflow import dag, processes
from examples.wasm_workflow.processes import Processes
from examples.wasm_workflow.settings import QUICK_ITERATIONS, Settings
from examples.wasm_workflow.states import Orchestrator
from examples.wasm_workflow.story import Event

CALM = Settings(seed=0, success_rate=10**9, hash_iterations=QUICK_ITERATIONS)
"""No draw goes wrong."""

BUSY = replace(CALM, hash_iterations=300_000)
"""A node is at work for a while, so that faults meet it there."""


async def test_five_processes_end_in_the_expected_digests() -> None:
    told: list[str] = []
    assert await processes.run(replace(CALM, seed=2, success_rate=5), told.append) == dag.EXPECTED
    # What goes wrong is drawn from the seed, so it is the same story as in a browser.
    assert "after 3 restarts and 18 attempts" in told[-1]


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert processes.main(["--seed", "1", "--success-rate", "1000000"], {}) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [f"{node} {result.hex()} as expected" for node, result in dag.EXPECTED.items()]


async def delivered(runs: Processes) -> None:
    await runs.machine.when(Orchestrator.WorkDelivered)
    assert {node: runs.handlers.run.results[node] for node in dag.FINAL} == dag.EXPECTED


async def test_a_page_process_that_is_killed_at_work_is_replaced() -> None:
    async with Processes(BUSY) as runs:
        await runs.machine.when(Orchestrator.Browser1Working)
        first = runs.browser1.process
        assert first is not None
        os.kill(first.pid, signal.SIGKILL)
        await first.wait()
        runs.browser1.restart()
        await delivered(runs)
        assert runs.browser1.process is not first


async def test_a_network_that_is_cut_at_work_is_no_more_than_a_pause() -> None:
    events: list[Event] = []
    async with Processes(BUSY, events.append) as runs:
        await runs.machine.when(Orchestrator.WorkersReady, Orchestrator.Browser2Working)
        async with runs.cut():
            await runs.machine.when_not(Orchestrator.Browser1Conn, Orchestrator.Browser2Conn)
        await delivered(runs)


async def test_nothing_is_left_when_it_ends() -> None:
    async with Processes(CALM) as runs:
        await runs.machine.when(Orchestrator.WorkersReady)
        process = runs.browser1.process
        assert process is not None
    assert process.returncode is not None
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("process")]
