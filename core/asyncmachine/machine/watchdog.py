"""The watchdog: one thread that notices handlers which do not come back.

A handler that takes longer than `handler_timeout` is reported while it still runs, with its stack. At
`handler_deadline` an error is raised inside of it. Both are best effort: an error can be raised between two bytecodes
only, so a handler stuck in `time.sleep` or in C code is just reported. Where threads cannot start (a browser),
handlers are only measured.
"""

from __future__ import annotations

import ctypes
import logging
import sys
import threading
import traceback
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from asyncmachine.machine.errors import HandlerDeadline, HandlerTimeout

if TYPE_CHECKING:
    from asyncmachine.machine.machine import Machine

logger = logging.getLogger("asyncmachine")

Busy = tuple[float, str, int]
"""A handler that runs: since when (`perf_counter`), its name, its thread."""

LONGEST_NAP = 0.5
SHORTEST_NAP = 0.01
"""Seconds between two looks; half of the shortest time-out in between."""


class Watchdog:
    """Looks at the machines that have handlers."""

    def __init__(self) -> None:
        self._machines: WeakSet[Machine[Any]] = WeakSet()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def watch(self, machine: Machine[Any]) -> None:
        """Adds a machine; the thread starts with the first one."""
        if sys.platform == "emscripten":
            return
        with self._lock:
            self._machines.add(machine)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="asyncmachine-watchdog", daemon=True)
                self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        while True:
            with self._lock:
                machines = list(self._machines)
                if not machines:
                    self._thread = None
                    return
            nap = min(min(m.handler_timeout, m.handler_deadline) for m in machines) / 2
            for machine in machines:
                look_at(machine)
            del machine, machines
            self._wake.wait(min(max(nap, SHORTEST_NAP), LONGEST_NAP))
            self._wake.clear()


def look_at(machine: Machine[Any]) -> None:
    """Reports or interrupts the machine's handler, if it has been running for too long."""
    busy = machine._busy
    if busy is None:
        return
    started, name, thread = busy
    lasted = perf_counter() - started
    if lasted > machine.handler_deadline:
        interrupt(machine, busy)
    elif lasted > machine.handler_timeout and machine._reported is not busy:
        machine._reported = busy
        frame = sys._current_frames().get(thread)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        logger.warning("%s: %s has been running for %.1f s\n%s", machine.id, name, lasted, stack)


def interrupt(machine: Machine[Any], busy: Busy) -> None:
    """Raises `HandlerDeadline` in the thread of a handler, once."""
    if machine._interrupted is busy:
        return
    machine._interrupted = busy
    thread = ctypes.c_ulong(busy[2])
    if machine._busy is busy:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(HandlerDeadline))
        if machine._busy is not busy:
            # It has returned in this very moment: take the error back before it hits what comes after.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)


def overrun(name: str, binding: str, lasted: float, timeout: float, deadline: float) -> HandlerTimeout:
    """The error of a handler that came back too late."""
    kind = HandlerDeadline if lasted > deadline else HandlerTimeout
    limit = deadline if kind is HandlerDeadline else timeout
    return kind(
        f"{name} of {binding} took {lasted:.3f} s, more than {limit} s; move slow work to an `async def` handler"
    )


WATCHDOG = Watchdog()
