"""What the environment says: one record for all `AM_*` variables of the core.

A page has no environment of its own; it gives the same names as a mapping (`Settings.from_env(mapping)`). A variable
that is unset, empty or one of `0`, `no`, `off`, `false` is off. Those of aRPC are told in `rpc.own_log`.

====================  ================================================================================================
variable              what it does
====================  ================================================================================================
AM_DEBUG              long time-outs, errors of handlers are not caught; `2`: log lines to the standard output too
AM_TEST_RUNNER        a test runs: nothing of the debugger is switched on, whatever else is set
AM_LOG                level of the text log, 0 to 5
AM_LOG_PRINT          the text log goes to the standard output
AM_LOG_FILE           the text log goes to a file named after the machine
AM_LOG_FULL           all that follows, up to AM_LOG_STATE_CTX
AM_LOG_STEPS          transitions keep their steps
AM_LOG_GRAPH          the debugger gets the graph of the machine
AM_LOG_CHECKS         dry runs are recorded
AM_LOG_QUEUED         queued mutations are recorded
AM_LOG_ARGS           arguments are recorded
AM_LOG_WHEN           waits are recorded
AM_LOG_STATE_CTX      scopes are recorded
AM_DBG_ADDR           address of the debugger, `1` for ``localhost:6831``
AM_DBG_NO_TRACE       recorded mutations come without a stack
AM_HEALTHCHECK        debugged machines get a periodic `Healthcheck`
AM_REPL_ADDR          address where REPLs find machines, `1` for a free port of this computer
AM_REPL_DIR           directory for the files that tell the addresses of machines
AM_DETECT_EVAL        known, without effect: an evaluation inside of a handler is always found out
AM_TRACE_FILTER       text that is taken out of stack traces
====================  ================================================================================================
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from asyncmachine.machine.errors import AmError, nearest

DEBUGGER_ADDRESS: Final = "localhost:6831"
REPL_ADDRESS: Final = "127.0.0.1:0"
DEBUG_PATIENCE: Final = 100
"""How many times longer waits last while somebody steps through the code."""

OFF: Final = frozenset({"", "0", "no", "off", "false"})
SWITCHES: Final = {
    "steps": "AM_LOG_STEPS",
    "graph": "AM_LOG_GRAPH",
    "can": "AM_LOG_CHECKS",
    "queued": "AM_LOG_QUEUED",
    "args": "AM_LOG_ARGS",
    "when": "AM_LOG_WHEN",
    "state_ctx": "AM_LOG_STATE_CTX",
}
"""Kinds of detail in the log of a machine, with the variable of each."""

LEVELS: Final = range(6)

KNOWN: Final = (
    "AM_DEBUG",
    "AM_TEST_RUNNER",
    "AM_LOG",
    "AM_LOG_PRINT",
    "AM_LOG_FILE",
    "AM_LOG_FULL",
    *SWITCHES.values(),
    "AM_DBG_ADDR",
    "AM_DBG_NO_TRACE",
    "AM_HEALTHCHECK",
    "AM_REPL_ADDR",
    "AM_REPL_DIR",
    "AM_DETECT_EVAL",
    "AM_TRACE_FILTER",
)
OTHERS: Final = (
    *("AM_TEST_", "AM_NIGHTLY_", "AM_RPC_", "AM_RELAY_", "AM_NODE_", "AM_PUBSUB_", "AM_DBG_WORKER_"),
    *("AM_HOSTNAME", "AM_SERVICE", "AM_OTEL_", "AM_PROM_", "AM_LOKI_", "AM_GRAFANA_"),
)
"""How variables begin that other packages read."""

logger = logging.getLogger("asyncmachine")


class SettingsError(AmError):
    """A variable has a value that it cannot have."""


@dataclass(frozen=True, slots=True)
class LogSwitches:
    """What is recorded beside the text of the log. Everything is off by default, as it costs time."""

    steps: bool = False
    graph: bool = False
    can: bool = False
    queued: bool = False
    args: bool = False
    when: bool = False
    state_ctx: bool = False

    @classmethod
    def full(cls) -> LogSwitches:
        """All on."""
        return cls(**dict.fromkeys(SWITCHES, True))

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> LogSwitches:
        """What `AM_LOG_FULL` or the single variables switch on."""
        env = os.environ if env is None else env
        if flag(env, "AM_LOG_FULL"):
            return cls.full()
        return cls(**{switch: flag(env, name) for switch, name in SWITCHES.items()})

    @property
    def on(self) -> tuple[str, ...]:
        """Those that are on: ``machine.log.switch(*switches.on)``."""
        return tuple(switch for switch in SWITCHES if getattr(self, switch))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How machines behave and what they tell. Times are in seconds.

    `catch_errors` turns errors of handlers into `Exception`; off, they end the call that ran the handler. `log_id` puts
    the machine's id before each line, `log_stack_trace` the stack after an error.
    """

    handler_timeout: float = 1.0
    handler_deadline: float = 10.0
    handler_backoff: float = 3.0
    eval_timeout: float = 1.0
    queue_limit: int = 1000
    catch_errors: bool = True
    trace_filter: str = ""

    log_level: int = 0
    log_id: bool = True
    log_stack_trace: bool = True
    log_print: bool = False
    log_file: bool = False
    log: LogSwitches = field(default_factory=LogSwitches)

    debug: bool = False
    test_runner: bool = False
    debugger: str = ""
    debugger_traces: bool = True
    healthcheck: bool = False
    repl: str = ""
    repl_dir: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """What the variables say; `env` is this process's environment unless given.

        Raises `SettingsError` for a level that is none. In debug mode, names unknown to the library are logged: they
        are mostly misspelt.
        """
        env = os.environ if env is None else env
        debug = flag(env, "AM_DEBUG")
        if debug:
            for text in unknown(env):
                logger.warning(text)
        address, repl = value(env, "AM_DBG_ADDR"), value(env, "AM_REPL_ADDR")
        found = cls(
            catch_errors=not debug,
            trace_filter=env.get("AM_TRACE_FILTER", ""),
            log_level=level(env.get("AM_LOG", "")),
            log_print=flag(env, "AM_LOG_PRINT") or env.get("AM_DEBUG") == "2",
            log_file=flag(env, "AM_LOG_FILE"),
            log=LogSwitches.from_env(env),
            debug=debug,
            test_runner=flag(env, "AM_TEST_RUNNER"),
            debugger=DEBUGGER_ADDRESS if address == "1" else address,
            debugger_traces=not flag(env, "AM_DBG_NO_TRACE"),
            healthcheck=flag(env, "AM_HEALTHCHECK"),
            repl=REPL_ADDRESS if repl == "1" else repl,
            repl_dir=value(env, "AM_REPL_DIR"),
        )
        return found.patient() if debug else found

    def patient(self) -> Settings:
        """The same with time-outs for somebody who steps through a handler."""
        return replace(self, handler_timeout=600.0, handler_deadline=600.0, eval_timeout=600.0)

    @property
    def is_debug(self) -> bool:
        """True while somebody debugs; never in a test."""
        return self.debug and not self.test_runner

    @property
    def is_telemetry(self) -> bool:
        """True if machines report to a debugger; never in a test."""
        return bool(self.debugger) and not self.test_runner

    @property
    def is_repl(self) -> bool:
        """True if machines can be reached by a REPL; never in a test."""
        return bool(self.repl) and not self.test_runner


def value(env: Mapping[str, str], name: str) -> str:
    """The value of a variable, empty if it is off."""
    return env[name].strip() if flag(env, name) else ""


def flag(env: Mapping[str, str], name: str) -> bool:
    """Whether a variable is on."""
    return env.get(name, "").strip().lower() not in OFF


def level(text: str) -> int:
    """A level of the text log. Raises `SettingsError` for anything but 0 to 5."""
    text = text.strip() or "0"
    if not text.isdecimal() or int(text) not in LEVELS:
        raise SettingsError(f"AM_LOG is a level from 0 (nothing) to 5 (everything), got {text!r}")
    return int(text)


def unknown(names: Iterable[str]) -> list[str]:
    """One text for each `AM_…` name that nobody reads, with the nearest known one."""
    found = []
    for name in names:
        if name.startswith("AM_") and name not in KNOWN and not name.startswith(OTHERS):
            hint = nearest(name, KNOWN)
            found.append(f"environment variable {name} is unknown" + (f"; did you mean {hint}?" if hint else ""))
    return found


def is_debug(env: Mapping[str, str] | None = None) -> bool:
    """`Settings.is_debug`, without reading all the others."""
    env = os.environ if env is None else env
    return flag(env, "AM_DEBUG") and not flag(env, "AM_TEST_RUNNER")


def patience(timeout: float | None) -> float | None:
    """How long to wait for what should take at most `timeout` seconds: a hundred times longer while debugging."""
    return None if timeout is None else timeout * DEBUG_PATIENCE if is_debug() else timeout
