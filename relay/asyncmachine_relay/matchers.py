"""Who answers a tunnel. A matcher names the ids and the one target it is for, and a coroutine that serves it.

    Match(r"browser[1-4]", target="orchestrator", serve=fn)

The first match wins. `serve` gets the tunnel and owns it until it returns; if it raises, the tunnel is closed. There is
no second choice: nothing else is ever tried for a tunnel whose matcher failed.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import asyncmachine as am
from asyncmachine.rpc.transport import Transport
from asyncmachine_relay.grants import TunnelGrants
from asyncmachine_relay.policy import MAX_TARGET, Op, RelayConfigError
from asyncmachine_relay.states import TunnelStates


@dataclass(frozen=True)
class Tunnel:
    """One WebSocket between a page or program and the matcher that serves it. `machine` shows what becomes of it."""

    op: Op
    id: str
    target: str
    transport: Transport
    grants: TunnelGrants
    machine: am.Machine[TunnelStates]

    def __str__(self) -> str:
        return f"{self.op}/{self.id}/{self.target}"


Serve = Callable[[Tunnel], Awaitable[None]]
Serving = AbstractAsyncContextManager[Tunnel]
"""A new connection, as a tunnel of its own, for as long as it is entered."""
ServeMany = Callable[[Tunnel, Callable[[], Serving]], Awaitable[None]]


class Matcher(Protocol):
    """What can answer a tunnel: a `Match`, or a TCP target (`bridging`)."""

    @property
    def states(self) -> type[TunnelStates]:
        """The schema of its tunnels' machines."""

    def fits(self, id: str, target: str) -> bool:
        """True when this is for tunnels of this id to this target."""

    @property
    def serve(self) -> Serve:
        """Has the tunnel until it returns."""

    @property
    def serve_many(self) -> ServeMany | None:
        """The same for a page that is called, with many connections. None: it takes one."""


@dataclass(frozen=True)
class Match:
    """`ids` is a regular expression that must fit the whole id; `target` is compared exactly.

    Raises `RelayConfigError` for an expression or target that cannot be.
    """

    ids: str
    target: str
    serve: Serve
    states: ClassVar[type[TunnelStates]] = TunnelStates
    serve_many: ClassVar[None] = None
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            pattern = re.compile(self.ids, re.ASCII)
        except re.error as error:
            raise RelayConfigError(f"matcher ids={self.ids!r} is no regular expression: {error}") from error
        if not 1 <= len(self.target) <= MAX_TARGET:
            raise RelayConfigError(f"matcher target={self.target!r} must have 1 to {MAX_TARGET} characters")
        object.__setattr__(self, "_pattern", pattern)

    def fits(self, id: str, target: str) -> bool:
        """True when this matcher is for tunnels of this id to this target."""
        return target == self.target and self._pattern.fullmatch(id) is not None


def first(matches: Iterable[Matcher], id: str, target: str) -> Matcher | None:
    """The first matcher that fits, None if none does."""
    return next((match for match in matches if match.fits(id, target)), None)
