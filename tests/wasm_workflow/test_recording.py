"""`DBG=FILE`: what is recorded of the machine that runs here. The ones in the browser are in `playwright/`."""

from __future__ import annotations

from pathlib import Path

import pytest

import asyncmachine as am
from asyncmachine.telemetry.dbg.replay import summary
from examples.wasm_workflow.recording import Recording
from examples.wasm_workflow.settings import SettingsError, read


async def test_a_machine_is_recorded_to_its_last_transition(tmp_path: Path) -> None:
    machine = am.Machine({"A": {"multi": True}}, id="orchestrator")
    async with Recording(tmp_path / "x.amdbg", machine):
        for _ in range(10):
            machine.add("A")
    [found] = summary(tmp_path / "x.amdbg").machines
    assert (found.id, found.transitions, found.lost) == ("orchestrator", 10, 0)


def test_the_file_is_given_on_the_command_line_or_in_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "x.amdbg"
    assert read(["--dbg", str(path)], {}).dbg == read([], {"DBG": str(path)}).dbg == path
    assert read([], {}).dbg is None


@pytest.mark.parametrize("wrong", [".", "no/such/directory/x.amdbg"])
def test_a_file_that_cannot_be_written_is_said_before_anything_runs(wrong: str) -> None:
    with pytest.raises(SettingsError, match="must be a file in a directory that is there"):
        read(["--dbg", wrong], {})


@pytest.mark.parametrize("length", [245, 300])  # the shorter one has no room for the name that it has meanwhile
def test_a_directory_that_takes_no_such_file_is_said_before_anything_runs(length: int, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written: File name too long"):
        read(["--dbg", str(tmp_path / ("x" * length + ".amdbg"))], {})
