"""`make demo HEADLESS=1 DBG=FILE`: all five machines in one file, those of page and workers through `/dbg.ws`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asyncmachine.telemetry.dbg.replay import summary

ROOT = Path(__file__).parent.parent


@pytest.mark.timeout(240)
def test_all_five_machines_are_recorded(tmp_path: Path) -> None:
    dump = tmp_path / "workflow.amdbg"
    command = [sys.executable, "-m", "examples.wasm_workflow", "--headless", "--seed=7", "--port=0", f"--dbg={dump}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=220, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {machine.id: machine for machine in summary(dump).machines}
    assert set(found) == {"orchestrator", "browser1", "browser2", "browser3", "browser4"}
    assert all(machine.transitions > 0 and not machine.lost for machine in found.values())
    assert "WorkDelivered" in found["orchestrator"].active
