"""How long a session waits for what, in seconds."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from math import inf
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from asyncmachine.machine.errors import InvalidArgs
from asyncmachine.rpc.options import check_seconds
from asyncmachine.rpc.transport import NEAR, Peer


class Timing(Struct, frozen=True):
    """`hello`: the server waits so long for the first message; `answer`: each side for the next step of the handshake.

    After `silence` without any frame a PING is sent, and `dead` after the last frame the peer counts as gone. `call` is
    the time for an answer, after which the caller is told; `retry` that after which calls are sent again, doubling;
    `sync` that for a full sync before it is asked for again. A session that lost its connection is kept for `keep`.

    A client whose call has no answer, and that has heard nothing at all for `doubt`, asks whether the source is there;
    a second later it counts as gone. None leaves that to `silence` and `dead`, as do connections within a computer.
    """

    hello: float = 5.0
    answer: float = 15.0
    silence: float = 15.0
    dead: float = 45.0
    call: float = 60.0
    retry: float = 3.0
    sync: float = 5.0
    keep: float = 30.0
    doubt: float | None = None

    def __post_init__(self) -> None:
        """Raises `InvalidArgs` for a time that is none, and for peers that are gone before they are asked."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None:
                check_seconds(name, value)
        if not (self.silence < self.dead or self.dead == inf):
            raise InvalidArgs(
                f"dead is more than silence, after which the peer is asked: got {self.dead} after {self.silence}"
            )

    def towards(self, peer: Peer) -> Timing:
        """What fits this peer."""
        return replace(self, doubt=None) if self.doubt is not None and peer.kind in NEAR else self


NATIVE: Final = Timing()

BROWSER: Final = Timing(silence=45.0, dead=75.0, doubt=1.0)
"""Timers of hidden pages are throttled, so the native side pings: its frames keep a page from ever asking itself.

Unless a person has done something, and waits for what comes of it.
"""


def default_timing() -> Timing:
    """What fits the interpreter this runs in."""
    return BROWSER if sys.platform == "emscripten" else NATIVE


def call_at(loop: asyncio.AbstractEventLoop, due: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
    """As `loop.call_at`; that of Pyodide raises when the time has come already."""
    return loop.call_later(max(0.0, due - loop.time()), callback)
