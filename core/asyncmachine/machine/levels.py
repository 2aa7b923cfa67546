"""How much a machine tells: levels, and the entries of a log."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class LogLevel(IntEnum):
    """Each level includes those before it."""

    NOTHING = 0
    EXTERNAL = 1
    """What is logged by the machine's users."""
    CHANGES = 2
    """Changes of states, and errors."""
    OPS = 3
    """Mutations, handlers, waits, and why something was rejected; what a debugger needs."""
    DECISIONS = 4
    """Also what was decided about states that nobody called."""
    EVERYTHING = 5
    """Also what was asked without an answer, and states that have not changed."""


NOTHING, EXTERNAL, CHANGES, OPS, DECISIONS, EVERYTHING = LogLevel


class LogEntry(NamedTuple):
    """One line of the log, without the machine's id in front. Only stack traces make it several lines."""

    level: LogLevel
    text: str
