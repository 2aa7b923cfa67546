"""Whether a source that is a mirror itself follows its own source, for those who follow it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncmachine.machine.tracer import Tracer
from asyncmachine.machine.view import View
from asyncmachine.rpc.netmach import NetworkMachine
from asyncmachine.rpc.states import ClientStates as C


def link_of(source: View[Any]) -> View[Any] | None:
    """The machine of the client that keeps a mirror like its source; None for a machine that is no mirror."""
    return source._caller.machine if isinstance(source, NetworkMachine) else None


def is_live(link: View[Any]) -> bool:
    """Whether a client is connected, and so is every client between it and the source."""
    return C.Ready in link and C.SourceAway not in link


class Upstream(Tracer):
    """Watches the client of a mirror from `start` to `close`.

    Calls `changed()` on the thread of that client whenever it comes to rest and `is_away` is not what was `told`.
    """

    def __init__(self, link: View[Any], id: str, changed: Callable[[], None]) -> None:
        self.id = id
        self._link = link
        self._changed = changed
        self.told = self.is_away

    def start(self) -> None:
        """Watches from now on."""
        self._link.trace(self)

    @property
    def is_away(self) -> bool:
        """Whether the mirror may be old: its client, or one behind that, has no connection."""
        return not is_live(self._link)

    def queue_end(self, machine: View[Any]) -> None:
        """The client has come to rest."""
        if self.is_away is not self.told:
            self._changed()

    def close(self) -> None:
        """Watches no more."""
        self._link.untrace(self.id)
