"""The interrupt by which a parent wakes a worker that keeps its thread.

`HandlerDeadline` is raised in code of the application and nowhere else. In the middle of our own it would leave a
message unread or a machine half-way, and a worker that answers its parent and serves nobody. So our code runs on until
the application has the thread again, and what it does then fails. When no code of the application is at work, nothing
is stuck, and nothing is raised: the interrupt was meant for what has ended meanwhile.
"""

from __future__ import annotations

import signal
import sys
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE
from types import FrameType
from typing import Any, Final

import asyncmachine as am

OURS: Final = frozenset({"asyncmachine", "asyncmachine_web", "pyodide", "_pyodide"})
MAY_AWAIT: Final = CO_COROUTINE | CO_ASYNC_GENERATOR
MOVE: Final = "move slow work to an `async def`, and let it `await asyncio.sleep(0)` between portions"
AWAIT: Final = "let slow work `await asyncio.sleep(0)` between portions"
"""What the application is advised of: of code that is no coroutine's, and of a coroutine's."""


def listen() -> None:
    """Take interrupts from now on."""
    signal.signal(signal.SIGINT, _interrupted)


def _interrupted(_signal: int, frame: FrameType | None) -> None:
    inside_ours = False
    while frame is not None:
        package = _package(frame)
        if package in OURS:
            inside_ours = True
        elif package not in sys.stdlib_module_names:
            break
        frame = frame.f_back
    if frame is None:
        return
    advice = AWAIT if _is_async(frame) else MOVE
    if not inside_ours:
        raise _deadline(advice)
    _raise_in(frame, advice)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_async(frame: FrameType | None) -> bool:
    """Whether this code of the application may await, or what of it called this."""
    while frame is not None and _package(frame) not in OURS:
        if frame.f_code.co_flags & MAY_AWAIT:
            return True
        frame = frame.f_back
    return False


def _raise_in(frame: FrameType, advice: str) -> None:
    """As soon as this frame goes on, returns or yields. The error ends the tracing."""

    def resumed(_frame: FrameType, _event: str, _argument: Any) -> None:
        raise _deadline(advice)

    frame.f_trace = resumed
    sys.settrace(lambda *_: None)


def _deadline(advice: str) -> am.HandlerDeadline:
    return am.HandlerDeadline(f"it kept its worker's thread for longer than the worker's `patience`; {advice}")
