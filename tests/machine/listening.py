"""Machines whose log is read by a test."""

from __future__ import annotations

from typing import Any

import asyncmachine as am

EVERYTHING = am.LogLevel.EVERYTHING


def made(**states: dict[str, Any]) -> am.Machine[str]:
    """A machine with these states."""
    return am.Machine(states)


def listen(machine: am.View[Any], level: int = EVERYTHING) -> list[str]:
    """The lines of the machine's log from now on, without its id and without stacks."""
    lines: list[str] = []
    machine.log.show_id = False
    machine.log.traces = False
    machine.log.simple(lines.append, level)
    return lines


def taken(lines: list[str]) -> list[str]:
    """What has been logged since the last call."""
    found = lines.copy()
    lines.clear()
    return found


class Keeper(am.Tracer):
    """Keeps every transition."""

    def __init__(self) -> None:
        self.ended: list[am.Transition] = []

    def transition_end(self, tx: am.Transition) -> None:
        self.ended.append(tx)

    @property
    def last(self) -> am.Transition:
        return self.ended[-1]


def texts(entries: Any) -> list[str]:
    return [entry.text for entry in entries]
