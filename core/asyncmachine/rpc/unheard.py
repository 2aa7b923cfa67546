"""Calls of a mirror that fail and that nobody awaits: told to the client's machine, and to the log.

The machine has its error for a moment only, where few look. Of a mutation that the source refuses nothing else would be
seen: the mirror stays as it is.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from asyncmachine.machine.errors import AmError
from asyncmachine.machine.levels import CHANGES
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.tracer import ErrorTracer
from asyncmachine.rpc.errors import UnknownOutcome

logger = logging.getLogger("asyncmachine.rpc")

AGAIN: Final = 60.0
"""Seconds after which the same failure of the same call is logged again."""

KINDS: Final = 256
"""Failures that are remembered for that, of all clients of this process. A mirror shall cost little."""

_told: dict[tuple[str, ...], float] = {}


def unheard(machine: Machine[Any], what: tuple[str, ...], error: AmError) -> None:
    """Tells the machine of a client. `what` is the kind of the mutation and its states.

    It is not logged if the machine's own log tells it, or an `on_error`.
    """
    if machine.log.level < CHANGES and not any(isinstance(one, ErrorTracer) for one in machine._tracers):
        _log(machine.id, what, error)
    machine.add_err(error)


def _log(id: str, what: tuple[str, ...], error: AmError) -> None:
    key, now = (id, type(error).__name__, getattr(error, "code", ""), *what), time.monotonic()
    if now - _told.get(key, -AGAIN) < AGAIN:
        return
    if len(_told) >= KINDS:
        _told.clear()
    _told[key] = now
    known = "whose outcome is unknown" if isinstance(error, UnknownOutcome) else "which has failed"
    logger.warning("%s: nobody awaited %s, %s: %s", id, " ".join(what), known, error)
