"""The event loop of a relay that is a program: uvloop where it is installed, on which an open costs a quarter less.

A relay inside another program runs on that one's loop, whichever it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def loop_factory(loop: str = "auto") -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop (`asyncio.Runner`): "auto" is uvloop if it is there.

    "asyncio" is for an `authorize` that does what uvloop cannot.
    """
    if loop == "auto":
        try:
            from uvloop import new_event_loop
        except ImportError:
            pass  # an extra, which not every platform has
        else:
            return new_event_loop
    return asyncio.new_event_loop
