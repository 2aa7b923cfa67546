import sys

import pytest

from asyncmachine.helpers import env
from asyncmachine.machine.settings import Settings, SettingsError


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AM_DEBUG", "AM_DBG_ADDR", "AM_TEST_RUNNER", "AM_LOG"):
        monkeypatch.delenv(name, raising=False)


def test_nothing_is_on_by_itself() -> None:
    assert not env.is_debug() and not env.is_telemetry() and not env.is_test_runner()
    assert not env.is_wasm() and not env.is_wasi()


def test_what_is_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AM_DEBUG", "1")
    monkeypatch.setenv("AM_DBG_ADDR", "1")
    assert env.is_debug() and env.is_telemetry()
    monkeypatch.setenv("AM_TEST_RUNNER", "1")
    assert env.is_test_runner() and not env.is_debug() and not env.is_telemetry()


@pytest.mark.parametrize(("platform", "wasm", "wasi"), [("emscripten", True, False), ("wasi", True, True)])
def test_platforms(monkeypatch: pytest.MonkeyPatch, platform: str, wasm: bool, wasi: bool) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert (env.is_wasm(), env.is_wasi()) == (wasm, wasi)


def test_debugging_is_enabled_by_variables() -> None:
    variables: dict[str, str] = {}
    assert env.enable_debugging(env=variables)
    settings = Settings.from_env(variables)
    assert settings.is_debug and settings.is_telemetry and settings.log_level == 3 and not settings.log_print
    assert settings.log.on == ("steps", "graph", "can", "queued", "args", "when", "state_ctx")
    env.enable_debugging(stdout=True, env=variables)
    assert Settings.from_env(variables).log_print


def test_debugging_stays_off_in_a_test() -> None:
    variables = {"AM_TEST_RUNNER": "1"}
    assert not env.enable_debugging(env=variables)
    assert variables == {"AM_TEST_RUNNER": "1"}


def test_the_level_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AM_LOG", "0")
    env.set_env_log_level(4)
    assert Settings.from_env().log_level == 4
    with pytest.raises(SettingsError, match="got 6"):
        env.set_env_log_level(6)
