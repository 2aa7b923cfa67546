import logging

import pytest

import asyncmachine as am
from asyncmachine.machine.settings import KNOWN, LogSwitches, Settings, SettingsError, is_debug, patience, unknown


def test_without_variables_a_machine_behaves_as_its_defaults_say() -> None:
    settings, machine = Settings.from_env({}), am.Machine({"A": {}})
    assert settings == Settings()
    for name in ("handler_timeout", "handler_deadline", "handler_backoff", "eval_timeout", "queue_limit"):
        assert getattr(settings, name) == getattr(machine, name)
    assert not settings.is_debug and not settings.is_telemetry


def test_every_variable_changes_something() -> None:
    values = {"AM_LOG": "3", "AM_DBG_ADDR": "1", "AM_TRACE_FILTER": "site-packages/"}
    for name in set(KNOWN) - {"AM_DETECT_EVAL"}:  # known, but what it switched on is always on here
        assert Settings.from_env({name: values.get(name, "1")}) != Settings(), name


@pytest.mark.parametrize("off", ["", "0", "no", "Off", "FALSE", " "])
def test_ways_to_say_off(off: str) -> None:
    for name in KNOWN:
        if name not in ("AM_LOG", "AM_TRACE_FILTER"):
            assert Settings.from_env({name: off}) == Settings(), name


def test_a_repl_comes_to_a_free_port_of_this_computer_unless_told_otherwise() -> None:
    assert Settings.from_env({"AM_REPL_ADDR": "1"}).repl == "127.0.0.1:0"
    assert Settings.from_env({"AM_REPL_ADDR": " 127.0.0.1:7000 "}).repl == "127.0.0.1:7000"
    assert Settings.from_env({"AM_REPL_ADDR": "1"}).is_repl
    assert not Settings.from_env({"AM_REPL_ADDR": "1", "AM_TEST_RUNNER": "1"}).is_repl
    assert not Settings.from_env({"AM_REPL_DIR": "run"}).is_repl


def test_debug_means_patience_and_errors_where_they_happen() -> None:
    settings = Settings.from_env({"AM_DEBUG": "2"})
    assert settings.is_debug and settings.log_print and not settings.catch_errors
    assert settings.handler_timeout == settings.handler_deadline == settings.eval_timeout == 600


def test_in_a_test_nothing_is_debugged() -> None:
    settings = Settings.from_env({"AM_DEBUG": "1", "AM_DBG_ADDR": "1", "AM_TEST_RUNNER": "1"})
    assert settings.debugger == "localhost:6831"
    assert not settings.is_debug and not settings.is_telemetry
    assert Settings.from_env({"AM_DBG_ADDR": "10.0.0.1:7000"}).is_telemetry


@pytest.mark.parametrize("value", ["6", "-1", "all", "1.5", "²"])
def test_a_level_that_is_none(value: str) -> None:
    with pytest.raises(SettingsError, match="AM_LOG is a level from 0"):
        Settings.from_env({"AM_LOG": value})


def test_single_switches_and_all_of_them() -> None:
    assert LogSwitches.from_env({"AM_LOG_STEPS": "1", "AM_LOG_CHECKS": "1"}).on == ("steps", "can")
    assert LogSwitches.from_env({"AM_LOG_FULL": "1"}) == LogSwitches.full()
    assert not LogSwitches.from_env({}).steps


def test_misspelt_names_are_told_in_debug_mode_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    Settings.from_env({"AM_LGO": "1"})
    assert not caplog.messages
    Settings.from_env({"AM_LGO": "1", "AM_DEBUG": "1", "AM_RPC_LOG_SERVER": "1", "PATH": ""})
    assert caplog.messages == ["environment variable AM_LGO is unknown; did you mean AM_LOG?"]
    assert unknown(["AM_QQQQQQ"]) == ["environment variable AM_QQQQQQ is unknown"]


def test_waits_are_longer_while_somebody_debugs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AM_DEBUG", raising=False)
    monkeypatch.delenv("AM_TEST_RUNNER", raising=False)
    assert patience(2) == 2 and not is_debug()
    monkeypatch.setenv("AM_DEBUG", "1")
    assert patience(2) == 200 and patience(None) is None
    monkeypatch.setenv("AM_TEST_RUNNER", "1")
    assert patience(2) == 2
