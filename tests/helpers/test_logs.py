import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

import asyncmachine as am
from asyncmachine.helpers.health import healthcheck
from asyncmachine.helpers.logs import MachineLogHandler, file_output, log_env, logger_output
from asyncmachine.machine.settings import LogSwitches, Settings
from asyncmachine.states import Basic
from tests.virtual_time import in_virtual_time


class Kept(am.Tracer):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def transition_end(self, tx: am.Transition) -> None:
        self.texts += [entry.text for entry in (*tx.pre_log_entries, *tx.log_entries)]


def machine(id: str = "m") -> am.Machine[str]:
    return am.Machine({"A": {}}, id=id)


def test_by_default_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    mach = machine()
    log_env(mach, Settings())
    mach.add("A")
    assert mach.log.level == 0 and mach.log.empty
    assert capsys.readouterr().out == ""


def test_lines_on_the_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    mach = machine()
    log_env(mach, Settings(log_level=2, log_print=True))
    mach.add("A")
    log_env(mach, Settings(log_level=2, log_print=True, log_id=False))
    mach.remove("A")
    assert capsys.readouterr().out == "[m] [state] +A\n[state] -A\n"


def test_without_an_output_entries_are_kept_for_tracers(capsys: pytest.CaptureFixture[str]) -> None:
    mach, kept = machine(), Kept()
    mach.trace(kept)
    log_env(mach, Settings(log_level=2))
    mach.add("A")
    assert kept.texts == ["[state] +A"] and capsys.readouterr().out == ""


def test_lines_in_a_file_named_after_the_machine(tmp_path: Path) -> None:
    mach = machine("a/b")
    log_env(mach, Settings(log_level=2, log_file=True), folder=tmp_path)
    mach.add("A")
    assert (tmp_path / "ab.log").read_text() == "[a/b] [state] +A\n"
    mach.dispose()
    again = machine("a/b")
    again.log.output = file_output(again, tmp_path)
    again.log.level = am.LogLevel.CHANGES
    again.add("A")
    again.dispose()
    assert (tmp_path / "ab.log").read_text().count("\n") == 2


def test_detail_is_for_a_debugger() -> None:
    mach = machine()
    on = LogSwitches(steps=True, can=True)
    log_env(mach, Settings(log=on))
    assert repr(mach.log) == "<Log of m: nothing>"
    log_env(mach, Settings(log=on, debugger="localhost:1"))
    assert repr(mach.log) == "<Log of m: nothing steps can>"


def test_the_environment_counts_if_nothing_else_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AM_LOG", "4")
    mach = machine()
    log_env(mach)
    assert mach.log.level == 4


def test_lines_go_to_a_standard_logger(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    mach = machine()
    mach.log.output = logger_output(logging.getLogger("test.machine"))
    mach.log.level = am.LogLevel.OPS
    mach.add("A", note="100 %")
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("DEBUG", "[m] [queue:add] A"),
        ("DEBUG", "[m] [add] A"),
        ("INFO", "[m] [state] +A"),
    ]


def test_records_of_a_standard_logger_stand_in_the_log_of_a_machine() -> None:
    mach, kept, logger = machine(), Kept(), logging.getLogger("test.first")
    mach.trace(kept)
    mach.log.keep(am.LogLevel.CHANGES)
    logger.setLevel(logging.DEBUG)
    logger.addHandler(MachineLogHandler(mach, logging.INFO))
    logger.debug("not this one")
    logger.info("at %d %%", 100)
    mach.add("A")
    assert kept.texts == ["[exter] at 100 %", "[state] +A"]


def test_a_record_that_cannot_be_formatted_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    mach = machine()
    mach.log.keep(am.LogLevel.EXTERNAL)
    MachineLogHandler(mach).handle(logging.LogRecord("test", logging.INFO, __file__, 1, "%d", ("x",), None))
    assert "Logging error" in capsys.readouterr().err


@in_virtual_time
async def test_signs_of_life_until_the_machine_goes() -> None:
    mach = am.Machine(Basic)
    task: Any = healthcheck(mach)
    await asyncio.sleep(95)
    assert mach.tick(Basic.Healthcheck) == 5
    mach.dispose()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_machine_without_the_state_gives_no_sign() -> None:
    assert healthcheck(machine()) is None
