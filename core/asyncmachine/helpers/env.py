"""Where the program runs, and how to change what the environment says about debugging.

What it says is read by `am.Settings.from_env()`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping

from asyncmachine.machine.settings import LEVELS, Settings, SettingsError, flag, is_debug

__all__ = [
    "enable_debugging",
    "is_debug",
    "is_telemetry",
    "is_test_runner",
    "is_wasi",
    "is_wasm",
    "set_env_log_level",
]


def is_telemetry() -> bool:
    """True if machines report to a debugger; never in a test."""
    return Settings.from_env().is_telemetry


def is_test_runner() -> bool:
    """True while a test runs that says so by `AM_TEST_RUNNER`."""
    return flag(os.environ, "AM_TEST_RUNNER")


def is_wasm() -> bool:
    """True in WebAssembly: in a page or a worker, or under WASI."""
    return sys.platform in ("emscripten", "wasi")


def is_wasi() -> bool:
    """True under WASI, where there is neither a page nor a socket."""
    return sys.platform == "wasi"


def enable_debugging(*, stdout: bool = False, env: MutableMapping[str, str] | None = None) -> bool:
    """Sets the variables for debugging, before the first machine is made. False, and nothing set, in a test.

    They are `AM_DEBUG`, `AM_DBG_ADDR`, `AM_LOG_FULL` and `AM_LOG=3`, with `stdout` also `AM_LOG_PRINT`.
    """
    env = os.environ if env is None else env
    if flag(env, "AM_TEST_RUNNER"):
        return False
    env.update({"AM_DEBUG": "1", "AM_DBG_ADDR": "1", "AM_LOG": "3", "AM_LOG_FULL": "1"})
    if stdout:
        env["AM_LOG_PRINT"] = "1"
    return True


def set_env_log_level(level: int, env: MutableMapping[str, str] | None = None) -> None:
    """Sets `AM_LOG`. Raises `SettingsError` for anything but 0 to 5."""
    if level not in LEVELS:
        raise SettingsError(f"the level of the log is 0 (nothing) to 5 (everything), got {level!r}")
    (os.environ if env is None else env)["AM_LOG"] = str(int(level))
