"""`am dbg ls`: a recorded stream at a glance."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import asyncmachine as am
from asyncmachine.rpc.transport.memory import MemoryListener
from asyncmachine.telemetry.dbg.attach import attach
from asyncmachine.telemetry.dbg.dumps import SingleDump
from asyncmachine.telemetry.dbg.recorder import Recorder
from asyncmachine.telemetry.dbg.replay import ErrorSummary, MachineSummary, Summary
from asyncmachine_tools.dbg import text
from asyncmachine_tools.main import main


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """Of one machine with an error."""
    path = tmp_path / "one.amdbg"

    async def record() -> None:
        recorder = Recorder(SingleDump(path))
        listener = MemoryListener()
        async with recorder.running():
            machine = am.Machine({"A": {}, "B": {"multi": True}, "Exception": {"multi": True}}, id="prog")
            attachment = attach(machine, listener.dial)
            assert attachment is not None
            serving = asyncio.create_task(recorder.serve(await listener.accept()))
            for _ in range(10):
                machine.add("B")
            machine.add_err(ValueError("boom"))
            await attachment.close()
            await serving

    asyncio.run(record())
    return path


def test_machines_transitions_and_errors(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dbg", "ls", str(dump)]) == 0
    out = capsys.readouterr().out
    head, row = [line.split() for line in out.splitlines() if line.startswith(("machine", "prog"))]
    assert dict(zip(head, row, strict=False))["errors"] == "1"
    assert "B Exception" in out
    assert ", 1 machine\n" in out
    assert "ValueError: boom" in out


def test_the_same_for_programs(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dbg", "ls", "--json", str(dump)]) == 0
    found = json.loads(capsys.readouterr().out)
    [machine] = found["machines"]
    assert (machine["id"], machine["transitions"], machine["errors"]) == ("prog", 11, 1)
    [error] = found["errors"]
    assert (error["machine"], error["type"], error["message"]) == ("prog", "ValueError", "boom")


@pytest.mark.parametrize("content", [b"", b"no dump", b'{"magic": "amdbg"}\n'])
def test_what_is_no_dump_fails(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.amdbg"
    path.write_bytes(content)
    assert main(["dbg", "ls", str(path)]) == 1
    assert f"am dbg: {path}: " in capsys.readouterr().err
    assert main(["dbg", "ls", str(tmp_path / "absent")]) == 1
    assert capsys.readouterr().err == f"am dbg: {tmp_path / 'absent'}: No such file or directory\n"


def test_a_file_that_is_cut_tells_what_it_has(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = dump.read_bytes()
    dump.write_bytes(content[:-20])
    assert main(["dbg", "ls", str(dump)]) == 0
    assert "the file ends before its end" in capsys.readouterr().out


def test_names_cannot_move_the_cursor() -> None:
    evil = "\x1b[2Jgone\n\x9b\u202e\u2028\U000e0041é"
    machine = MachineSummary(evil, 1, "", evil, "", (), 1, False, 0, 0)
    error = ErrorSummary(evil, 1, evil, 0, (evil,), evil, evil, evil)
    shown = text(Summary(0, [machine], [error]))
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "\\x1b[2Jgone\\x0a\\x9b\\u202e\\u2028\\U000e0041é" in shown
    assert len(shown.splitlines()) == 7


def test_a_time_that_no_calendar_has_is_shown_as_it_is() -> None:
    sent = 2**64 * 100
    assert f"  {sent} ns after 1970  m 1" in text(Summary(0, [], [ErrorSummary("m", 1, "1", sent, ("A",), "", "", "")]))
