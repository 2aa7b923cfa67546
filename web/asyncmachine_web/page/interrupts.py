"""The interrupt by which a parent wakes a worker that keeps its thread.

`HandlerDeadline` is raised in code of the application and nowhere else. In the middle of our own it would leave a
message unread or a machine half-way, and a worker that answers its parent and serves nobody. So our code runs on until
the application has the thread again, and what it does then fails. When no code of the application is at work, nothing
is stuck, and nothing is raised: the interrupt was meant for what has ended meanwhile.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any, Final

import asyncmachine as am

OURS: Final = frozenset({"asyncmachine", "asyncmachine_web", "pyodide", "_pyodide"})


def listen() -> None:
    """Take interrupts from now on."""
    signal.signal(signal.SIGINT, _interrupted)


def _interrupted(_signal: int, frame: FrameType | None) -> None:
    inside_ours = False
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package in OURS:
            inside_ours = True
        elif package not in sys.stdlib_module_names:
            break
        frame = frame.f_back
    if frame is None:
        return
    if not inside_ours:
        raise _deadline()
    _raise_in(frame)


def _raise_in(frame: FrameType) -> None:
    """As soon as this frame goes on, returns or yields. The error ends the tracing."""

    def resumed(_frame: FrameType, _event: str, _argument: Any) -> None:
        raise _deadline()

    frame.f_trace = resumed
    sys.settrace(lambda *_: None)


def _deadline() -> am.HandlerDeadline:
    return am.HandlerDeadline(
        "it kept its worker's thread for too long; move slow work to an `async def`, and let it await"
    )
