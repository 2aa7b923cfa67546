"""The log of a machine and that of the program: each can feed the other, and the environment sets both up."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asyncmachine.machine.api import Api
from asyncmachine.machine.binding import clean_id
from asyncmachine.machine.levels import CHANGES, LogLevel
from asyncmachine.machine.log import to_stdout
from asyncmachine.machine.settings import Settings


def log_env(machine: Api[Any], settings: Settings | None = None, *, folder: Path | None = None) -> None:
    """Sets a machine's log up as the environment says (or the given settings). Call it right after making the machine.

    Without `AM_LOG_PRINT` and `AM_LOG_FILE` (a file in `folder`, or the working directory) entries are kept for tracers
    only. The kinds of detail are switched on only if there is a debugger to read them.
    """
    settings = Settings.from_env() if settings is None else settings
    log = machine.log
    log.show_id = settings.log_id
    log.traces = settings.log_stack_trace
    if settings.is_telemetry and settings.log.on:
        log.switch(*settings.log.on)
    log.empty = not (settings.log_print or settings.log_file)
    if settings.log_file:
        log.output = file_output(machine, folder or Path.cwd())
    elif settings.log_print:
        log.output = to_stdout
    log.level = LogLevel(settings.log_level)


def file_output(machine: Api[Any], folder: Path) -> Callable[[LogLevel, str], None]:
    """An output for `machine.log` that appends to ``<machine id>.log``; closed when the machine is disposed."""
    file = (folder / f"{clean_id(machine.id) or 'machine'}.log").open("a", encoding="utf-8", buffering=1)
    machine.on_dispose(lambda _: file.close())
    return lambda _, line: print(line, file=file)


def logger_output(logger: logging.Logger) -> Callable[[LogLevel, str], None]:
    """An output for `machine.log` that writes to a standard logger: changes as info, what is finer as debug."""

    def output(level: LogLevel, line: str) -> None:
        logger.log(logging.INFO if level <= CHANGES else logging.DEBUG, "%s", line)

    return output


class MachineLogHandler(logging.Handler):
    """Takes records of a standard logger into the log of a machine, so that they stand between its transitions::

    logging.getLogger("app").addHandler(MachineLogHandler(machine))
    """

    def __init__(self, machine: Api[Any], level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._machine = machine

    def emit(self, record: logging.LogRecord) -> None:
        """Logs the formatted record as a line of the machine's user."""
        try:
            self._machine.log("%s", self.format(record))
        except Exception:  # noqa: BLE001 (as every standard handler does)
            self.handleError(record)
