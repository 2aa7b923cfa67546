"""Writes down what a machine does, in the form of the recording.

A transition is written when it ends, since its target, its acceptance and its time after may change until then.
"""

from __future__ import annotations

from typing import Any

import asyncmachine as am

from .load import Json

PREPENDED_CHECK_TICK = 2
"""What the recording gives as queue tick of a dry run called in a handler, which has none of its own."""


class Recorder(am.Tracer):
    """Collects transitions, each with the handler calls and nested mutations noted while it ran."""

    def __init__(self) -> None:
        self._transitions: list[Json] = []
        self._log: list[str | Json] = []

    def transition_init(self, tx: am.Transition) -> None:
        self._log = []

    def transition_end(self, tx: am.Transition) -> None:
        self._transitions.append(transition_entry(tx, self._log))

    def note(self, event: str | Json) -> None:
        """Adds a handler call, or what a handler did, to the log of the running transition."""
        self._log.append(event)

    def take(self) -> list[Json]:
        """The transitions since the last call."""
        taken, self._transitions = self._transitions, []
        return taken


def transition_entry(tx: am.Transition, log: list[str | Json]) -> Json:
    """One transition. Empty lists, unset flags and missing queue ticks are left out, as in the recording."""
    return {
        "type": str(tx.kind),
        "called": list(tx.called),
        **given(auto=tx.is_auto, check=tx.is_check, qtick=tx.mutation.queue_tick),
        "accepted": tx.accepted,
        "target": list(tx.target),
        **given(enters=list(tx.enters), exits=list(tx.exits)),
        "after": list(tx.after),
        **given(log=list(log)),
    }


def operation_entry(
    machine: am.Machine[str], result: am.Result | None, resolved: list[str], transitions: list[Json]
) -> Json:
    """One operation: what it returned and what the machine is like after it."""
    return {
        **(result_fields(result) if result is not None else {"result": "-"}),
        "time": list(machine.time()),
        "active": list(machine.active_states()),
        "qtick": machine.queue_tick,
        **given(qlen=machine.queue_len, err=error_text(machine), resolved=resolved),
        "tx": transitions,
    }


def result_fields(result: am.Result) -> Json:
    """A result as word and number: 0 executed, 1 canceled, else the queue tick. Read at once: it changes later."""
    if result.queued:
        return {"result": "queued", "n": result.tick or PREPENDED_CHECK_TICK}
    return {"result": str(result.outcome), "n": int(result.canceled)}


def error_text(machine: am.Machine[str]) -> str:
    """Text of the last error; empty when there was none."""
    return "" if machine.err is None else str(machine.err)


def given(**fields: Any) -> Json:
    """The fields that hold something."""
    return {key: value for key, value in fields.items() if value}
